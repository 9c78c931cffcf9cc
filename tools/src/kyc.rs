//! `keel kyc`: what the registry says of the account, what the account is to the venue, and where the two part.
//!
//! ```text
//!   show    the registry, the standing last journaled (or asked for now), and every breach
//!   check   the breaches alone, for whoever asks from a script
//! ```
//!
//! Both end with exit code 1 where there is a breach. What is personal is printed here and nowhere else: it enters no
//! journal, no log and no metric. Only digests and verdicts do.

use crate::config::{Config, Kyc};
use crate::node::clock::system_wall;
use crate::node::money::Known;
use crate::node::rest::Client;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use keel_core::event::Standing;
use keel_core::units::Mono;
use keel_gateway::rest::money;
use keel_gateway::sign::Signer;
use std::io::Write;
use std::path::PathBuf;

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Print the registry, the account as the venue knows it, and every breach.
    Show(Whose),
    /// Print the breaches alone.
    Check(Whose),
}

#[derive(Clone, Debug, clap::Args)]
struct Whose {
    /// The node's configuration, with a section [kyc].
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Ask the venue now instead of taking what the node last journaled.
    #[arg(long)]
    ask: bool,
}

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    let (What::Show(whose) | What::Check(whose)) = &args.what;
    let config = Config::load(&whose.config)?;
    let Some(kyc) = &config.kyc else { bail!("{} has no section [kyc]", whose.config.display()) };
    let standing = if whose.ask { Some(ask(&config)?) } else { Known::read(&config.node.data_dir)?.standing };
    let mut out = std::io::stdout().lock();
    if matches!(args.what, What::Show(_)) {
        show(&mut out, kyc, standing.as_ref())?;
    }
    let amiss = kyc.documents()?.iter().any(|evidence| !evidence.holds());
    let now = standing.map(|standing| Standing { at: system_wall(), amiss: amiss.into(), ..standing });
    let breaches = config.policy()?.context("no policy")?.breaches(now.as_ref());
    for breach in breaches.iter() {
        writeln!(out, "breach {}: {}", breach.name(), breach.meaning())?;
    }
    let count = breaches.iter().count();
    ensure!(count == 0, "the account is not what the registry says: {count} breaches");
    writeln!(out, "the account is what the registry says")?;
    Ok(())
}

fn ask(config: &Config) -> Result<Standing> {
    let client = Client::new(&config.venue.rest, config.venue.authority.as_deref())?;
    let signer = Signer::new(&config.keys.key.read()?, config.keys.secret.read()?.as_bytes());
    let reply = client.call(&money::standing_request(&signer, system_wall()))?;
    let read = money::standing(reply.status, &reply.body, Mono::default(), system_wall());
    read.map_err(|why| anyhow!("the venue did not say what the account is: {why:?}"))
}

fn show(out: &mut impl Write, kyc: &Kyc, standing: Option<&Standing>) -> Result<()> {
    writeln!(out, "registry")?;
    for (name, value) in kyc.rows() {
        writeln!(out, "  {name:<18} {value}")?;
    }
    for (evidence, what) in kyc.documents()?.iter().zip(&kyc.evidence) {
        let holds = if evidence.holds() { "holds" } else { "missing, or another document" };
        writeln!(out, "  {:<18} {} {}: {holds}", "evidence", what.what, evidence.path.display())?;
    }
    let Some(standing) = standing else {
        writeln!(out, "standing: the journal holds none; --ask asks the venue")?;
        return Ok(());
    };
    writeln!(out, "standing")?;
    let may = |bit: u64, word: &'static str| standing.may(bit).then_some(word);
    let rights = [
        may(Standing::TRADE, "trade"),
        may(Standing::TRANSFER, "transfer"),
        may(Standing::WITHDRAW, "withdraw"),
        may(Standing::OTHER, "other"),
    ];
    let expires = if standing.expires.nanos() == 0 { "never".to_owned() } else { crate::moment::utc(standing.expires) };
    for (name, value) in [
        ("read", crate::moment::utc(standing.at)),
        ("account", standing.uid.to_string()),
        ("main account", standing.parent.to_string()),
        ("level", standing.kyc_level.to_string()),
        ("region", standing.kyc_region.to_string()),
        ("permissions", rights.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        ("bound to", standing.ips.to_string()),
        ("key expires", expires),
    ] {
        writeln!(out, "  {name:<18} {value}")?;
    }
    Ok(())
}

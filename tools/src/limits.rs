//! `keel limits`: what is in force, how it came to be, and the way to a new version.
//!
//! ```text
//!   show      the register: every limit, its number, the unit it is counted in
//!   propose   the version in force with some numbers changed, as a document: one person signs what only tightens, two
//!             what loosens (keel keys sign)
//!   apply     brings the signed document; the gate checks it and the next order is measured by it
//!   history   every version of the journal: what changed, what loosened, who signed
//! ```

use crate::brake::{Whom, ask};
use crate::live;
use crate::node::door::Ask;
use crate::node::heritage;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Subcommand;
use keel_core::units::DecimalText;
use keel_risk::consent::{limits_message, read_limits, signed_text};
use keel_risk::limits::Limits;
use keel_risk::register::{self, Entry};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Print every limit in force.
    Show,
    /// Write the next version as a document to sign.
    Propose {
        /// A limit and its new number, in the unit of the register; repeat for several.
        #[arg(long, value_name = "NAME=NUMBER", required = true)]
        set: Vec<String>,
        /// Where the document goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Bring the signed document to the node.
    Apply {
        /// The document.
        document: PathBuf,
        /// Who brings it.
        #[arg(long, default_value = "operator", value_name = "NAME")]
        by: String,
    },
    /// Print every version the journal holds.
    History,
}

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Show => show(&in_force(&args.whom)?),
        What::Propose { set, out } => propose(&in_force(&args.whom)?, set, out),
        What::Apply { document, by } => {
            let text = fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
            let answer =
                ask(&args.whom.dir()?, &Ask::Bring { what: "limits".to_owned(), by: by.clone(), text }, PATIENCE)?;
            println!("version {} of the limits is in force", answer["limits"]);
            Ok(())
        }
        What::History => history(&args.whom),
    }
}

/// The version in force: the last one people agreed to, or that of the configuration.
fn in_force(whom: &Whom) -> Result<Limits> {
    if let Some(limits) = heritage::limits(&heritage::history(&whom.dir()?)?)? {
        return Ok(limits);
    }
    match whom.config()? {
        Some(config) => live::limits(&config),
        None => bail!("the journal holds no signed limits: name the node's --config, the first version stands there"),
    }
}

fn show(limits: &Limits) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for Entry { name, value, .. } in register::entries(limits) {
        writeln!(out, "{name:<42} {value:>22}  {}", unit(&name, value))?;
    }
    Ok(())
}

/// What a number of the register means to a person.
fn unit(name: &str, value: i128) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    let decimal = || i64::try_from(value).map(|raw| DecimalText::new().write(raw).to_owned()).unwrap_or_default();
    match last {
        "max_gross" | "max_net" | "max_stress" | "max_loss" | "max_shortfall" | "max_order_value" | "max_position" => {
            format!("= {} USDT", decimal())
        }
        "max_order_qty" => format!("= {} coins", decimal()),
        "max_book_age" | "max_mark_age" | "duplicate_window" | "reject_window" | "execution_window"
        | "funding_blackout" | "drift_interval" => "ms".to_owned(),
        "collar" | "max_spread" | "max_mark_gap" | "margin_rate" | "max_margin_use" | "tail" => "bps".to_owned(),
        "warn" | "reduce" | "halt" => "in the unit of the trip".to_owned(),
        _ => String::new(),
    }
}

fn propose(before: &Limits, set: &[String], out: &PathBuf) -> Result<()> {
    let mut lines: Vec<(String, String)> =
        register::entries(before).into_iter().map(|entry| (entry.name, entry.value.to_string())).collect();
    let next = before.version.checked_add(1).context("every version is used up")?;
    for change in set.iter().cloned().chain([format!("version={next}")]) {
        let (name, value) = change.split_once('=').with_context(|| format!("{change:?} is not NAME=NUMBER"))?;
        let line = lines.iter_mut().find(|(known, _)| known == name);
        line.with_context(|| format!("there is no limit {name:?}; keel limits show lists them"))?.1 = value.to_owned();
    }
    let text: String = lines.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    let after = register::read(&text).map_err(|why| anyhow!("{why:?}"))?;
    after.check().map_err(|why| anyhow!("{why:?} is outside its range"))?;
    let changes = tell(before, &after);
    ensure!(!changes.is_empty(), "nothing changes");
    fs::write(out, signed_text(&limits_message(before.version, &after), &[]))?;
    let loosens = register::differences(before, &after).iter().any(|change| change.loosens);
    print!("{changes}");
    println!(
        "{}: {} must sign it",
        out.display(),
        if loosens { "it loosens, two people" } else { "it only tightens, one person" }
    );
    Ok(())
}

/// The differences but for the version, one a line.
fn tell(before: &Limits, after: &Limits) -> String {
    let value = |value: Option<i128>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let changes = register::differences(before, after).into_iter().filter(|change| change.name != "version");
    changes
        .map(|change| {
            let way = if change.loosens { "loosens" } else { "tightens" };
            format!("  {way:<8} {}: {} -> {}\n", change.name, value(change.before), value(change.after))
        })
        .collect()
}

fn history(whom: &Whom) -> Result<()> {
    let latch = heritage::history(&whom.dir()?)?;
    let mut before = whom.config()?.map(|config| live::limits(&config)).transpose()?;
    if let Some(first) = &before {
        println!("version {}: the configuration's", first.version);
    }
    for adopted in latch.adopted() {
        let (replaces, after, signed) =
            read_limits(&adopted.text).map_err(|why| anyhow!("version {}: {why:?}", adopted.version))?;
        let names: Vec<String> = signed.iter().map(|row| row.name.to_string()).collect();
        println!("version {} replaces {replaces}, signed by {}", after.version, names.join(" and "));
        if let Some(before) = &before {
            print!("{}", tell(before, &after));
        }
        before = Some(after);
    }
    Ok(())
}

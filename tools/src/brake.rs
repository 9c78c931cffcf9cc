//! `keel brake`: where the brake stands, how to stop, how two people release it.
//!
//! ```text
//!   status    asks the node
//!   trip      asks the node; when it does not answer within 2 s: leaves brake.trip in its data directory, and cancels
//!             everything at the venue itself, by REST, with the node's keys, until the venue says that nothing is open
//!   request   writes what is to be signed (keel keys sign), for the state of the brake it saw
//!   arm       brings the signed request
//! ```
//!
//! What a trip past a node that hangs guarantees: every order open at the venue is cancelled, by the venue's own word, or
//! this says that it is not; a node that wakes up finds the file within 100 ms, and a node that starts finds it before it
//! could trade, and both stand halted until people release them. What it does not: between two looks a node that does not
//! hang, but only does not answer, may still place an order; the loop cancels that too, and `flatten` closes nothing
//! without a node: the position stays, and is the first thing to look at.

use crate::config::Config;
use crate::node::clock::system_wall;
use crate::node::door::{Ask, SOCKET, TRIP_FILE, trip_kind};
use crate::node::rest::Client;
use crate::node::thread::nap;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use keel_core::instrument::Instruments;
use keel_core::units::Wall;
use keel_gateway::decode::{Decoder, Source};
use keel_gateway::rest::Call;
use keel_gateway::sign::Signer;
use keel_risk::consent::Arm;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a node may take to answer before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a node may take to answer a document.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(5);
/// Times everything is cancelled at the venue before this gives up and says so.
const ROUNDS: u32 = 40;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(250);

/// What a person may say.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    #[command(subcommand)]
    what: What,
}

/// Which node.
#[derive(Clone, Debug, clap::Args)]
pub struct Whom {
    /// The node's configuration.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The node's data directory, for one without a configuration.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Where does everything stand?
    Status,
    /// Make it stop. One person may always do that.
    Trip {
        /// How far: reduce, cancel, halt, or flatten, which also closes what is held.
        #[arg(default_value = "halt", value_parser = ["reduce", "cancel", "halt", "flatten"])]
        to: String,
        /// Who says so.
        #[arg(long, default_value = "operator", value_name = "NAME")]
        by: String,
    },
    /// Write a request to release it, for the state it is in now; two people sign it with `keel keys sign`.
    Request {
        /// Why it is safe to go on.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Where the request goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How long it may be used.
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=900), value_name = "SECONDS")]
        valid: u64,
    },
    /// Bring the signed request: the brake is released, or the answer says why not.
    Arm {
        /// The request.
        request: PathBuf,
        /// Who brings it.
        #[arg(long, default_value = "operator", value_name = "NAME")]
        by: String,
    },
}

impl Whom {
    /// Where its journal and its socket are.
    pub fn dir(&self) -> Result<PathBuf> {
        match (&self.data_dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, Some(path)) => Ok(Config::load(path)?.node.data_dir),
            (None, None) => bail!("which node? Name its --config or its --data-dir"),
        }
    }

    /// Its configuration, where one was named.
    pub fn config(&self) -> Result<Option<Config>> {
        self.config.as_deref().map(Config::load).transpose()
    }
}

/// What happens.
pub fn run(args: &Args) -> Result<()> {
    let dir = args.whom.dir()?;
    match &args.what {
        What::Status => show(&ask(&dir, &Ask::Status, PATIENCE)?),
        What::Trip { to, by } => trip(&args.whom, &dir, to, by),
        What::Request { reason, out, valid } => request(&dir, reason, out, *valid),
        What::Arm { request, by } => {
            let text = fs::read_to_string(request).with_context(|| format!("cannot read {}", request.display()))?;
            let ask = Ask::Bring { what: "arm".to_owned(), by: by.clone(), text };
            show(&self::ask(&dir, &ask, DOCUMENT_PATIENCE)?)
        }
    }
}

/// Asks a node one thing. An answer that says no is an error.
pub fn ask(dir: &Path, ask: &Ask, patience: Duration) -> Result<Value> {
    let path = dir.join(SOCKET);
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("no node answers at {}: is it running, as this user?", path.display()))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    writeln!(stream, "{}", serde_json::to_string(ask)?)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .with_context(|| format!("the node did not answer within {} s: it hangs", patience.as_secs()))?;
    let answer: Value = serde_json::from_str(&line).context("the node hung up without an answer")?;
    ensure!(answer["ok"] == true, "{}", answer["why"].as_str().unwrap_or("the node said no"));
    Ok(answer)
}

fn show(status: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "brake      {}, version {}: {}", text(status, "brake"), status["version"], text(status, "reason"))?;
    writeln!(out, "limits     version {}", status["limits"])?;
    writeln!(out, "orders     {} open", status["open_orders"])?;
    writeln!(out, "links      {} (2 is ready), account compared: {}", status["links"], status["reconciled"])?;
    for row in status["positions"].as_array().into_iter().flatten() {
        writeln!(out, "position   {} {} {}", text(row, "symbol"), text(row, "position"), text(row, "unwind"))?;
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("?")
}

fn request(dir: &Path, reason: &str, out: &Path, valid: u64) -> Result<()> {
    ensure!(!reason.trim().is_empty() && !reason.contains(['\n', '\r']), "--reason: one line that says why it is safe");
    let status = ask(dir, &Ask::Status, PATIENCE)?;
    let number = |key: &str| status[key].as_u64().with_context(|| format!("the node did not say its {key}"));
    let (brake, limits, issued) = (number("version")?, u32::try_from(number("limits")?)?, system_wall());
    let arm = Arm { brake, limits, issued, expires: issued.after(valid * 1_000_000_000), reason: reason.to_owned() };
    show(&status)?;
    let text = keel_risk::consent::signed_text(&arm.message(), &[]);
    fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
    println!("request    {}, good for {valid} s; two people sign it: keel keys sign --key KEY {0}", out.display());
    Ok(())
}

fn trip(whom: &Whom, dir: &Path, to: &str, by: &str) -> Result<()> {
    debug_assert!(trip_kind(to).is_some(), "clap knows the words");
    match ask(dir, &Ask::Trip { to: to.to_owned(), by: by.to_owned() }, PATIENCE) {
        Ok(_) => {
            println!("tripped: {to}");
            return ask(dir, &Ask::Status, PATIENCE).and_then(|status| show(&status));
        }
        Err(why) => println!("the node did not take it: {why:#}"),
    }
    leave_file(dir, to, by)?;
    let Some(config) = whom.config()? else {
        bail!("nothing was cancelled: name the node's --config, so that this can ask the venue itself");
    };
    cancel_all(&config)
}

/// The file a node finds when it wakes up, or before it starts.
fn leave_file(dir: &Path, to: &str, by: &str) -> Result<()> {
    let (path, new) = (dir.join(TRIP_FILE), dir.join("brake.trip.new"));
    let mut file = fs::File::create(&new).with_context(|| format!("cannot write {}", new.display()))?;
    writeln!(file, "{to} {by} {}", system_wall().millis())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    fs::File::open(dir)?.sync_all()?;
    println!("left {}: the node halts when it sees it", path.display());
    Ok(())
}

/// Cancels everything at the venue, past the node, until the venue says that nothing is open.
fn cancel_all(config: &Config) -> Result<()> {
    let (key, secret) = (config.keys.key.read()?, config.keys.secret.read()?);
    let client = Client::new(&config.venue.rest, config.venue.authority.as_deref())?;
    let signer = Signer::new(&key, secret.as_bytes());
    let mut trouble = String::new();
    for round in 1..=ROUNDS {
        let cancelled = client.call(&Call::CancelAll.request(&signer, system_wall()));
        if let Err(why) = &cancelled {
            trouble = format!("{why:#}");
        }
        nap(PAUSE);
        match open_orders(&client, &signer, system_wall()) {
            Ok(0) => {
                println!("the venue says that nothing is open, after {round} time(s) of cancelling everything");
                return Ok(());
            }
            Ok(open) => println!("{open} orders or more are still open"),
            Err(why) => trouble = format!("{why:#}"),
        }
    }
    bail!("not everything is proven cancelled after {ROUNDS} rounds: use the venue's own web page now. {trouble}")
}

/// How many orders the first page of the venue's list holds.
fn open_orders(client: &Client, signer: &Signer, now: Wall) -> Result<usize> {
    let call = Call::OpenOrders { cursor: String::new() };
    let reply = client.call(&call.request(signer, now))?;
    let (mut decoder, mut seen) = (Decoder::new(&Instruments::default()), 0);
    keel_gateway::rest::parse(&call, reply.status, &reply.body, &mut decoder, Source::default(), &mut |_| seen += 1)
        .map_err(|why| anyhow::anyhow!("the list of open orders was refused or not understood: {why:?}"))?;
    let list: Value = serde_json::from_slice(&reply.body)?;
    Ok(list["result"]["list"].as_array().map_or(seen, Vec::len))
}

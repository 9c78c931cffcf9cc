//! `keel-wire`: from the tick that leaves the exchange to the order that comes back, by several clients of one rule.
//!
//! ```text
//!   CPU 0: exchange   tick --stamp--> socket            socket --stamp--> order
//!                                       |                  ^
//!   CPU 1: client                       '-- keel | null ---'      one at a time, each in its own process
//! ```
//!
//! Rounds are interleaved; the percentiles of all rounds of a client are taken together. Beside them stand bare echoes
//! over TCP and TLS at the same pace, and an empty loop: what the machine itself does.

mod account;
mod allocations;
mod echo;
mod node;
mod null;
mod report;
mod rule;
mod venue;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;
use keel_wire::tape::Load;
use report::Row;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use venue::Venue;

#[derive(Debug, Parser)]
#[command(about = "Tick to order through TLS, risk and journal, beside a null echo, bare echoes and other clients")]
struct Args {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Measures.
    Run(Run),
    /// The measured node; started by `run`.
    Node(node::Args),
    /// An exchange without an end: the tape on the first instrument, generated markets on the others. Says its port, and
    /// ends with its input.
    Venue(Endless),
    /// The null echo; started by `run`.
    Null {
        port: u16,
        #[arg(long)]
        authority: Option<PathBuf>,
        #[arg(long)]
        cpu: Option<usize>,
    },
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Endless {
    /// How many trade.
    #[arg(long, default_value_t = 64)]
    pub(crate) instruments: usize,
    /// Ticks a second on the first.
    #[arg(long, default_value_t = 900)]
    pub(crate) rate: u64,
    /// Its CPU.
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    /// Spin instead of waiting for its sockets.
    #[arg(long)]
    pub(crate) spin: bool,
    /// Serve TLS; the authority's certificate is written to DIR/ca.pem.
    #[arg(long)]
    pub(crate) tls: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
struct Run {
    /// Ticks a round.
    #[arg(long, default_value_t = 20_000)]
    ticks: u64,
    /// Ticks a second. A venue limits an address's orders, and keel keeps to it: above 2,500 it leaves ticks without one.
    #[arg(long, default_value_t = 2_000)]
    rate: u64,
    /// Ticks at once.
    #[arg(long, default_value_t = 1)]
    burst: u64,
    /// Levels of a tick: 9 are about 340 bytes, 50 about 1,100.
    #[arg(long, default_value_t = keel_wire::tape::LEVELS)]
    levels: usize,
    /// Rounds of each client, interleaved.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Which clients: keel, null, or a script of bench/wire/peers by its name.
    #[arg(long, value_delimiter = ',', default_value = "null,keel")]
    clients: Vec<String>,
    /// Plain WebSocket instead of TLS.
    #[arg(long)]
    plain: bool,
    /// The threads of keel.
    #[arg(long, default_value = "feed+engine+orders@1 | journal+http")]
    plan: String,
    /// keel asks the kernel when it received each byte: one more hop in its account, and a dearer read.
    #[arg(long)]
    stamps: bool,
    /// CPUs of the exchange and of its client; none when the machine has fewer than two.
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    cpus: Vec<usize>,
    /// Leave out the bare echoes and the empty loop.
    #[arg(long)]
    no_floors: bool,
    /// A Python with the clients of other people.
    #[arg(long, default_value = "tests/clients/.venv/bin/python")]
    python: PathBuf,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Readings of the counter in the empty loop.
const JITTER_ROUNDS: u64 = 20_000_000;

/// A client in its own process; dead when dropped.
struct Client {
    child: Child,
    out: BufReader<ChildStdout>,
    name: String,
}

impl Client {
    fn start(name: &str, venue: &Venue, args: &Run) -> Result<Self> {
        let port = venue.port().to_string();
        let mut command = match name {
            "keel" | "null" => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg(if name == "keel" { "node" } else { "null" }).arg(&port);
                if let Some(path) = &venue.authority {
                    command.arg("--authority").arg(path);
                }
                match name {
                    "keel" => command.arg("--plan").arg(&args.plan).args(args.stamps.then_some("--stamps")),
                    _ => command.args(args.cpus.get(1).map(|cpu| format!("--cpu={cpu}"))),
                };
                command
            }
            peer => {
                ensure!(args.plain, "{peer} is measured over plain WebSocket: give --plain");
                let mut command = Command::new(&args.python);
                command.arg(format!("bench/wire/peers/{peer}.py")).arg(&port);
                command
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
        let out = BufReader::new(child.stdout.take().context("its output")?);
        let mut client = Self { child, out, name: name.to_owned() };
        client.ready()?;
        Ok(client)
    }

    fn ready(&mut self) -> Result<()> {
        let mut line = String::new();
        while self.out.read_line(&mut line)? > 0 {
            if line.trim() == "ready" {
                return Ok(());
            }
            line.clear();
        }
        bail!("{} ended before it was ready", self.name)
    }

    /// Ends it and returns its last words.
    fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let mut words = String::new();
        self.out.read_to_string(&mut words)?;
        self.child.wait()?;
        Ok(words)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bare echoes, by the names they have among the clients; true: over TLS.
const ECHOES: [(&str, bool); 2] = [("echo over TCP", false), ("echo over TLS", true)];

fn round(row: &mut Row, args: &Run) -> Result<()> {
    let Run { ticks, rate, burst, levels, .. } = *args;
    let load = Load { ticks, rate, burst, levels };
    if let Some((_, secure)) = ECHOES.iter().find(|(name, _)| *name == row.name) {
        let (secure, cpus) = (*secure, [args.cpus.first().copied(), args.cpus.get(1).copied()]);
        return row.floor(&on_a_thread(move || echo::run(secure, &load, cpus))?);
    }
    let venue = Venue::start(load, !args.plain, args.cpus.first().copied())?;
    let client = Client::start(&row.name, &venue, args)?;
    let outcome = venue.play(|| Ok(()))?;
    row.add(&outcome, &client.finish()?)
}

fn measure(args: &Run) -> Result<Vec<Row>> {
    let floors = if args.no_floors { &[][..] } else { &ECHOES };
    let names = floors.iter().map(|(name, _)| *name).chain(args.clients.iter().map(String::as_str));
    let mut rows: Vec<Row> = names.map(Row::named).collect();
    for at in 0..args.rounds {
        for row in &mut rows {
            round(row, args).with_context(|| format!("{}, round {}", row.name, at + 1))?;
        }
    }
    if !args.no_floors {
        let cpu = args.cpus.get(1).copied();
        let mut empty = Row::named("empty loop");
        empty.floor(&on_a_thread(move || echo::jitter(JITTER_ROUNDS, cpu))?)?;
        rows.insert(0, empty);
    }
    Ok(rows)
}

/// Pinning is for a thread of its own: this one waits.
fn on_a_thread(work: impl FnOnce() -> Result<Histogram<u64>> + Send + 'static) -> Result<Histogram<u64>> {
    std::thread::spawn(work).join().map_err(|_| anyhow::anyhow!("a measuring thread panicked"))?
}

fn main() -> Result<()> {
    match Args::parse().role {
        Role::Node(args) => node::run(&args),
        Role::Venue(args) => venue::endless(&args),
        Role::Null { port, authority, cpu } => null::run(port, authority.as_deref(), cpu),
        Role::Run(args) => {
            let rows = measure(&args)?;
            if args.json {
                println!("{}", report::json(&rows));
            } else {
                print!("{}", report::table(&rows));
            }
            Ok(())
        }
    }
}

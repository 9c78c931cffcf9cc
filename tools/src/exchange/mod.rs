//! The simulated exchange behind real sockets: REST and WebSocket on one loopback port, plain or TLS.
//!
//! In: bytes from any Bybit v5 client, tapes, the machine's clock or a virtual one. Out: bytes. The venue itself is
//! `keel_gateway::sim`; here are only its windows. One thread, no locks; it stops when told and says what it did.
//!
//! ```text
//!   keel exchange                 accept -> Peer -> Input -> sim::Exchange -> Output -> Peer
//!   keel demo (embedded)          spawn(Options, Market, Pace) -> Running
//! ```
//!
//! Pace: [`Pace::Real`] and [`Pace::Scaled`] play tapes against the wall clock, [`Pace::Max`] as fast as clients take
//! them, [`Pace::Lockstep`] one frame at a time: the next one leaves only when the client is quiescent, and time is the
//! tape's, so that two runs of one client over real sockets see the same bytes at the same virtual moments.

mod market;
mod peer;
mod server;
mod tls;

pub use market::{Maker, Market};
pub use tls::AUTHORITY;
#[cfg(test)]
pub(crate) use tls::authority;

use crate::node::thread::Stop;
use anyhow::{Context, Result, bail};
use keel_gateway::sim::{Config, MarketSource, Spec};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// What a person may say to `keel exchange`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// A recorded tape to play; repeat for several symbols at once.
    #[arg(long, value_name = "FILE")]
    pub tape: Vec<PathBuf>,
    /// What trades; symbols without a tape get a generated market.
    #[arg(long, value_delimiter = ',', default_value = "BTCUSDT,ETHUSDT,SOLUSDT", value_name = "A,B")]
    pub symbols: Vec<String>,
    /// Seed of everything that is luck.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How fast tapes play: real, a factor, or max.
    #[arg(long, default_value = "real", value_parser = speed)]
    pub speed: Speed,
    /// Serve TLS; the authority's certificate is written to DIR/ca.pem.
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,
    /// A command obeyed at the start, such as "latency channel=trade ms=50"; repeat for several.
    #[arg(long, value_name = "COMMAND")]
    pub fault: Vec<String>,
    /// A file of "SECONDS COMMAND" lines, obeyed that long after the start.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Milliseconds an answer on a WebSocket takes, as over a network; 0 answers at once.
    #[arg(long, default_value_t = 5, value_name = "MS")]
    pub answer_ms: u64,
    /// Write the exchange's own books of its clients here when it ends: fills, fees, funding, cash, positions, as JSON.
    #[arg(long, value_name = "FILE")]
    pub books: Option<PathBuf>,
    /// Leave the tape's time stamps as recorded instead of moving them to now.
    #[arg(long)]
    pub verbatim: bool,
}

/// How fast tapes play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As recorded.
    Real,
    /// This many times faster.
    Times(f64),
    /// As fast as clients take it.
    Max,
}

/// Reads `real`, `max` or a factor.
pub fn speed(text: &str) -> Result<Speed, String> {
    match text {
        "real" => Ok(Speed::Real),
        "max" => Ok(Speed::Max),
        number => match number.trim_end_matches('x').parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Speed::Times(factor)),
            _ => Err("expected real, max, or a factor such as 10".to_owned()),
        },
    }
}

/// The client's side of a lockstep run.
pub trait Lockstep: Send + Sync {
    /// The virtual clock: nanoseconds since 1970, told before anything stamped with it leaves.
    fn now_is(&self, wall_ns: u64);

    /// Has the client fully processed `frames_sent` frames over all its sockets, and has every frame it sent been
    /// counted here as one of `frames_received`?
    fn quiescent(&self, frames_sent: u64, frames_received: u64) -> bool;
}

/// How time passes.
#[derive(Clone)]
pub enum Pace {
    /// With the wall clock.
    Real,
    /// Tapes this many times faster than the wall clock.
    Scaled(f64),
    /// Tapes as fast as clients take them.
    Max,
    /// One frame at a time on virtual time.
    Lockstep(Arc<dyn Lockstep>),
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Real => write!(f, "Real"),
            Self::Scaled(factor) => write!(f, "Scaled({factor})"),
            Self::Max => write!(f, "Max"),
            Self::Lockstep(_) => write!(f, "Lockstep"),
        }
    }
}

/// A moment on the wire, for latencies: `ticks` of the machine's counter (`node::clock::Stopwatch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Counter reading, taken just before the bytes went to, or just after they came from, the socket.
    pub ticks: u64,
    /// Frames that had left by then, this one included.
    pub sent: u64,
    /// Frames that had arrived by then, this one included.
    pub received: u64,
    /// A frame left on a public socket, left on another, or arrived on the trade socket, or on another.
    pub what: What,
}

/// Kind of a [`Moment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Public market data left.
    Tick,
    /// A private or trade frame left.
    Answer,
    /// An order frame arrived.
    Order,
    /// Another frame arrived.
    Other,
}

/// Told of every frame on the wire, with its bytes: before it leaves, after it came. For measurements.
pub struct Witness(pub Box<Tell>);

/// What a witness does with a moment and its frame.
pub type Tell = dyn FnMut(Moment, &[u8]) + Send;

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

/// Everything a server is told at the start.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Serve TLS, writing the authority's certificate into this directory.
    pub tls: Option<PathBuf>,
    /// The venue.
    pub venue: Config,
    /// Seed of everything that is luck.
    pub seed: u64,
    /// Tapes wait until [`Running::release`].
    pub hold: bool,
    /// Move the tape's time stamps so that it begins now.
    pub restamp: bool,
    /// Commands and the milliseconds after the start at which they are obeyed, in order.
    pub scenario: Vec<(u64, String)>,
    /// In lockstep: the market ends after so many nanoseconds of venue time; zero never.
    pub play_for: u64,
    /// CPU to pin the thread to.
    pub cpu: Option<usize>,
    /// Spin instead of waiting in the poll call.
    pub spin: bool,
    /// Who is told of moments on the wire; with a witness every frame goes to the kernel at once.
    pub witness: Option<Witness>,
    /// Where the exchange writes its own books of its clients when it ends.
    pub books: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: None,
            venue: Config::default(),
            seed: 1,
            hold: false,
            restamp: false,
            play_for: 0,
            scenario: Vec::new(),
            cpu: None,
            spin: false,
            witness: None,
            books: None,
        }
    }
}

/// Counters anyone may read while the exchange runs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames sent to clients.
    pub frames_sent: AtomicU64,
    /// Frames received from clients.
    pub frames_received: AtomicU64,
    /// HTTP requests answered.
    pub http: AtomicU64,
    /// Orders accepted.
    pub orders: AtomicU64,
    /// Orders refused.
    pub refused: AtomicU64,
    /// Fills of clients.
    pub fills: AtomicU64,
    /// Taped frames played.
    pub taped: AtomicU64,
    /// Taped frames that could not be understood.
    pub taped_bad: AtomicU64,
    /// Sockets open now.
    pub sockets: AtomicU64,
    /// Nanoseconds of tape time, or of the wall clock.
    pub now_ns: AtomicU64,
    /// The tapes have been played to their end, and all that followed was sent.
    pub ended: AtomicBool,
}

/// An exchange at work.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it has done so far.
    pub counters: Arc<Counters>,
    stop: Stop,
    held: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Lets tapes start.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Have the tapes ended?
    #[must_use]
    pub fn ended(&self) -> bool {
        self.counters.ended.load(Ordering::Acquire)
    }

    /// Has the thread ended (stopped, or failed)?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Waits for its end.
    pub fn join(self) -> Result<()> {
        self.stop.raise();
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the exchange's thread panicked"),
        }
    }
}

/// Starts an exchange on its own thread. The address is bound when this returns.
pub fn spawn(options: Options, market: Market, pace: Pace) -> Result<Running> {
    let listener = std::net::TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}: is another program using the port? Choose one with --listen", options.listen)
    })?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let tls = options.tls.as_deref().map(tls::authority).transpose()?;
    let (counters, stop) = (Arc::new(Counters::default()), Stop::default());
    let held = Arc::new(AtomicBool::new(options.hold));
    let (theirs, flag, gate) = (Arc::clone(&counters), stop.clone(), Arc::clone(&held));
    let thread = std::thread::Builder::new().name("exchange".to_owned()).spawn(move || {
        if let Some(id) = options.cpu {
            core_affinity::set_for_current(core_affinity::CoreId { id });
        }
        server::Server::new(options, market, pace, listener, tls, theirs, gate)?.run(&flag)
    })?;
    Ok(Running { address, counters, stop, held, thread })
}

/// The venue's symbols with their sources: tapes where there are any, the generator for the rest.
pub fn venue(names: &[String], taped: &[String]) -> Result<Config> {
    let mut symbols = Vec::new();
    for name in names.iter().chain(taped.iter().filter(|t| !names.contains(t))) {
        let Some(spec) = Spec::majors().into_iter().find(|spec| spec.symbol() == name) else {
            let known: Vec<String> = Spec::majors().iter().map(|s| s.symbol().to_owned()).collect();
            bail!("{name} does not trade here; choose from {}", known.join(", "));
        };
        let source = if taped.contains(name) { MarketSource::Tape } else { MarketSource::Generated };
        symbols.push((spec, source));
    }
    Ok(Config { symbols, ..Config::default() })
}

/// The commands of a scenario file, in the order of their times. `#` begins a comment.
fn scenario(path: &std::path::Path) -> Result<Vec<(u64, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        let bad = || format!("{}, line {}: expected SECONDS COMMAND", path.display(), at + 1);
        let (seconds, command) = line.split_once(char::is_whitespace).with_context(bad)?;
        let nanos = keel_core::units::parse_decimal(seconds.as_bytes()).ok().filter(|n| *n >= 0).with_context(bad)?;
        lines.push((nanos.unsigned_abs() / 100_000, command.trim().to_owned()));
    }
    lines.sort_by_key(|(at, _)| *at);
    Ok(lines)
}

/// `keel exchange`.
pub fn run(args: &Args) -> Result<()> {
    let market = Market::tapes(&args.tape)?;
    let pace = match args.speed {
        Speed::Real => Pace::Real,
        Speed::Times(factor) => Pace::Scaled(factor),
        Speed::Max => Pace::Max,
    };
    let mut commands: Vec<(u64, String)> = args.fault.iter().map(|line| (0, line.clone())).collect();
    if let Some(path) = &args.scenario {
        commands.extend(scenario(path)?);
    }
    let options = Options {
        listen: args.listen,
        scenario: commands,
        tls: args.tls.clone(),
        venue: Config { answer_ms: args.answer_ms, ..venue(&args.symbols, &market.symbols())? },
        seed: args.seed,
        restamp: !args.verbatim && args.speed == Speed::Real,
        books: args.books.clone(),
        ..Options::default()
    };
    let names: Vec<String> = options.venue.symbols.iter().map(|(s, _)| s.symbol().to_owned()).collect();
    let running = spawn(options, market, pace)?;
    let (http, ws) = if args.tls.is_some() { ("https", "wss") } else { ("http", "ws") };
    println!("exchange on {http}://{0} and {ws}://{0}, trading {1}", running.address, names.join(", "));
    println!("key demo-key, secret demo-secret; Ctrl-C ends it");
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, running.stop.flag())?;
    }
    running.wait()
}

impl Running {
    /// Waits until somebody else stops it.
    fn wait(self) -> Result<()> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the exchange's thread panicked"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#[allow(clippy::disallowed_methods, reason = "tests watch the clock from outside")]
mod fault_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
mod head_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "statistics")]
mod likeness;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot unwrap has failed")]
mod tests;

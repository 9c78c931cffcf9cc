//! `keel record`: raw frames of the public stream, with the moment each was received, as a tape.
//!
//! In: an address, symbols, a file that does not exist yet. Out: a tape that `keel decode` and the simulated exchange
//! read. The feed's own session subscribes, keeps the connection alive and asks again after a gap, so a recording holds
//! what the feed would have seen. Never: an overwritten file, a frame written twice or in part.
//!
//! ```text
//!   1721347021281597601 TAB {"topic":"orderbook.50.BTCUSDT",...} LF        wall clock, nanoseconds
//! ```

use crate::node::clock::{Clock, Stopwatch};
use crate::node::wire::{Endpoint, Traffic, Turn, Wire, tls};
use crate::tape::gridless;
use crate::tape::{MAX_LINE, Shape, shape_of};
use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use keel_core::ids::Symbol;
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Now};
use keel_feed::session::{Config, Input, Output, Session, Topics};
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What to record.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The tape to write: *.rx_ns.tsv or *.rx_ns.tsv.gz; must not exist
    pub file: PathBuf,
    /// Symbols, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    pub symbols: Vec<String>,
    /// Address of the public stream
    #[arg(long, default_value = "wss://stream.bybit.com/v5/public/linear")]
    pub url: String,
    /// PEM file of the only authority to trust instead of the web's roots
    #[arg(long)]
    pub authority: Option<PathBuf>,
    /// Levels a side of the order book: 50, 200 or 1000
    #[arg(long, default_value_t = 50)]
    pub depth: u16,
    /// End after so many seconds
    #[arg(long)]
    pub seconds: Option<u64>,
    /// End after so many frames
    #[arg(long)]
    pub frames: Option<u64>,
}

/// Nanoseconds between two flushes: what a power cut may cost.
const FLUSH: u64 = 1_000_000_000;
/// Rest between two looks at a quiet socket.
const REST: Duration = Duration::from_micros(100);

/// Records until told to stop: by the limits given, by a signal, or by a full disk.
pub fn run(args: &Args) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("listening for signals")?;
    }
    let frames = record(args, &stop)?;
    println!("{frames} frames in {}", args.file.display());
    Ok(())
}

fn record(args: &Args, stop: &AtomicBool) -> Result<u64> {
    let instruments = instruments(&args.symbols)?;
    let topics = Topics { depth: args.depth, touch: true, liquidations: true, price_limit: true, ..Topics::default() };
    let config = Config { topics, ..Config::default() };
    let session = Session::new(config, &instruments)
        .map_err(|why| anyhow::anyhow!("these topics cannot be subscribed: {why:?}"))?;
    let endpoint = Endpoint::new(&args.url, &tls(args.authority.as_deref())?)?;
    let wire = Wire::new(endpoint, Arc::new(Traffic::default()));
    let mut recorder = Recorder::create(&args.file)?;
    let mut pump = Pump { session, wire, due: None, text: String::new() };
    let watch = Stopwatch::new();
    let mut clock = Clock::real(&watch);
    let start = clock.now().mono;
    let mut flush_at = start.after(FLUSH);
    while !stop.load(Ordering::Relaxed) {
        let now = clock.now();
        let over = args.seconds.is_some_and(|seconds| now.mono.since(start) >= seconds.saturating_mul(FLUSH));
        if over || args.frames.is_some_and(|frames| recorder.frames() >= frames) {
            break;
        }
        if now.mono >= flush_at {
            flush_at = now.mono.after(FLUSH);
            recorder.flush().with_context(|| format!("writing {}", args.file.display()))?;
        }
        if !pump.step(now, &mut recorder).with_context(|| format!("writing {}", args.file.display()))? {
            std::thread::park_timeout(REST);
        }
    }
    recorder.finish().with_context(|| format!("writing {}", args.file.display()))
}

/// The session and its wire.
struct Pump {
    session: Session,
    wire: Wire,
    due: Option<Mono>,
    text: String,
}

impl Pump {
    /// One step; `false` when there was nothing to do.
    fn step<W: Write>(&mut self, now: Now, recorder: &mut Recorder<W>) -> io::Result<bool> {
        if self.due.is_some_and(|due| now.mono >= due) {
            self.due = None;
            self.wire.connect();
        }
        if self.session.deadline().is_some_and(|due| now.mono >= due) {
            self.turn(now, Input::Timer);
        }
        match self.wire.read(&mut self.text) {
            Turn::Nothing => return Ok(false),
            Turn::Progress => {}
            Turn::Opened => self.turn(now, Input::Connected),
            Turn::Closed => {
                if let Some(why) = self.wire.trouble() {
                    eprintln!("keel record: the connection ended, opening it again: {why}");
                }
                self.turn(now, Input::Closed);
            }
            Turn::Frame => {
                let text = std::mem::take(&mut self.text);
                recorder.frame(now.wall.nanos(), text.as_bytes())?;
                self.turn(now, Input::Frame { bytes: text.as_bytes(), ticks: 0 });
                self.text = text;
            }
        }
        Ok(true)
    }

    fn turn(&mut self, now: Now, input: Input<'_>) {
        self.session.handle(now, input, &mut |_| true);
        let mut close = false;
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(text) => self.wire.send(text),
                Output::Connect { after_nanos } => self.due = Some(now.mono.after(after_nanos)),
                Output::Close => close = true,
            }
        }
        if close {
            self.wire.close();
            self.turn(now, Input::Closed);
        }
    }
}

/// Symbols with grids so fine that nothing is off them: a recorder judges no prices.
fn instruments(symbols: &[String]) -> Result<Instruments> {
    let mut rows = Vec::new();
    for symbol in symbols {
        let Some(symbol) = Symbol::new(symbol.as_bytes()).filter(|symbol| !symbol.is_empty()) else {
            bail!("{symbol:?} is no symbol");
        };
        rows.push(gridless(symbol));
    }
    Instruments::new(rows).map_err(|(symbol, _)| anyhow::anyhow!("{symbol} is named twice, or there are too many"))
}

/// Where a tape goes.
enum Sink<W: Write> {
    Plain(BufWriter<W>),
    Compressed(GzEncoder<BufWriter<W>>),
}

/// A tape being written.
pub struct Recorder<W: Write> {
    sink: Sink<W>,
    frames: u64,
    left_out: u64,
}

impl<W: Write> std::fmt::Debug for Recorder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("frames", &self.frames)
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

impl Recorder<std::fs::File> {
    /// A new file; one that exists is not touched.
    pub fn create(path: &Path) -> Result<Self> {
        ensure!(
            matches!(shape_of(path), Ok(Shape::Stamped)),
            "{}: a recording is named *.rx_ns.tsv or *.rx_ns.tsv.gz",
            path.display()
        );
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        Ok(Self::new(file, path.extension().is_some_and(|ending| ending == "gz")))
    }
}

impl<W: Write> Recorder<W> {
    /// A tape into anything that takes bytes.
    pub fn new(into: W, compressed: bool) -> Self {
        let plain = BufWriter::with_capacity(1 << 16, into);
        let sink =
            if compressed { Sink::Compressed(GzEncoder::new(plain, Compression::fast())) } else { Sink::Plain(plain) };
        Self { sink, frames: 0, left_out: 0 }
    }

    /// One frame more. A frame that would break the tape's lines is counted and left out.
    pub fn frame(&mut self, recv_ns: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() + 21 > MAX_LINE || bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            self.left_out += 1;
            return Ok(());
        }
        self.frames += 1;
        let out: &mut dyn Write = match &mut self.sink {
            Sink::Plain(plain) => plain,
            Sink::Compressed(gz) => gz,
        };
        write!(out, "{recv_ns}\t")?;
        out.write_all(bytes)?;
        out.write_all(b"\n")
    }

    /// Everything so far is with the system.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Plain(plain) => plain.flush(),
            Sink::Compressed(gz) => gz.flush(),
        }
    }

    /// Ends the tape; how many frames it holds.
    pub fn finish(self) -> io::Result<u64> {
        match self.sink {
            Sink::Plain(mut plain) => plain.flush()?,
            Sink::Compressed(gz) => gz.finish()?.flush()?,
        }
        Ok(self.frames)
    }

    /// Frames written.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames left out.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Report;
    use crate::tape::Tape;
    use std::net::TcpListener;
    use tungstenite::Message;

    #[test]
    fn what_is_recorded_is_read_back_and_nothing_else() {
        for compressed in [false, true] {
            let mut bytes = Vec::new();
            let mut recorder = Recorder::new(&mut bytes, compressed);
            recorder.frame(7, b"{\"a\":\"x\ty\"}").unwrap();
            recorder.frame(8, b"{\n}").unwrap();
            recorder.frame(9, b"").unwrap();
            recorder.flush().unwrap();
            recorder.frame(u64::MAX, b"{}").unwrap();
            assert_eq!((recorder.left_out(), recorder.finish().unwrap()), (2, 2));
            let mut tape = Tape::read("t", Shape::Stamped, io::Cursor::new(bytes)).unwrap();
            let frame = tape.next_frame().unwrap().unwrap();
            assert_eq!((frame.recv_ns, frame.json), (Some(7), &b"{\"a\":\"x\ty\"}"[..]));
            assert_eq!(tape.next_frame().unwrap().unwrap().recv_ns, Some(u64::MAX));
            assert_eq!(tape.next_frame().unwrap(), None);
        }
    }

    /// A venue that answers one subscription with a snapshot and two deltas.
    fn venue(listener: &TcpListener) {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let asked = socket.read().unwrap().into_text().unwrap();
        assert!(asked.contains("orderbook.50.ABCUSDT") && asked.contains("allLiquidation.ABCUSDT"), "{asked}");
        for (kind, u, qty) in [("snapshot", 5, 1), ("delta", 6, 2), ("delta", 7, 3)] {
            let frame = format!(
                "{{\"topic\":\"orderbook.50.ABCUSDT\",\"type\":\"{kind}\",\"ts\":1900000000105,\"data\":{{\"s\":\"ABCUSDT\",\"b\":[[\"20.10\",\"{qty}\"]],\"a\":[[\"20.11\",\"3\"]],\"u\":{u},\"seq\":{u}}},\"cts\":1900000000103}}"
            );
            socket.send(Message::text(frame)).unwrap();
        }
        while socket.read().is_ok() {}
    }

    #[test]
    fn a_session_over_a_socket_becomes_a_tape_that_decodes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/v5/public/linear", listener.local_addr().unwrap());
        let venue = std::thread::spawn(move || venue(&listener));
        let folder = std::env::temp_dir().join(format!("keel-record-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("t.rx_ns.tsv.gz");
        let symbols = vec!["ABCUSDT".to_owned()];
        let args =
            Args { file: file.clone(), symbols, url, authority: None, depth: 50, seconds: Some(20), frames: Some(3) };
        assert_eq!(record(&args, &AtomicBool::new(false)).unwrap(), 3);
        venue.join().unwrap();
        let report = Report::of(&file).unwrap();
        assert_eq!((report.frames(), report.errors(), report.gaps()), (3, 0, 0));
        assert_eq!(report.to_json()["orderbook.50.ABCUSDT"]["bid"], serde_json::json!(["20.10", "3"]));
        let again = record(&args, &AtomicBool::new(false)).unwrap_err();
        assert!(format!("{again:#}").contains("exists"), "{again:#}: the recording was overwritten");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_name_or_a_symbol_that_will_not_do_is_said_at_once() {
        let why = Recorder::create(Path::new("x.jsonl")).unwrap_err().to_string();
        assert!(why.contains("*.rx_ns.tsv"), "{why}");
        assert!(instruments(&["A B".to_owned()]).is_err() && instruments(&["A".to_owned(), "A".to_owned()]).is_err());
    }
}

//! The venue's end of the measurement: the exchange on its own CPU, and two stamps of one counter.
//!
//! A tick is stamped when its frame goes to the socket, an order when its frame has come from it. The order's price names
//! the tick it answers, whatever was lost or overtaken between. Both stamps are taken here, so the client's clock does not
//! matter.

use crate::Endless;
use crate::null::until_end_of_input;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use keel_gateway::sim::{AccountConfig, MarketSource, Spec};
use keel_tools::exchange::{self, AUTHORITY, Market, Moment, Options, Pace, Running, What, Witness};
use keel_tools::node::clock::Stopwatch;
use keel_tools::node::thread::nap;
use keel_wire::tape::{self, Load, SYMBOL};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Ticks an answer may be late and still be recognised: half the way up, so that a price names one tick.
const WINDOW: usize = 150;
/// Share of the ticks that warm the client up and are not counted: one in so many.
const WARM: usize = 10;

#[derive(Clone, Copy, Debug)]
struct Stamp {
    px: i64,
    ticks: u64,
    answer: u64,
}

#[derive(Debug, Default)]
struct Log {
    ticks: Vec<Stamp>,
    /// Place after the last tick that was answered.
    next: usize,
    strays: u64,
    order_bytes: usize,
    tick_bytes: usize,
}

/// What one client did.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From the tick's stamp to the order's, nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// The same from the moment the tick was due: what coordinated omission would hide.
    pub(crate) from_due: Histogram<u64>,
    /// Counted ticks.
    pub(crate) ticks: u64,
    /// Of these, without an order: overtaken, refused or lost.
    pub(crate) unanswered: u64,
    /// Orders that name no recent tick.
    pub(crate) strays: u64,
    /// Bytes of a tick and of an order.
    pub(crate) bytes: (usize, usize),
}

/// Tenths of a dollar in the digits at the start of `text`.
fn tenths(text: &[u8]) -> Option<i64> {
    let end = text.iter().position(|b| *b == b'"')?;
    let text = std::str::from_utf8(&text[..end]).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    Some(whole.parse::<i64>().ok()? * 10 + part.get(..1)?.parse::<i64>().ok()?)
}

fn after<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text.windows(key.len()).position(|w| w == key).map(|at| &text[at + key.len()..])
}

/// The best bid a delta leaves behind: its first level that is not gone.
pub(crate) fn tick_price(frame: &[u8]) -> Option<i64> {
    let mut rest = after(frame, b"\"type\":\"delta\"").and_then(|rest| after(rest, b"\"b\":["))?;
    loop {
        rest = after(rest, b"[\"")?;
        let qty = after(rest, b"\",\"")?;
        if !qty.starts_with(b"0\"") {
            return tenths(rest);
        }
    }
}

/// The price of an order.
pub(crate) fn order_price(frame: &[u8]) -> Option<i64> {
    after(frame, b"\"order.create\"")?;
    tenths(after(frame, b"\"price\":")?.trim_ascii_start().strip_prefix(b"\"")?)
}

impl Log {
    fn tick(&mut self, at: u64, frame: &[u8]) {
        if let Some(px) = tick_price(frame) {
            self.tick_bytes = frame.len();
            self.ticks.push(Stamp { px, ticks: at, answer: 0 });
        }
    }

    fn order(&mut self, at: u64, frame: &[u8]) {
        let Some(px) = order_price(frame) else { return };
        self.order_bytes = frame.len();
        let oldest = self.ticks.len().saturating_sub(WINDOW);
        let open = |tick: &Stamp| tick.px == px && tick.answer == 0;
        // answers come in the order of their ticks; one that does not is looked for among all
        let found =
            (self.next.max(oldest)..self.ticks.len()).chain(oldest..self.next).find(|at| open(&self.ticks[*at]));
        match found {
            Some(tick) => {
                self.ticks[tick].answer = at;
                self.next = tick + 1;
            }
            None => self.strays += 1,
        }
    }
}

/// The exchange, waiting for its client.
pub(crate) struct Venue {
    running: Running,
    log: Arc<Mutex<Log>>,
    load: Load,
    watch: Stopwatch,
    _tape: tempfile::TempDir,
    /// Where the authority's certificate is; `None` when it speaks plain text.
    pub(crate) authority: Option<PathBuf>,
}

impl Venue {
    /// Starts it on this CPU.
    pub(crate) fn start(load: Load, secure: bool, cpu: Option<usize>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("bench.rx_ns.tsv");
        tape::write(&path, &load).context("writing the tape")?;
        let market = Market::tapes(std::slice::from_ref(&path))?;
        let log = Arc::new(Mutex::new(Log { ticks: Vec::with_capacity(1 << 20), ..Log::default() }));
        let mut venue = exchange::venue(&[SYMBOL.to_owned()], &market.symbols())?;
        venue.accounts = vec![AccountConfig { order_limit: 1_000_000, ..AccountConfig::demo() }];
        venue.ip_limit = 1_000_000;
        let told = Arc::clone(&log);
        let witness = Witness(Box::new(move |moment: Moment, frame: &[u8]| {
            let mut log = told.lock().unwrap_or_else(PoisonError::into_inner);
            match moment.what {
                What::Tick => log.tick(moment.ticks, frame),
                What::Order => log.order(moment.ticks, frame),
                What::Answer | What::Other => {}
            }
        }));
        let options = Options {
            venue,
            hold: true,
            restamp: true,
            tls: secure.then(|| dir.path().to_owned()),
            cpu,
            spin: true,
            witness: Some(witness),
            ..Options::default()
        };
        let authority = secure.then(|| dir.path().join(AUTHORITY));
        let running = exchange::spawn(options, market, Pace::Real)?;
        Ok(Self { running, log, load, watch: Stopwatch::new(), _tape: dir, authority })
    }

    /// Its port on the loopback.
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.running.address.port()
    }

    /// Plays the tape to a client that is ready, and says how it did.
    pub(crate) fn play(self, alive: impl Fn() -> Result<()>) -> Result<Outcome> {
        self.running.release();
        while !self.running.ended() {
            alive()?;
            ensure!(!self.running.is_over(), "the exchange ended early");
            nap(Duration::from_millis(50));
        }
        nap(Duration::from_millis(200));
        self.running.join()?;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        outcome(&log, &self.load, &self.watch)
    }
}

fn outcome(log: &Log, load: &Load, watch: &Stopwatch) -> Result<Outcome> {
    let first = log.ticks.first().context("no tick left the exchange: the client did not subscribe")?.ticks;
    let empty = || Histogram::new_with_bounds(1, 60_000_000_000, 3);
    let (mut latency, mut from_due) = (empty()?, empty()?);
    let warm = log.ticks.len() / WARM;
    let mut unanswered = 0;
    for (at, tick) in log.ticks.iter().enumerate().skip(warm) {
        if tick.answer == 0 {
            unanswered += 1;
            continue;
        }
        let took = watch.nanos(tick.ticks, tick.answer);
        let late = watch.nanos(first, tick.ticks).saturating_sub(load.due(at as u64));
        latency.saturating_record(took.max(1));
        from_due.saturating_record((took + late).max(1));
    }
    let ticks = (log.ticks.len() - warm) as u64;
    Ok(Outcome { latency, from_due, ticks, unanswered, strays: log.strays, bytes: (log.tick_bytes, log.order_bytes) })
}

/// The instruments of a long run, the tape's first.
pub(crate) fn symbols(count: usize) -> Vec<String> {
    (0..count).map(|at| if at == 0 { SYMBOL.to_owned() } else { format!("C{at:02}USDT") }).collect()
}

/// Plays until its input ends: an exchange of so many instruments, whose faults an administrator switches on.
pub(crate) fn endless(args: &Endless) -> Result<()> {
    let Endless { instruments, rate, cpu, spin, .. } = *args;
    let load = Load { ticks: u64::MAX, rate, burst: 1, levels: tape::LEVELS };
    let mut venue = exchange::venue(&[], &[SYMBOL.to_owned()])?;
    let numbers = ["0.010", "0.1", "79770", "7970", "150"];
    let generated = |at| (Spec::perpetual(&format!("C{at:02}"), 3, numbers, 10_000), MarketSource::Generated);
    venue.symbols.extend((1..instruments).map(generated));
    venue.accounts = vec![AccountConfig { order_limit: 1_000_000, ..AccountConfig::demo() }];
    (venue.ip_limit, venue.connect_limit) = (1_000_000, u32::MAX);
    let options = Options { venue, restamp: true, cpu, spin, tls: args.tls.clone(), ..Options::default() };
    let running = exchange::spawn(options, Market::made(vec![SYMBOL.to_owned()], tape::maker(load)), Pace::Real)?;
    println!("{}", running.address.port());
    std::io::stdout().flush()?;
    let over = until_end_of_input();
    while !over.load(Ordering::Acquire) && !running.is_over() {
        nap(Duration::from_millis(20));
    }
    ensure!(over.load(Ordering::Acquire), "the exchange ended early");
    running.join()
}

/// The address of one endpoint.
#[must_use]
pub(crate) fn url(port: u16, authority: Option<&Path>, path: &str) -> String {
    let scheme = if authority.is_some() { "wss" } else { "ws" };
    format!("{scheme}://localhost:{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(px: i64) -> String {
        format!("{{\"op\":\"order.create\",\"args\":[{{\"price\":\"{}.{}\"}}]}}", px / 10, px % 10)
    }

    /// Ticks at these prices, one a nanosecond, then orders at these: which tick each answers.
    fn answered(ticks: &[i64], orders: &[i64]) -> (Vec<u64>, u64) {
        let mut log = Log::default();
        for (at, px) in (1..).zip(ticks) {
            log.ticks.push(Stamp { px: *px, ticks: at, answer: 0 });
        }
        for (at, px) in (100..).zip(orders) {
            log.order(at, order(*px).as_bytes());
        }
        (log.ticks.iter().map(|tick| tick.answer).collect(), log.strays)
    }

    #[test]
    fn an_order_answers_the_next_tick_of_its_price() {
        assert_eq!(answered(&[5, 6, 7, 6, 5], &[5, 6, 7, 6, 5]), (vec![100, 101, 102, 103, 104], 0));
        // the first was lost: its price comes back later, and the answer is to the later tick
        assert_eq!(answered(&[5, 6, 7, 6, 5], &[6, 7, 6, 5]), (vec![0, 100, 101, 102, 103], 0));
        assert_eq!(answered(&[5, 6, 7], &[6, 5, 7]), (vec![101, 100, 102], 0), "overtaken");
        assert_eq!(answered(&[5, 6], &[5, 9, 5]), (vec![100, 0], 2));
    }
}

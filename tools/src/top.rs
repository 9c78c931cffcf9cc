//! `keel top`: a running node on one screen: links, brake, hops, rings, books, positions.
//!
//! In: the node's `/metrics`, over loopback, once a look. Out: one frame; on a terminal again and again. Never: anything
//! the node's hot thread could notice: the page is rendered by the thread that serves it, from counters that are published
//! anyway. Figures between two looks are of that time alone; in the first frame, and with `--once`, of the whole run.

use crate::node::clock::{Stopwatch, system_wall};
use crate::node::thread::{Stop, nap};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest page; a longer one is refused.
const MOST: u64 = 4 << 20;
/// Between two looks at whether to end.
const BLINK: Duration = Duration::from_millis(50);

/// What a person may say to `keel top`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the node serves /metrics
    #[arg(default_value = "127.0.0.1:9464", value_name = "ADDR")]
    pub at: SocketAddr,
    /// One frame of plain text, then end
    #[arg(long)]
    pub once: bool,
    /// Milliseconds between two looks
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub every: u64,
}

/// `keel top`.
pub fn run(args: &Args) -> Result<()> {
    let mut out = std::io::stdout();
    let watch = Stopwatch::new();
    let first = Page::read(&fetch(args.at)?);
    if args.once || !out.is_terminal() {
        return Ok(write!(out, "{}", frame(args.at, &first, None))?);
    }
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.flag()).context("watching for Ctrl-C")?;
    }
    write!(out, "\u{1b}[?1049h\u{1b}[?25l")?;
    let ended = live(args, &watch, &stop, first, &mut out);
    write!(out, "\u{1b}[?25h\u{1b}[?1049l")?;
    out.flush()?;
    ended
}

#[allow(clippy::cast_precision_loss, reason = "rates for people")]
fn live(args: &Args, watch: &Stopwatch, stop: &Stop, mut page: Page, out: &mut impl Write) -> Result<()> {
    let mut text = frame(args.at, &page, None);
    loop {
        // each line is cleared to its end, then what is left of the last frame
        let lines = text.replace('\n', "\u{1b}[K\r\n");
        write!(out, "\u{1b}[H{lines}\u{1b}[J")?;
        out.flush()?;
        let from = watch.ticks();
        while watch.nanos(from, watch.ticks()) < args.every * 1_000_000 {
            if stop.is_raised() {
                return Ok(());
            }
            nap(BLINK);
        }
        let next = Page::read(&fetch(args.at)?);
        let seconds = watch.nanos(from, watch.ticks()) as f64 / 1e9;
        text = frame(args.at, &next, Some((&page, seconds)));
        page = next;
    }
}

/// The body of `/metrics`.
fn fetch(at: SocketAddr) -> Result<String> {
    let unreached = || format!("no node answers on {at}; `keel run` and `keel demo --http {at}` serve /metrics");
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE).with_context(unreached)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    write!(socket, "GET /metrics HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(MOST).read_to_string(&mut answer).with_context(unreached)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("{at} does not speak HTTP") };
    ensure!(head.starts_with("HTTP/1.1 200"), "{at} answered {:?}", head.lines().next().unwrap_or(""));
    ensure!(body.contains("keel_"), "what listens on {at} is no keel node");
    Ok(body.to_owned())
}

/// Values by name and labels.
#[derive(Debug, Default)]
struct Page {
    plain: BTreeMap<String, f64>,
    /// Name, value of the one label, value.
    labelled: BTreeMap<String, BTreeMap<String, f64>>,
    /// Hop to cumulative counts by upper bound, seconds.
    hops: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Page {
    /// Reads Prometheus text; a line it does not understand is left out.
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let Some((name, labels)) = name.split_once('{') else {
                page.plain.insert(name.to_owned(), value);
                continue;
            };
            let labels: Vec<(&str, &str)> =
                labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')).collect();
            let of = |wanted: &str| {
                labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"').to_owned())
            };
            match (of("hop"), of("le"), labels.first()) {
                (Some(hop), Some(le), _) if name == "keel_hop_seconds_bucket" => {
                    let bound = le.parse().unwrap_or(f64::INFINITY);
                    page.hops.entry(hop).or_default().push((bound, value));
                }
                (None, None, Some((_, label))) => {
                    let row = page.labelled.entry(name.to_owned()).or_default();
                    row.insert(label.trim_matches('"').to_owned(), value);
                }
                _ => {}
            }
        }
        page
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.plain.get(name).copied()
    }

    fn of(&self, name: &str, label: &str) -> Option<f64> {
        self.labelled.get(name)?.get(label).copied()
    }

    /// Counts of a hop by upper bound, not cumulative, since the page before.
    fn counts(&self, hop: &str, before: Option<&Self>) -> Vec<(f64, f64)> {
        let empty = Vec::new();
        let now = self.hops.get(hop).unwrap_or(&empty);
        let then = before.and_then(|before| before.hops.get(hop)).unwrap_or(&empty);
        let mut below = 0.0;
        now.iter()
            .enumerate()
            .map(|(at, (bound, count))| {
                let since = count - then.get(at).map_or(0.0, |(_, count)| *count);
                let own = since - below;
                below = since;
                (*bound, own.max(0.0))
            })
            .collect()
    }
}

/// The upper bound of the bucket that holds the quantile; `None` of nothing.
fn quantile(counts: &[(f64, f64)], share: f64) -> Option<f64> {
    let all: f64 = counts.iter().map(|(_, count)| count).sum();
    let mut below = 0.0;
    counts.iter().find_map(|(bound, count)| {
        below += count;
        (all > 0.0 && below >= all * share).then_some(*bound)
    })
}

/// Metrics that have a place of their own; whatever else the node serves is shown below them.
const PLACED: &[&str] = &[
    "keel_link_public_state",
    "keel_link_private_state",
    "keel_link_trade_state",
    "keel_reconciled",
    "keel_brake_state",
    "keel_journal_health",
    "keel_journal_head_sequence",
    "keel_journal_durable_sequence",
];
/// Instruments' metrics that have a column of their own.
const COLUMNS: &[&str] = &[
    "keel_position_coins",
    "keel_net_profit_usdt",
    "keel_fees_usdt",
    "keel_book_age_seconds",
    "keel_book_venue_age_seconds",
    "keel_book_state",
    "keel_ring_items_total",
    "keel_ring_refused_total",
];

/// One frame; `since` is the page before and the seconds between the two.
fn frame(at: SocketAddr, page: &Page, since: Option<(&Page, f64)>) -> String {
    let mut text = String::new();
    let span = since.map_or_else(|| "since the start".to_owned(), |(_, seconds)| format!("last {seconds:.1} s"));
    let _ = writeln!(text, "keel top  {at}  {}  {span}\n", crate::moment::utc(system_wall()));
    head(&mut text, page);
    instruments(&mut text, page);
    hops(&mut text, page, since);
    rings(&mut text, page, since);
    others(&mut text, page, since);
    text
}

fn word(value: Option<f64>, words: &[&'static str]) -> &'static str {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    value.and_then(|value| words.get(value as usize).copied()).unwrap_or("?")
}

fn head(text: &mut String, page: &Page) {
    const LINK: &[&str] = &["DOWN", "connected", "ready"];
    let link = |name: &str| word(page.get(&format!("keel_link_{name}_state")), LINK);
    let reconciled = word(page.get("keel_reconciled"), &["NO", "yes"]);
    let brake = page
        .get("keel_brake_state")
        .map_or("not published", |state| word(Some(state), &["active", "REDUCE ONLY", "CANCEL ONLY", "HALTED"]));
    let number = |name| page.get(name).unwrap_or(0.0);
    let (sequence, durable) = (number("keel_journal_head_sequence"), number("keel_journal_durable_sequence"));
    let journal = word(page.get("keel_journal_health"), &["sound", "LOW", "FAULTY"]);
    let (public, private, trade) = (link("public"), link("private"), link("trade"));
    let _ =
        writeln!(text, "links     public {public}, private {private}, trade {trade}; account compared: {reconciled}");
    let _ = writeln!(text, "brake     {brake}");
    let behind = (sequence - durable).max(0.0);
    let _ = writeln!(text, "journal   {journal}, record {sequence:.0}, {behind:.0} of them not yet on the medium\n");
}

fn instruments(text: &mut String, page: &Page) {
    let Some(symbols) = page.labelled.get("keel_position_coins") else { return };
    let _ = writeln!(
        text,
        "{:<16} {:>16} {:>14} {:>12} {:>8} {:>10}",
        "INSTRUMENT", "POSITION", "NET", "FEES", "BOOK", "AGE"
    );
    for (symbol, position) in symbols {
        let of = |name| page.of(name, symbol);
        let state = word(of("keel_book_state"), &["waiting", "synced", "STALE"]);
        let money = |name| of(name).map_or_else(|| "-".to_owned(), |value: f64| format!("{value:.4}"));
        let age = of("keel_book_age_seconds").filter(|age| age.is_finite()).map_or_else(|| "-".to_owned(), time);
        let (net, fees) = (money("keel_net_profit_usdt"), money("keel_fees_usdt"));
        let _ = writeln!(text, "{symbol:<16} {position:>16} {net:>14} {fees:>12} {state:>8} {age:>10}");
    }
    text.push('\n');
}

fn hops(text: &mut String, page: &Page, since: Option<(&Page, f64)>) {
    let _ = writeln!(text, "{:<16} {:>12} {:>12} {:>12} {:>12}", "HOP", "COUNT", "P50 BELOW", "P99 BELOW", "MAX BELOW");
    for hop in page.hops.keys() {
        let counts = page.counts(hop, since.map(|(before, _)| before));
        let all: f64 = counts.iter().map(|(_, count)| count).sum();
        let [p50, p99, max] =
            [0.5, 0.99, 1.0].map(|share| quantile(&counts, share).map_or_else(|| "-".to_owned(), time));
        let _ = writeln!(text, "{hop:<16} {all:>12.0} {p50:>12} {p99:>12} {max:>12}");
    }
    text.push('\n');
}

fn rings(text: &mut String, page: &Page, since: Option<(&Page, f64)>) {
    let Some(rings) = page.labelled.get("keel_ring_items_total") else { return };
    let _ = writeln!(text, "{:<16} {:>12} {:>12} {:>12}", "RING", "ITEMS", "A SECOND", "REFUSED");
    for (ring, items) in rings {
        let refused = page.of("keel_ring_refused_total", ring).unwrap_or(0.0);
        let rate = rate(since, *items, |before| before.of("keel_ring_items_total", ring));
        let _ = writeln!(text, "{ring:<16} {items:>12.0} {rate:>12} {refused:>12.0}");
    }
    text.push('\n');
}

fn rate(since: Option<(&Page, f64)>, now: f64, of: impl Fn(&Page) -> Option<f64>) -> String {
    let rate = since.and_then(|(before, seconds)| Some((now - of(before)?) / seconds));
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"))
}

/// Everything without a place of its own, so that what the node learns to publish is seen without a change here.
fn others(text: &mut String, page: &Page, since: Option<(&Page, f64)>) {
    for (name, value) in page.plain.iter().filter(|(name, _)| !PLACED.contains(&name.as_str())) {
        let short = name.strip_prefix("keel_").unwrap_or(name);
        let per_second = if name.ends_with("_total") {
            format!("{:>12} a second", rate(since, *value, |before| before.get(name)))
        } else {
            String::new()
        };
        let _ = writeln!(text, "{short:<32} {value:>16}{per_second}");
    }
    let placed: BTreeSet<&str> = COLUMNS.iter().copied().collect();
    let rest = page.labelled.iter().filter(|(name, _)| !placed.contains(name.as_str()) && *name != "keel_build_info");
    for (name, rows) in rest {
        for (label, value) in rows {
            let short = name.strip_prefix("keel_").unwrap_or(name);
            let _ = writeln!(text, "{:<32} {value:>16}", format!("{short} {label}"));
        }
    }
}

/// Seconds for people.
fn time(seconds: f64) -> String {
    match seconds {
        s if s.is_infinite() => "> 1 s".to_owned(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::board::{Board, Cell};
    use crate::node::meter::{Hop, LiveHops, Meter};
    use crate::node::metrics::Exporter;
    use std::sync::Arc;

    #[test]
    fn a_frame_shows_what_the_board_holds() {
        let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
        board.name_rows(vec!["BTCUSDT".to_owned()]);
        board.set(Cell::PublicLink, 2);
        board.set(Cell::Approved, 7);
        board.set(Cell::HeadSeq, 100);
        board.set(Cell::DurableSeq, 90);
        board.row(0).position.store(-150_000_000, std::sync::atomic::Ordering::Release);
        board.row(0).book_state.store(2, std::sync::atomic::Ordering::Release);
        let mut meter = Meter::new(Hop::Decide, &hops);
        for nanos in [150, 1_500, 1_500, 90_000] {
            meter.record(nanos);
        }
        let exporter = Exporter::new(Arc::clone(&board), Arc::clone(&hops));
        let first = Page::read(&exporter.render());
        let at: SocketAddr = "127.0.0.1:9464".parse().unwrap();
        let squeezed = |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let lines: Vec<String> = squeezed(&frame(at, &first, None));
        for line in [
            "links public ready, private DOWN, trade DOWN; account compared: NO",
            "journal sound, record 100, 10 of them not yet on the medium",
            "BTCUSDT -1.5 0.0000 0.0000 STALE 0 ns",
            "decide 4 2 us 100 us 100 us",
            "engine_approved_total 7 - a second",
        ] {
            assert!(lines.iter().any(|have| have == line), "{line} is missing from\n{}", lines.join("\n"));
        }
        // the second look is about what happened since the first
        board.set(Cell::Approved, 27);
        meter.record(300);
        let second = Page::read(&exporter.render());
        let lines: Vec<String> = squeezed(&frame(at, &second, Some((&first, 2.0))));
        for line in ["decide 1 500 ns 500 ns 500 ns", "engine_approved_total 27 10 a second"] {
            assert!(lines.iter().any(|have| have == line), "{line} is missing from\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn what_is_no_metric_is_left_out() {
        let page = Page::read("# HELP a b\nkeel_a 1\nkeel_b\nkeel_c{x=\"y\"} z\nkeel_d{x=\"y\"} 2\n\u{7f}{{{ 3");
        assert_eq!((page.plain.len(), page.of("keel_d", "y")), (1, Some(2.0)));
    }
}

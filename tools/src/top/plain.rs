//! One frame as plain text: for pipes, and for `--once`.

use super::page::{Page, journal, quantile, rate, risk, ship, standing, time, word};
use crate::node::clock::system_wall;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

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
    "keel_value_at_risk_usdt",
    "keel_value_at_risk_limit_usdt",
    "keel_expected_shortfall_usdt",
    "keel_expected_shortfall_limit_usdt",
    "keel_stress_loss_usdt",
    "keel_stress_limit_usdt",
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
#[must_use]
pub(super) fn frame(at: SocketAddr, page: &Page, shipper: Option<&Page>, since: Option<(&Page, f64)>) -> String {
    let mut text = String::new();
    let span = since.map_or_else(|| "since the start".to_owned(), |(_, seconds)| format!("last {seconds:.1} s"));
    let _ = writeln!(text, "keel top  {at}  {}  {span}\n", crate::moment::utc(system_wall()));
    head(&mut text, page, shipper);
    instruments(&mut text, page);
    hops(&mut text, page, since);
    rings(&mut text, page, since);
    others(&mut text, page, since);
    text
}

fn head(text: &mut String, page: &Page, shipper: Option<&Page>) {
    let (links, brake) = standing(page);
    let _ = writeln!(text, "links     {links}\nbrake     {brake}\njournal   {}", journal(page));
    if shipper.is_some() {
        let _ = writeln!(text, "ship      {}", ship(shipper));
    }
    let _ = writeln!(text, "risk      {}\n", risk(page));
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
        board.set(Cell::Stress, 4_100_000_000);
        board.set(Cell::HeadSeq, 100);
        board.set(Cell::DurableSeq, 90);
        board.row(0).position.store(-150_000_000, std::sync::atomic::Ordering::Release);
        board.row(0).book_state.store(2, std::sync::atomic::Ordering::Release);
        let mut meter = Meter::new(Hop::Decide, &hops);
        for nanos in [150, 1_500, 1_500, 90_000] {
            meter.record(nanos);
        }
        meter.settle();
        let exporter = Exporter::new(Arc::clone(&board), Arc::clone(&hops));
        let first = Page::read(&exporter.render());
        let at: SocketAddr = "127.0.0.1:9464".parse().unwrap();
        let squeezed = |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let lines: Vec<String> = squeezed(&frame(at, &first, None, None));
        for line in [
            "links public ready, private DOWN, trade DOWN; account compared: NO",
            "risk value at risk - of -, shortfall - of -, stress 41.00 of 0.00 USDT",
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
        meter.settle();
        let second = Page::read(&exporter.render());
        let lines: Vec<String> = squeezed(&frame(at, &second, None, Some((&first, 2.0))));
        for line in ["decide 1 500 ns 500 ns 500 ns", "engine_approved_total 27 10 a second"] {
            assert!(lines.iter().any(|have| have == line), "{line} is missing from\n{}", lines.join("\n"));
        }
    }
}

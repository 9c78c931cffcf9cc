//! The board and the live hops as Prometheus text.
//!
//! Counters and gauges go through the `metrics` facade into the exporter's recorder at the moment of a scrape; the hops
//! are classic histograms whose buckets are already counted, which the facade cannot take, so they are written out here.

use super::board::{Board, Cell, NEVER, Shape, UNKNOWN};
use super::meter::{BOUNDS, Hop, LiveHops};
use metrics::{Label, counter, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Renders on demand.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    board: Arc<Board>,
    hops: Arc<LiveHops>,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// An exporter of this board and these hops.
    #[must_use]
    pub fn new(board: Arc<Board>, hops: Arc<LiveHops>) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle, board, hops }
    }

    /// The whole page.
    #[must_use]
    pub fn render(&self) -> String {
        metrics::with_local_recorder(&self.recorder, || {
            self.cells();
            self.rows();
            self.rings();
        });
        let mut page = self.handle.render();
        self.histograms(&mut page);
        page
    }

    fn cells(&self) {
        for &(cell, shape, name, help) in Cell::ALL {
            let value = self.board.get(cell);
            match shape {
                Shape::Counter => {
                    metrics::describe_counter!(name, help);
                    counter!(name).absolute(value);
                }
                Shape::Money => {
                    metrics::describe_gauge!(name, help);
                    gauge!(name).set(known(value.cast_signed()));
                }
                Shape::Gauge => {
                    metrics::describe_gauge!(name, help);
                    gauge!(name).set(float(value));
                }
            }
        }
        metrics::describe_gauge!("keel_build_info", "The version of the program that runs");
        gauge!("keel_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    }

    fn rows(&self) {
        metrics::describe_gauge!("keel_position_coins", "Signed position");
        metrics::describe_gauge!("keel_net_profit_usdt", "Realised and unrealised profit after fees and funding");
        metrics::describe_gauge!("keel_fees_usdt", "Fees paid");
        let help =
            "How far the mark may move against the position before liquidation, as a share of it; NaN without one";
        metrics::describe_gauge!("keel_liquidation_distance_ratio", help);
        metrics::describe_gauge!("keel_book_age_seconds", "Since the last news of the book; NaN before the first");
        metrics::describe_gauge!("keel_book_venue_age_seconds", "Last news behind the wall clock, by the venue's time");
        metrics::describe_gauge!("keel_book_state", "Verdict on the book: 0 waiting, 1 synced, 2 stale");
        for (symbol, index) in self.board.symbols().iter().zip(0..) {
            let row = self.board.row(index);
            let label = vec![Label::new("instrument", symbol.clone())];
            gauge!("keel_position_coins", label.clone()).set(money(row.position.load(Ordering::Acquire)));
            gauge!("keel_net_profit_usdt", label.clone()).set(money(row.net.load(Ordering::Acquire)));
            gauge!("keel_fees_usdt", label.clone()).set(money(row.fees.load(Ordering::Acquire)));
            let distance = row.distance.load(Ordering::Acquire);
            gauge!("keel_liquidation_distance_ratio", label.clone()).set(known(distance));
            gauge!("keel_book_age_seconds", label.clone()).set(age(row.book_age.load(Ordering::Acquire)));
            gauge!("keel_book_venue_age_seconds", label.clone()).set(age(row.venue_age.load(Ordering::Acquire)));
            gauge!("keel_book_state", label).set(float(row.book_state.load(Ordering::Acquire)));
        }
    }

    fn rings(&self) {
        metrics::describe_counter!("keel_ring_items_total", "Items pushed onto a ring");
        metrics::describe_counter!("keel_ring_refused_total", "Items a full ring did not take");
        for (ring, state) in self.board.rings() {
            counter!("keel_ring_items_total", "ring" => *ring).absolute(state.pushed());
            counter!("keel_ring_refused_total", "ring" => *ring).absolute(state.refused());
        }
    }

    fn histograms(&self, page: &mut String) {
        let name = "keel_hop_seconds";
        let _ = writeln!(page, "# HELP {name} Time a fact takes through one hop\n# TYPE {name} histogram");
        for hop in Hop::ALL {
            let (live, label) = (self.hops.of(hop), hop.name());
            let mut total = 0;
            for (count, bound) in live.counts.iter().zip(BOUNDS) {
                total += count.load(Ordering::Relaxed);
                let _ = writeln!(page, "{name}_bucket{{hop=\"{label}\",le=\"{}\"}} {total}", seconds(bound));
            }
            total += live.counts[BOUNDS.len()].load(Ordering::Relaxed);
            let sum = seconds(live.sum.load(Ordering::Relaxed));
            let _ = writeln!(page, "{name}_bucket{{hop=\"{label}\",le=\"+Inf\"}} {total}");
            let _ = writeln!(page, "{name}_sum{{hop=\"{label}\"}} {sum}\n{name}_count{{hop=\"{label}\"}} {total}");
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a metric is a float")]
fn float(value: u64) -> f64 {
    value as f64
}

fn money(raw: i64) -> f64 {
    keel_core::units::Notional::from_raw(raw).to_f64()
}

/// What nobody has measured is no number.
fn known(raw: i64) -> f64 {
    if raw == UNKNOWN { f64::NAN } else { money(raw) }
}

fn age(nanos: u64) -> f64 {
    if nanos == NEVER { f64::NAN } else { seconds(nanos) }
}

fn seconds(nanos: u64) -> f64 {
    float(nanos) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::meter::Meter;

    #[test]
    fn the_page_shows_what_the_board_holds() {
        let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
        board.name_rows(vec!["BTCUSDT".to_owned()]);
        board.set(Cell::Approved, 7);
        board.set(Cell::Drawdown, 250_000_000);
        board.set(Cell::Stress, 4_100_000_000);
        board.set(Cell::Moved, (-50_000_000i64).cast_unsigned());
        board.row(0).distance.store(12_000_000, Ordering::Release);
        board.row(0).position.store(150_000_000, Ordering::Release);
        let mut meter = Meter::new(Hop::Decide, &hops);
        meter.record(1_500);
        meter.settle();
        let page = Exporter::new(board, hops).render();
        for line in [
            "# TYPE keel_engine_approved_total counter",
            "keel_engine_approved_total 7",
            "keel_drawdown_usdt 2.5",
            "keel_stress_loss_usdt 41",
            "keel_value_at_risk_usdt NaN",
            "keel_moved_usdt -0.5",
            "keel_liquidation_distance_ratio{instrument=\"BTCUSDT\"} 0.12",
            "keel_position_coins{instrument=\"BTCUSDT\"} 1.5",
            "keel_hop_seconds_bucket{hop=\"decide\",le=\"0.000001\"} 0",
            "keel_hop_seconds_bucket{hop=\"decide\",le=\"0.000002\"} 1",
            "keel_hop_seconds_count{hop=\"decide\"} 1",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} is missing from\n{page}");
        }
    }
}

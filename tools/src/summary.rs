//! What a run was, for people and for machines.
//!
//! In: the node's report, the journal it wrote. Out: a page or one JSON object. The journal is verified here, and the
//! digest of the orders is read back from it, so that two runs can be compared by one line.

use crate::node::Report;
use crate::node::meter::Hop;
use anyhow::Result;
use hdrhistogram::Histogram;
use keel_core::event::{Kind, Order, read};
use keel_core::units::{Notional, Px, Qty};
use keel_journal::{Reader, verify};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A finished run.
#[derive(Debug)]
pub struct Summary {
    report: Report,
    path: PathBuf,
    records: u64,
    verified: bool,
    damage: Option<String>,
    orders_digest: String,
    seed: u64,
    seconds: f64,
}

impl Summary {
    /// Reads back what the run left in `path`.
    #[must_use]
    pub fn new(report: Report, path: &Path, seed: u64, seconds: f64) -> Self {
        let walked = verify(path);
        let damage = walked.damages.first().map(ToString::to_string);
        let orders_digest = orders_digest(path).unwrap_or_else(|why| format!("unreadable: {why}"));
        Self {
            report,
            path: path.to_owned(),
            records: walked.records,
            verified: damage.is_none(),
            damage,
            orders_digest,
            seed,
            seconds,
        }
    }

    /// Is the journal whole?
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    fn sum(&self, of: impl Fn(&crate::node::SeatReport) -> Notional) -> Notional {
        self.report.seats.iter().map(of).sum()
    }

    fn exposure(&self) -> Notional {
        self.sum(|seat| seat.mark.mul_ceil(seat.position.abs()).unwrap_or(Notional::MAX))
    }

    fn net(&self) -> Notional {
        self.sum(|seat| seat.net.unwrap_or_default())
    }

    /// One object; amounts are decimal strings, latencies nanoseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        let counts = &self.report.counts;
        let position: Map<String, Value> =
            self.report.seats.iter().map(|seat| (seat.symbol.clone(), json!(seat.position.to_string()))).collect();
        let instruments: Map<String, Value> = self.report.seats.iter().map(instrument).collect();
        let latency: Map<String, Value> =
            self.report.hops.iter().map(|(hop, times)| (hop.name().to_owned(), percentiles(times))).collect();
        json!({
            "messages": self.report.frames,
            "feed_errors": self.report.feed_errors,
            "resyncs": self.report.resyncs,
            "facts": counts.facts,
            "orders": counts.placed,
            "requests": counts.approved,
            "refused": counts.refused,
            "not_sized": counts.not_sized,
            "unrecorded": counts.unrecorded,
            "sent": self.report.sent,
            "not_sent": self.report.not_sent,
            "open_orders": self.report.open_orders,
            "unknown": counts.unknown,
            "fills": counts.fills,
            "position": position,
            "instruments": instruments,
            "pnl_usdt": self.net().to_string(),
            "fees_usdt": self.sum(|seat| seat.fees).to_string(),
            "exposure_usdt": self.exposure().to_string(),
            "latency_ns": latency,
            "journal": {
                "path": self.path.display().to_string(),
                "records": self.records,
                "verified": self.verified,
                "damage": self.damage,
            },
            "orders_sha256": self.orders_digest,
            "seed": self.seed,
            "seconds": self.seconds,
        })
    }

    /// A page.
    #[must_use]
    pub fn page(&self) -> String {
        let (counts, mut out) = (&self.report.counts, String::new());
        let _ = writeln!(out, "\nkeel: {:.1} s, seed {}", self.seconds, self.seed);
        let _ = writeln!(
            out,
            "  market    {} messages, {} refused by the decoder, {} resyncs",
            self.report.frames, self.report.feed_errors, self.report.resyncs
        );
        let _ = writeln!(
            out,
            "  orders    {} placed, {} requests sent, {} refused by the gate, {} sized to nothing, {} still open",
            counts.placed, self.report.sent, counts.refused, counts.not_sized, self.report.open_orders
        );
        let _ = writeln!(out, "  fills     {}", counts.fills);
        for seat in &self.report.seats {
            let flat = seat.position == Qty::ZERO;
            let entry = if flat { Px::ZERO } else { seat.entry };
            let _ = writeln!(
                out,
                "  {:<9} position {} at {}, mark {}, net {} USDT, fees {} USDT",
                seat.symbol,
                seat.position,
                entry,
                seat.mark,
                cents(seat.net.unwrap_or_default()),
                cents(seat.fees)
            );
        }
        let _ = writeln!(
            out,
            "  profit    {} USDT net of {} USDT fees; exposure {} USDT",
            cents(self.net()),
            cents(self.sum(|seat| seat.fees)),
            cents(self.exposure())
        );
        let _ = writeln!(
            out,
            "  latency   {:<13}{:>9}{:>9}{:>9}{:>9}{:>11}{:>9}",
            "us", "p50", "p90", "p99", "p99.9", "max", "count"
        );
        for hop in Hop::ALL {
            if let Some((_, times)) = self.report.hops.iter().find(|(have, times)| *have == hop && !times.is_empty()) {
                let _ = writeln!(out, "            {:<13}{}", hop.name(), micros(times));
            }
        }
        let state = self.damage.as_deref().unwrap_or("verified whole");
        let _ = writeln!(out, "  journal   {}: {} records, {state}", self.path.display(), self.records);
        let _ = writeln!(out, "            keel tail {0}    keel verify {0}", self.path.display());
        out
    }
}

fn instrument(seat: &crate::node::SeatReport) -> (String, Value) {
    let value = json!({
        "position": seat.position.to_string(),
        "entry": seat.entry.to_string(),
        "mark": seat.mark.to_string(),
        "realised_usdt": seat.realised.to_string(),
        "fees_usdt": seat.fees.to_string(),
        "net_usdt": seat.net.map(|net| net.to_string()),
    });
    (seat.symbol.clone(), value)
}

fn percentiles(times: &Histogram<u64>) -> Value {
    json!({
        "p50": times.value_at_quantile(0.5),
        "p90": times.value_at_quantile(0.9),
        "p99": times.value_at_quantile(0.99),
        "p999": times.value_at_quantile(0.999),
        "max": times.max(),
        "count": times.len(),
    })
}

#[allow(clippy::cast_precision_loss, reason = "a page for people")]
fn micros(times: &Histogram<u64>) -> String {
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
    format!(
        "{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>11.1}{:>9}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        times.max() as f64 / 1000.0,
        times.len()
    )
}

/// To the cent, for people.
fn cents(amount: Notional) -> String {
    format!("{:.2}", amount.to_f64())
}

/// SHA-256 over every permitted request in order: what was asked of the venue, run number and clocks left out.
fn orders_digest(path: &Path) -> Result<String> {
    let mut reader = Reader::open(path).map_err(|why| anyhow::anyhow!("{why}"))?;
    let mut digest = Sha256::new();
    while let Some(entry) = reader.poll().map_err(|why| anyhow::anyhow!("{why}"))? {
        if entry.kind != Some(Kind::Approved) {
            continue;
        }
        let Some(order) = entry.payload.get(..size_of::<Order>()).and_then(read::<Order>) else { continue };
        digest.update(order.client.count().to_le_bytes());
        digest.update([order.op as u8, order.side as u8, order.tif as u8, order.reduce_only as u8]);
        digest.update(order.instrument.0.to_le_bytes());
        digest.update(order.px.raw().to_le_bytes());
        digest.update(order.qty.raw().to_le_bytes());
    }
    Ok(digest.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

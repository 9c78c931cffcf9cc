//! What a private capture holds: orders, fills, positions and wallets, through the gateway's decoder.

use keel_core::event::ExecEvent;
use keel_core::instrument::Instruments;
use keel_core::units::{Notional, Qty};
use keel_gateway::decode::{DecodeError, Decoder, Source};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Totals of the private facts of a file.
#[derive(Debug, Default)]
pub(super) struct Private {
    frames: u64,
    orders: u64,
    order_ids: BTreeSet<String>,
    by_status: BTreeMap<String, u64>,
    fills: u64,
    filled: Qty,
    fees: Notional,
    positions: u64,
    flat: u64,
    wallets: u64,
    equity: Notional,
    left_out: u64,
}

/// Is this the topic of a private stream?
pub(super) fn is_private(topic: &str) -> bool {
    let kind = topic.strip_suffix(".linear").unwrap_or(topic);
    ["order", "execution", "execution.fast", "position", "wallet"].contains(&kind)
}

pub(super) fn decoder(instruments: &Instruments) -> Decoder {
    Decoder::new(instruments)
}

impl Private {
    /// One frame more.
    pub(super) fn frame(&mut self, bytes: &[u8], decoder: &mut Decoder) -> Result<(), DecodeError> {
        self.frames += 1;
        decoder.frame(bytes, Source::default(), &mut |fact| self.count(&fact))?;
        let skipped = decoder.skipped();
        self.left_out = skipped.category + skipped.instrument + skipped.hedge + skipped.account + skipped.fast;
        Ok(())
    }

    fn count(&mut self, fact: &ExecEvent) {
        match fact {
            ExecEvent::Order(order) => {
                self.orders += 1;
                self.order_ids.insert(order.venue.to_string());
                *self.by_status.entry(format!("{:?}", order.status)).or_default() += 1;
            }
            ExecEvent::Fill(fill) => {
                self.fills += 1;
                self.filled = Qty::from_raw(self.filled.raw().saturating_add(fill.qty.raw()));
                self.fees = Notional::from_raw(self.fees.raw().saturating_add(fill.fee.raw()));
            }
            ExecEvent::Position(position) => {
                self.positions += 1;
                self.flat += u64::from(position.size.is_zero());
            }
            ExecEvent::Wallet(wallet) => {
                self.wallets += 1;
                self.equity = wallet.equity;
            }
            _ => {}
        }
    }

    /// `None` when the file held nothing private.
    pub(super) fn to_json(&self) -> Option<Value> {
        (self.frames > 0).then(|| {
            json!({
                "orders": { "rows": self.orders, "ids": self.order_ids.len(), "by_status": self.by_status },
                "fills": { "n": self.fills, "qty": self.filled.to_string(), "fees": self.fees.to_string() },
                "positions": { "rows": self.positions, "flat": self.flat },
                "wallets": { "rows": self.wallets, "last_usdt_equity": self.equity.to_string() },
                "rows_left_out": self.left_out,
            })
        })
    }
}

//! Where the scenarios come from that value at risk is taken over.
//!
//! In: the venue's daily closes, a file of daily returns, or a seed. Out: [`Scenarios`] over the instruments of the node, or
//! a sentence. Never: a history with a hole in it, or one shorter than its tail needs, that looks like calm.

use super::inquiry::Inquiry;
use anyhow::{Result, anyhow, ensure};
use keel_core::ids::Symbol;
use keel_core::instrument::Instruments;
use keel_feed::bars::table::Table;
use keel_risk::Scenarios;
use std::path::PathBuf;

/// Days of a generated history.
const DAYS: usize = 500;

/// Returns a symbol needs before it may be traded on their strength.
const LEAST: usize = 250;

/// Where from.
#[derive(Clone, Debug)]
pub enum Source {
    /// None: the limits must not bound value at risk.
    None,
    /// Daily closes of this many days, asked of the venue at the start.
    Venue(usize),
    /// A file: the columns `date` and one an instrument, simple daily returns, oldest first.
    File(PathBuf),
    /// Made up: fat-tailed daily returns with a common factor. For a venue that is made up too.
    Generated(u64),
}

impl Source {
    /// The scenarios, when there are to be any.
    pub fn load(&self, inquiry: &Inquiry<'_>, instruments: &Instruments) -> Result<Option<Scenarios>> {
        let series = match self {
            Self::None => return Ok(None),
            Self::Venue(days) => closes(inquiry, instruments, *days)?,
            Self::File(path) => crate::risk::returns_of(path, instruments)?,
            Self::Generated(seed) => generated(*seed, instruments),
        };
        let borrowed: Vec<_> = series.iter().map(|(symbol, returns)| (*symbol, returns.as_slice())).collect();
        Scenarios::new(instruments, &borrowed).map(Some).map_err(|why| anyhow!("scenarios: {why:?}"))
    }
}

type Series = Vec<(Symbol, Vec<f64>)>;

fn closes(inquiry: &Inquiry<'_>, instruments: &Instruments, days: usize) -> Result<Series> {
    let symbols: Vec<Symbol> = instruments.rows().iter().map(|row| row.symbol).collect();
    let closes = inquiry.daily_closes(&symbols, days)?;
    let borrowed: Vec<_> = closes.iter().map(|(symbol, series)| (*symbol, series)).collect();
    let table = Table::align(&borrowed, LEAST, days);
    for (symbol, have) in table.left_out() {
        tracing::warn!("{symbol} has {have} daily returns, fewer than {LEAST}: nothing that adds risk leaves on it");
    }
    ensure!(!table.columns().is_empty(), "no symbol has {LEAST} daily returns at the venue: name a file of returns");
    tracing::info!(
        days = table.days().len(),
        symbols = table.columns().len(),
        "scenarios from the venue's daily closes"
    );
    Ok(table.columns().to_vec())
}

/// Seeded returns: a factor all coins share and a part of their own, each a normal number times a heavy one, about 4 % a day.
#[must_use]
pub fn generated(seed: u64, instruments: &Instruments) -> Series {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let common: Vec<f64> = (0..DAYS).map(|_| heavy(&mut state)).collect();
    let own = |state: &mut u64| common.iter().map(|shared| 0.03 * shared + 0.02 * heavy(state)).collect::<Vec<f64>>();
    instruments.rows().iter().map(|row| (row.symbol, own(&mut state))).collect()
}

/// About normal, with fat tails: the sum of twelve evens, a tenth of them three times as large.
#[allow(clippy::cast_precision_loss, reason = "53 bits are kept")]
fn heavy(state: &mut u64) -> f64 {
    let mut even = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    };
    let normal: f64 = (0..12).map(|_| even()).sum::<f64>() - 6.0;
    let tail = if even() < 0.1 { 2.0 } else { 0.8 };
    // a day on which nothing at all happened is a hole in a history
    let moved = (normal * tail).clamp(-15.0, 15.0);
    if moved == 0.0 { 1e-6 } else { moved }
}

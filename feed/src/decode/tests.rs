//! The two readings of a frame, held equal; the captures; the refusals.

use super::*;
use keel_core::ids::Symbol;
use keel_core::instrument::Instrument;
use keel_core::units::Notional;

/// A table of these symbols with grids so fine that nothing is off them.
pub(crate) fn instruments(symbols: &[&str]) -> Instruments {
    let row = |symbol: &&str| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).unwrap(),
        tick: Px::from_raw(1),
        min_px: Px::from_raw(1),
        max_px: Px::MAX,
        step: Qty::from_raw(1),
        min_qty: Qty::from_raw(1),
        max_qty: Qty::MAX,
        max_market_qty: Qty::MAX,
        min_notional: Notional::ZERO,
        max_leverage: 100,
        ..Instrument::default()
    };
    Instruments::new(symbols.iter().map(row)).unwrap()
}

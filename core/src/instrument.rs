//! What the venue says an instrument is: grids, sizes, bands, fees.
//!
//! In: one validated row of `instruments-info`. Out: a fixed fact every room may hold a copy of. Never: an instrument
//! whose numbers do not fit the units, the grids or each other; [`Instrument::check`] names what is wrong.

use crate::event::{Flag, Side};
use crate::ids::{InstrumentId, MAX_INSTRUMENTS, Symbol};
use crate::record;
use crate::units::{Notional, Px, Qty};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// One USDT perpetual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Instrument {
    /// The venue's name.
    pub symbol: Symbol,
    /// Price grid.
    pub tick: Px,
    /// Lowest price an order may carry.
    pub min_px: Px,
    /// Highest price an order may carry.
    pub max_px: Px,
    /// Quantity grid.
    pub step: Qty,
    /// Smallest order.
    pub min_qty: Qty,
    /// Largest limit order.
    pub max_qty: Qty,
    /// Largest market order.
    pub max_market_qty: Qty,
    /// Smallest order value.
    pub min_notional: Notional,
    /// Price band ratios X and Y, in 1e-8; zero when unknown.
    pub band_x: i64,
    /// See `band_x`.
    pub band_y: i64,
    /// Fee a taker pays, in 1e-8 of the value.
    pub taker_fee: i64,
    /// Fee a maker pays, in 1e-8 of the value; negative is a rebate.
    pub maker_fee: i64,
    /// Minutes between fundings.
    pub funding_minutes: u32,
    /// Largest leverage, in hundredths.
    pub max_leverage: u32,
    /// Row in the instrument table.
    pub id: InstrumentId,
    /// Open for trading (`status` is `Trading` and not in its pre-listing phase).
    pub trading: Flag,
    /// Zero.
    pub pad: [u8; 5],
}

record! {
    Instrument => Instrument, 136;
}

/// Why an instrument, or an order on it, does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Misfit {
    NoSymbol,
    Tick,
    PriceRange,
    Step,
    QtyRange,
    MarketQty,
    MinNotional,
    Fee,
    Leverage,
    NotTrading,
    OffTick,
    OutOfPriceRange,
    OffStep,
    BelowMinQty,
    AboveMaxQty,
    BelowMinNotional,
}

impl Instrument {
    /// Do its own numbers fit together?
    pub fn check(&self) -> Result<(), Misfit> {
        let percent = crate::units::SCALE / 100;
        let rules = [
            (!self.symbol.is_empty(), Misfit::NoSymbol),
            (self.tick > Px::ZERO, Misfit::Tick),
            (self.tick > Px::ZERO && self.min_px >= self.tick && self.max_px > self.min_px, Misfit::PriceRange),
            (self.tick > Px::ZERO && self.min_px.is_multiple_of(self.tick), Misfit::PriceRange),
            (self.step > Qty::ZERO, Misfit::Step),
            (self.min_qty >= self.step && self.max_qty >= self.min_qty, Misfit::QtyRange),
            (self.min_qty.is_multiple_of(self.step), Misfit::QtyRange),
            (self.max_market_qty >= self.min_qty && self.max_market_qty <= self.max_qty, Misfit::MarketQty),
            (self.min_notional >= Notional::ZERO, Misfit::MinNotional),
            (self.taker_fee.abs() <= percent && self.maker_fee.abs() <= percent, Misfit::Fee),
            (self.max_leverage >= 100, Misfit::Leverage),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
    }

    /// Would the venue accept this price and quantity? `reduce_only` orders need no minimum value.
    pub fn accepts(&self, px: Px, qty: Qty, market: bool, reduce_only: bool) -> Result<(), Misfit> {
        let max_qty = if market { self.max_market_qty } else { self.max_qty };
        let value = px.mul_floor(qty).unwrap_or(Notional::ZERO);
        let rules = [
            (self.trading.is_set(), Misfit::NotTrading),
            (px.is_multiple_of(self.tick), Misfit::OffTick),
            (px >= self.min_px && px <= self.max_px, Misfit::OutOfPriceRange),
            (qty.is_multiple_of(self.step), Misfit::OffStep),
            (qty >= self.min_qty, Misfit::BelowMinQty),
            (qty <= max_qty, Misfit::AboveMaxQty),
            (reduce_only || value >= self.min_notional, Misfit::BelowMinNotional),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
    }

    /// `px` moved onto the grid so that it never becomes more aggressive: buys down, sells up.
    #[must_use]
    pub const fn passive(&self, side: Side, px: Px) -> Px {
        match side {
            Side::Buy => px.floor_to(self.tick),
            Side::Sell => px.ceil_to(self.tick),
        }
    }
}

/// The table of instruments this core trades: dense, fixed after the start.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    rows: Vec<Instrument>,
}

impl Instruments {
    /// Numbers the rows in order. Refuses a row that does not fit, a symbol twice, or more than [`MAX_INSTRUMENTS`].
    pub fn new(rows: impl IntoIterator<Item = Instrument>) -> Result<Self, (Symbol, Misfit)> {
        let mut table = Self { rows: Vec::with_capacity(MAX_INSTRUMENTS) };
        for mut row in rows {
            row.check().map_err(|why| (row.symbol, why))?;
            let id = u16::try_from(table.rows.len()).unwrap_or(u16::MAX);
            if table.rows.len() >= MAX_INSTRUMENTS || table.by_symbol(row.symbol.bytes()).is_some() {
                return Err((row.symbol, Misfit::NoSymbol));
            }
            row.id = InstrumentId(id);
            table.rows.push(row);
        }
        Ok(table)
    }

    /// A row; `None` for an id nobody issued.
    #[must_use]
    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.rows.get(id.index())
    }

    /// The row with this symbol.
    #[must_use]
    pub fn by_symbol(&self, symbol: &[u8]) -> Option<&Instrument> {
        self.rows.iter().find(|row| row.symbol.bytes() == symbol)
    }

    /// All rows, by id.
    #[must_use]
    pub fn rows(&self) -> &[Instrument] {
        &self.rows
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn btc() -> Instrument {
        Instrument {
            symbol: Symbol::new(b"BTCUSDT").unwrap(),
            tick: Px::parse(b"0.1").unwrap(),
            min_px: Px::parse(b"0.1").unwrap(),
            max_px: Px::whole(1_999_999),
            step: Qty::parse(b"0.001").unwrap(),
            min_qty: Qty::parse(b"0.001").unwrap(),
            max_qty: Qty::whole(1190),
            max_market_qty: Qty::whole(500),
            min_notional: Notional::whole(5),
            taker_fee: 55_000,
            maker_fee: 20_000,
            funding_minutes: 480,
            max_leverage: 10_000,
            trading: Flag::Yes,
            ..Instrument::default()
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused_by_name() {
        assert_eq!(btc().check(), Ok(()));
        type Spoil = fn(&mut Instrument);
        let rows: [(Spoil, Misfit); 6] = [
            (|i| i.symbol = Symbol::EMPTY, Misfit::NoSymbol),
            (|i| i.tick = Px::ZERO, Misfit::Tick),
            (|i| i.max_px = i.min_px, Misfit::PriceRange),
            (|i| i.step = Qty::ZERO, Misfit::Step),
            (|i| i.max_market_qty = Qty::whole(5000), Misfit::MarketQty),
            (|i| i.taker_fee = 2_000_000, Misfit::Fee),
        ];
        for (spoil, why) in rows {
            let mut row = btc();
            spoil(&mut row);
            assert_eq!(row.check(), Err(why));
            assert!(Instruments::new([row]).is_err());
        }
        assert!(Instruments::new([btc(), btc()]).is_err(), "one symbol twice");
    }

    #[test]
    fn orders_must_stand_on_the_grid() {
        let rows = [
            ("60000.1", "0.001", false, Ok(())),
            ("60000.15", "0.001", false, Err(Misfit::OffTick)),
            ("60000.1", "0.0015", false, Err(Misfit::OffStep)),
            ("60000.1", "0", false, Err(Misfit::BelowMinQty)),
            ("60000.1", "1191", false, Err(Misfit::AboveMaxQty)),
            ("60000.1", "501", true, Err(Misfit::AboveMaxQty)),
            ("100.1", "0.001", false, Err(Misfit::BelowMinNotional)),
            ("2000000", "0.001", false, Err(Misfit::OutOfPriceRange)),
        ];
        for (px, qty, market, expected) in rows {
            let (px, qty) = (Px::parse(px.as_bytes()).unwrap(), Qty::parse(qty.as_bytes()).unwrap());
            assert_eq!(btc().accepts(px, qty, market, false), expected, "{px} {qty}");
        }
    }
}

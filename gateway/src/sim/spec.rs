//! What trades here: an instrument with the venue's texts around it, and its `instruments-info` row.

use super::text::{Obj, decimal};
use keel_core::event::Flag;
use keel_core::ids::Symbol;
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty, SCALE};

/// Basis points a market order may reach from the mark: the venue's sample fits one per cent.
pub const MARKET_BOUND_BPS: i64 = 100;

/// Whether a symbol trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolStatus {
    /// Open.
    Trading,
    /// Listed, not open yet.
    PreLaunch,
    /// Reduce-only until it is closed.
    Delivering,
    /// Gone.
    Closed,
}

impl SymbolStatus {
    /// The venue's word.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Trading => "Trading",
            Self::PreLaunch => "PreLaunch",
            Self::Delivering => "Delivering",
            Self::Closed => "Closed",
        }
    }
}

/// What the venue asks of a position as large as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Value up to which it counts.
    pub limit: Notional,
    /// Maintenance margin rate, 1e-8.
    pub mmr: i64,
    /// Highest leverage, in hundredths; its inverse is the initial margin rate.
    pub max_leverage: u32,
    /// Taken off `value * mmr`, so that the margin is continuous where tiers meet.
    pub deduction: Notional,
}

impl Tier {
    /// Six tiers in the shape of the venue's own: limits and leverages of public multiples, a maintenance margin of half
    /// the initial margin, deductions that follow.
    #[must_use]
    pub fn ladder(lowest: Notional, max_leverage: u32) -> Vec<Tier> {
        const STEPS: [(i64, u32); 6] = [(10, 1), (25, 2), (50, 4), (100, 5), (250, 10), (500, 20)];
        let mut tiers: Vec<Tier> = Vec::with_capacity(STEPS.len());
        for (tenths, divisor) in STEPS {
            let leverage = (max_leverage / divisor).max(100);
            let mmr = SCALE * 50 / i64::from(leverage);
            let deduction = tiers.last().map_or(Notional::ZERO, |below| {
                let more = i128::from(below.limit.raw()) * i128::from(mmr - below.mmr) / i128::from(SCALE);
                below.deduction + Notional::from_raw(i64::try_from(more).unwrap_or(0))
            });
            let limit = Notional::from_raw(lowest.raw() / 10 * tenths);
            tiers.push(Tier { limit, mmr, max_leverage: leverage, deduction });
        }
        tiers
    }
}

/// One perpetual as the venue lists it.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Grids, sizes, bands, base fees.
    pub instrument: Instrument,
    /// The coin.
    pub base: String,
    /// Decimals of a price in text.
    pub price_places: u32,
    /// Decimals of a quantity in text.
    pub qty_places: u32,
    /// Trading or not.
    pub status: SymbolStatus,
    /// Halted by an operator: orders answer 110066.
    pub halted: bool,
    /// Where the generator starts.
    pub start_px: Px,
    /// Risk tiers, the lowest first; there is at least one.
    pub tiers: Vec<Tier>,
    /// Highest |funding rate| per interval, 1e-8.
    pub funding_cap: i64,
}

impl Spec {
    /// The venue's three majors, with the public figures of 2025/26.
    #[must_use]
    pub fn majors() -> Vec<Spec> {
        vec![
            Self::perpetual("BTC", 2, ["0.10", "0.001", "1190", "500", "64000"], 10_000),
            Self::perpetual("ETH", 2, ["0.01", "0.01", "7240", "724", "3400"], 10_000),
            Self::perpetual("SOL", 3, ["0.010", "0.1", "79770", "7970", "150"], 10_000),
        ]
    }

    /// A USDT perpetual of `base` from its tick, step, largest orders (limit, market) and starting price. For constants:
    /// panics on text that is no number.
    #[must_use]
    pub fn perpetual(base: &str, price_places: u32, numbers: [&str; 5], max_leverage: u32) -> Spec {
        let px = |text: &str| Px::parse(text.as_bytes()).unwrap_or_else(|_| panic!("{text} is no price"));
        let qty = |text: &str| Qty::parse(text.as_bytes()).unwrap_or_else(|_| panic!("{text} is no quantity"));
        let [tick, step, max, max_market, start] = numbers;
        let symbol = Symbol::new(format!("{base}USDT").as_bytes()).unwrap_or(Symbol::EMPTY);
        let instrument = Instrument {
            symbol,
            tick: px(tick),
            min_px: px(tick),
            max_px: Px::from_raw(px(start).raw() * 30).floor_to(px(tick)),
            step: qty(step),
            min_qty: qty(step),
            max_qty: qty(max),
            max_market_qty: qty(max_market),
            min_notional: Notional::whole(5),
            band_x: SCALE / 50,
            band_y: SCALE / 25,
            taker_fee: 55_000,
            maker_fee: 20_000,
            funding_minutes: 480,
            max_leverage,
            trading: Flag::Yes,
            ..Instrument::default()
        };
        let places = step.split_once('.').map_or(0, |(_, tail)| tail.len());
        Spec {
            instrument,
            base: base.to_owned(),
            price_places,
            qty_places: u32::try_from(places).unwrap_or(8),
            status: SymbolStatus::Trading,
            halted: false,
            start_px: px(start),
            tiers: Tier::ladder(Notional::whole(2_000_000), max_leverage),
            funding_cap: SCALE / 200,
        }
    }

    /// Which tier a position of this value lies in; the last one takes whatever is larger.
    pub(super) fn tier_number(&self, value: Notional) -> usize {
        self.tiers.iter().position(|tier| value <= tier.limit).unwrap_or(self.tiers.len().saturating_sub(1))
    }

    pub(super) fn tier(&self, value: Notional) -> &Tier {
        &self.tiers[self.tier_number(value)]
    }

    /// The largest value a position may have.
    pub(super) fn most(&self) -> Notional {
        self.tiers.last().map_or(Notional::ZERO, |tier| tier.limit)
    }

    /// `riskId` of a tier.
    pub(super) fn risk_id(&self, tier: usize) -> i64 {
        i64::from(self.instrument.id.0) * 10 + i64::try_from(tier).unwrap_or(0) + 1
    }

    /// The venue's name of it.
    #[must_use]
    pub fn symbol(&self) -> &str {
        self.instrument.symbol.as_str()
    }

    /// Its row of `instruments-info`, every field the venue documents.
    pub(super) fn write_row(&self, out: &mut String) {
        let i = &self.instrument;
        let (cap, floor) = (decimal(self.funding_cap), decimal(-self.funding_cap));
        Obj::new(out)
            .s("symbol", self.symbol())
            .n("symbolId", i64::from(i.id.0) + 1)
            .s("contractType", "LinearPerpetual")
            .s("status", self.status.text())
            .s("baseCoin", &self.base)
            .s("quoteCoin", "USDT")
            .s("settleCoin", "USDT")
            .s("symbolType", "")
            .s("launchTime", "1584230400000")
            .s("deliveryTime", "0")
            .s("deliveryFeeRate", "")
            .s("priceScale", &self.price_places.to_string())
            .with("leverageFilter", |out| {
                Obj::new(out)
                    .s("minLeverage", "1")
                    .f("maxLeverage", i64::from(i.max_leverage) * (SCALE / 100), 2)
                    .s("leverageStep", "0.01")
                    .end();
            })
            .with("priceFilter", |out| {
                Obj::new(out)
                    .f("minPrice", i.min_px.raw(), self.price_places)
                    .f("maxPrice", i.max_px.raw(), self.price_places)
                    .f("tickSize", i.tick.raw(), self.price_places)
                    .end();
            })
            .with("lotSizeFilter", |out| {
                let places = self.qty_places;
                Obj::new(out)
                    .f("minOrderQty", i.min_qty.raw(), places)
                    .f("maxOrderQty", i.max_qty.raw(), places)
                    .f("maxMktOrderQty", i.max_market_qty.raw(), places)
                    .f("qtyStep", i.step.raw(), places)
                    .d("minNotionalValue", i.min_notional.raw())
                    .f("postOnlyMaxOrderQty", i.max_qty.raw(), places)
                    .end();
            })
            .b("unifiedMarginTrade", true)
            .n("fundingInterval", i64::from(i.funding_minutes))
            .s("copyTrading", "none")
            .s("upperFundingRate", &cap)
            .s("lowerFundingRate", &floor)
            .s("displayName", "")
            .b("forbidUplWithdrawal", false)
            .b("isPreListing", self.status == SymbolStatus::PreLaunch)
            .raw("preListingInfo", "null")
            .with("riskParameters", |out| {
                Obj::new(out).d("priceLimitRatioX", i.band_x).d("priceLimitRatioY", i.band_y).end();
            })
            .end();
    }
}

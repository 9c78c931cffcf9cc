//! An order as the venue knows it, and what a client asked for before it became one.

use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};

/// Limit or market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Limit,
    Market,
}

/// How long it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tif {
    Gtc,
    Ioc,
    Fok,
    PostOnly,
}

/// Self-match prevention; only the taker's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Smp {
    None,
    CancelMaker,
    CancelTaker,
    CancelBoth,
}

/// `orderStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    New,
    PartiallyFilled,
    Untriggered,
    Triggered,
    Filled,
    Cancelled,
    Deactivated,
}

impl Status {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::PartiallyFilled => "PartiallyFilled",
            Self::Untriggered => "Untriggered",
            Self::Triggered => "Triggered",
            Self::Filled => "Filled",
            Self::Cancelled => "Cancelled",
            Self::Deactivated => "Deactivated",
        }
    }

    pub(super) const fn open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled | Self::Untriggered | Self::Triggered)
    }
}

impl Kind {
    pub(super) const fn text(self) -> &'static str {
        if matches!(self, Self::Limit) { "Limit" } else { "Market" }
    }
}

impl Tif {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
            Self::PostOnly => "PostOnly",
        }
    }
}

impl Smp {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::CancelMaker => "CancelMaker",
            Self::CancelTaker => "CancelTaker",
            Self::CancelBoth => "CancelBoth",
        }
    }
}

/// `Buy` or `Sell`.
pub(super) const fn side_text(side: Side) -> &'static str {
    match side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    }
}

/// Which price fires a conditional order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TriggerBy {
    #[default]
    Last,
    Mark,
    Index,
}

impl TriggerBy {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Last => "LastPrice",
            Self::Mark => "MarkPrice",
            Self::Index => "IndexPrice",
        }
    }
}

/// A conditional order's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trigger {
    pub(super) px: Px,
    /// Fires at or above (`triggerDirection` 1) or at or below (2).
    pub(super) rise: bool,
    pub(super) by: TriggerBy,
}

/// One way out of a position: take profit or stop loss, as asked with an order or for a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    /// Zero is none.
    pub(super) px: Px,
    pub(super) by: TriggerBy,
    /// Limit of the order it becomes; zero is at the market.
    pub(super) limit: Px,
}

/// Both ways out, and whether they are about the whole position (`tpslMode` `Full`) or a part of it (`Partial`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exits {
    pub(super) profit: Exit,
    pub(super) loss: Exit,
    pub(super) partial: bool,
}

impl Exits {
    pub(super) fn any(&self) -> bool {
        !self.profit.px.is_zero() || !self.loss.px.is_zero()
    }
}

/// What a guard is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardKind {
    Profit,
    Loss,
    Trailing,
}

/// What makes an order a guard of a position: a take profit, a stop loss, a trailing stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) kind: GuardKind,
    pub(super) partial: bool,
    /// The other half: whatever ends one ends both. Zero is none.
    pub(super) pair: u64,
    /// The order it came with; zero when it was set for the position.
    pub(super) parent: u64,
    /// Of a trailing stop: how far behind the best price it follows.
    pub(super) distance: Px,
    /// Of a trailing stop: it starts to follow there; zero is at once.
    pub(super) active: Px,
}

/// What a client asked for.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) symbol: usize,
    pub(super) side: Side,
    pub(super) kind: Kind,
    pub(super) qty: Qty,
    pub(super) px: Px,
    pub(super) tif: Tif,
    pub(super) link: String,
    pub(super) reduce_only: bool,
    pub(super) close_on_trigger: bool,
    pub(super) idx: u8,
    pub(super) smp: Smp,
    pub(super) trigger: Option<Trigger>,
    /// Reach of a market order from the touch instead of from the mark, in 1e-8 of the price or in ticks.
    pub(super) slippage: Option<Slippage>,
    pub(super) exits: Exits,
}

/// `slippageToleranceType` and `slippageTolerance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slippage {
    Ticks(i64),
    /// 1e-8 of a per cent.
    Percent(i64),
}

/// Changes to an order; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Amend {
    pub(super) qty: Option<Qty>,
    pub(super) px: Option<Px>,
    pub(super) trigger_px: Option<Px>,
    pub(super) trigger_by: Option<TriggerBy>,
    pub(super) profit: ExitChange,
    pub(super) loss: ExitChange,
    /// `tpslMode` `Partial`, `Full`, or not said.
    pub(super) partial: Option<bool>,
}

/// Changes to one way out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExitChange {
    pub(super) px: Option<Px>,
    pub(super) by: Option<TriggerBy>,
    pub(super) limit: Option<Px>,
}

impl ExitChange {
    pub(super) fn of(&self, old: Exit) -> Exit {
        Exit { px: self.px.unwrap_or(old.px), by: self.by.unwrap_or(old.by), limit: self.limit.unwrap_or(old.limit) }
    }
}

/// Which order is meant.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) symbol: usize,
    pub(super) id: String,
    pub(super) link: String,
}

/// One order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) link: String,
    pub(super) account: usize,
    pub(super) symbol: usize,
    pub(super) side: Side,
    pub(super) kind: Kind,
    /// Limit, or a market order's bound.
    pub(super) px: Px,
    pub(super) qty: Qty,
    pub(super) left: Qty,
    pub(super) filled: Qty,
    pub(super) value: Notional,
    pub(super) fee: Notional,
    pub(super) tif: Tif,
    pub(super) status: Status,
    pub(super) cancel: &'static str,
    pub(super) reject: &'static str,
    pub(super) reduce_only: bool,
    pub(super) close_on_trigger: bool,
    pub(super) idx: u8,
    pub(super) smp: Smp,
    pub(super) smp_order: u64,
    pub(super) trigger: Option<Trigger>,
    pub(super) exits: Exits,
    pub(super) guard: Option<Guard>,
    /// What it opened that its take profit and stop loss already know of.
    pub(super) guarded: Qty,
    /// Link of the order a guard came with.
    pub(super) parent_link: String,
    pub(super) create_type: &'static str,
    pub(super) stop_type: &'static str,
    pub(super) last_px: Px,
    pub(super) created: u64,
    pub(super) updated: u64,
    /// Taped quantity at our price that trades before us.
    pub(super) ahead: Qty,
    /// What it closed.
    pub(super) closing: Closing,
}

/// One fill, or one funding payment.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    pub(super) id: u64,
    pub(super) order: u64,
    pub(super) link: String,
    pub(super) symbol: usize,
    pub(super) side: Side,
    pub(super) px: Px,
    pub(super) qty: Qty,
    pub(super) value: Notional,
    pub(super) fee: Notional,
    pub(super) rate: i64,
    /// `execType`.
    pub(super) what: &'static str,
    pub(super) time: u64,
    pub(super) maker: bool,
    pub(super) closed: Qty,
    pub(super) pnl: Notional,
    pub(super) mark: Px,
    pub(super) seq: u64,
    pub(super) order_px: Px,
    pub(super) order_qty: Qty,
    pub(super) leaves: Qty,
    pub(super) order_kind: &'static str,
    pub(super) create_type: &'static str,
    pub(super) stop_type: &'static str,
}

/// The closing part of an order's fills, for `closed-pnl`.
#[derive(Clone, Debug, Default)]
pub(super) struct Closing {
    pub(super) qty: Qty,
    pub(super) entry: Notional,
    pub(super) exit: Notional,
    pub(super) open_fee: Notional,
    pub(super) close_fee: Notional,
    pub(super) pnl: Notional,
    pub(super) fills: u64,
}

impl Closing {
    pub(super) fn count(&mut self, side: Side, qty: Qty, exit: Notional, gain: Notional, fees: (Notional, Notional)) {
        if qty.is_zero() {
            return;
        }
        // A sell closes a long: gain = exit - entry. A buy closes a short: gain = entry - exit.
        self.entry += if side == Side::Sell { exit - gain } else { exit + gain };
        self.exit += exit;
        self.qty += qty;
        self.open_fee += fees.0;
        self.close_fee += fees.1;
        self.pnl += gain - fees.0 - fees.1;
        self.fills += 1;
    }
}

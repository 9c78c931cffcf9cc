//! What is kept of symbols, orders and cash while a journal is read; and the arithmetic of reports.
//!
//! In: facts counted once. Out: exact sums in steps of 1e-8. Never: a float, a sum that can overflow unnoticed.

use keel_core::event::{ExecKind, Fill, FlowKind, Order, OrderStatus, SentOutcome, Side, VenuePosition};
use keel_core::ids::{Seq, VenueId};
use keel_core::instrument::Instrument;
use keel_core::position::Position;
use keel_core::units::{Mono, Notional, Px, Qty, Wall};
use keel_journal::Entry;

/// Nanoseconds after the range that are still looked at: the longest markout.
pub(super) const TAIL: u64 = 300_000_000_000;
/// Nanoseconds of a day.
pub(super) const DAY: u64 = 86_400_000_000_000;

/// Where a record stands to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Before it.
    Before,
    /// In it.
    Within,
    /// After it, within [`TAIL`].
    After,
}

/// The range asked for: from, and up to but without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub from: Wall,
    pub to: Wall,
}

impl Range {
    pub(super) fn phase(&self, wall: Wall) -> Phase {
        match wall {
            wall if wall < self.from => Phase::Before,
            wall if wall < self.to => Phase::Within,
            _ => Phase::After,
        }
    }
}

/// What one instrument did in the range.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub fills: u64,
    pub maker: u64,
    pub bought: i128,
    pub sold: i128,
    /// Values in 1e-8 USDT.
    pub bought_value: i128,
    pub sold_value: i128,
    pub realised: i128,
    pub fees: i128,
    pub funding: i128,
    /// Position taken from the venue instead of counted.
    pub adopted: i128,
}

/// One symbol.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub symbol: String,
    pub row: Instrument,
    pub position: Position,
    pub mark: Px,
    pub mid: Option<Px>,
    /// Cross sequence of the last market fact, and when it came.
    pub market_seq: u64,
    /// Coins that changed hands publicly since the journal began.
    pub volume: i128,
    /// As it stood when the range began.
    pub opening: Position,
    pub opening_mark: Px,
    pub tally: Tally,
    pub picture: Option<VenuePosition>,
}

/// An order's life.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub order: Order,
    pub seq: Seq,
    pub decided: Wall,
    pub mono: Mono,
    pub phase: Phase,
    pub seat: Option<usize>,
    /// Middle of the book when it was decided on.
    pub arrival: Option<Px>,
    /// Volume of the market then.
    pub volume: i128,
    pub sent: Option<Mono>,
    /// Nanoseconds from the socket that brought the cause to the one that took it.
    pub took: u64,
    pub outcome: Option<SentOutcome>,
    pub acked: Option<Mono>,
    pub ack_mid: Option<Px>,
    pub ack_code: i32,
    pub venue: VenueId,
    pub amends: u32,
    pub cancels: u32,
    pub fills: u32,
    pub maker: u32,
    pub filled: i128,
    /// Price times quantity, in 1e-16.
    pub value: i128,
    pub fees: i128,
    pub realised: i128,
    pub status: Option<OrderStatus>,
    pub ended: Option<Wall>,
    pub end_mid: Option<Px>,
    pub end_volume: i128,
}

impl Life {
    pub(super) fn new(order: Order, entry: &Entry<'_>, phase: Phase) -> Self {
        Self {
            order,
            seq: entry.seq,
            decided: entry.wall,
            mono: entry.mono,
            phase,
            seat: None,
            arrival: None,
            volume: 0,
            sent: None,
            took: 0,
            outcome: None,
            acked: None,
            ack_mid: None,
            ack_code: 0,
            venue: VenueId::default(),
            amends: 0,
            cancels: 0,
            fills: 0,
            maker: 0,
            filled: 0,
            value: 0,
            fees: 0,
            realised: 0,
            status: None,
            ended: None,
            end_mid: None,
            end_volume: 0,
        }
    }

    /// Nothing more can happen to it.
    pub(super) fn is_over(&self) -> bool {
        self.ended.is_some() || self.outcome.is_some_and(|outcome| outcome != SentOutcome::Wire)
    }
}

/// Cash by our own count and by the venue's word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cash {
    /// Our count; none before the first wallet.
    pub ours: Option<i128>,
    /// The venue's last word.
    pub wallet: Option<Notional>,
    pub wallet_at: Wall,
    /// Our count and the venue's word when the range began.
    pub opening: Option<i128>,
    /// The range's first wallet began our count: there was none before.
    pub begun: bool,
    /// Our count when the range ended.
    pub closing: Option<i128>,
    /// Venue's word less our count, at the end: the last of the range, or zero as soon as a later wallet agrees.
    pub gap: Option<i128>,
    pub settled: bool,
    /// When the first wallet came: our count begins there.
    pub since: Wall,
    /// The venue's word that became ours in the range, explained by nothing.
    pub unexplained: i128,
    /// Money that came in less money that went out in the range, by the flows.
    pub transfers: i128,
    pub flows: u64,
}

impl Tally {
    pub(super) fn add(&mut self, fill: &Fill, gain: i64) {
        let fee = i128::from(fill.fee.raw());
        if fill.kind == ExecKind::Funding {
            self.funding += fee;
            return;
        }
        self.fills += 1;
        self.maker += u64::from(fill.maker.is_set());
        self.fees += fee;
        self.realised += i128::from(gain);
        let (qty, value) = (i128::from(fill.qty.raw()), value_of(fill.px, fill.qty));
        match fill.side {
            Side::Buy => (self.bought, self.bought_value) = (self.bought + qty, self.bought_value + value),
            Side::Sell => (self.sold, self.sold_value) = (self.sold + qty, self.sold_value + value),
        }
    }
}

/// Does it move money between us and somebody else? Trades, fees and funding come as fills.
pub(super) const fn is_transfer(kind: FlowKind) -> bool {
    matches!(
        kind,
        FlowKind::Deposit
            | FlowKind::InternalDeposit
            | FlowKind::Withdrawal
            | FlowKind::InternalWithdrawal
            | FlowKind::TransferIn
            | FlowKind::TransferOut
            | FlowKind::ConvertIn
            | FlowKind::ConvertOut
            | FlowKind::Bonus
    )
}

/// `px * qty` in 1e-8, rounded toward minus infinity as the venue does.
pub(super) fn value_of(px: Px, qty: Qty) -> i128 {
    (i128::from(px.raw()) * i128::from(qty.raw())).div_euclid(i128::from(keel_core::units::SCALE))
}

/// Half way, rounded down.
pub(super) const fn middle(bid: Px, ask: Px) -> Px {
    Px::from_raw(bid.raw().midpoint(ask.raw()))
}

/// Profit of a position at a mark; nothing for a flat one, `None` without a mark.
pub(super) fn unrealised(position: &Position, mark: Px) -> Option<i128> {
    if position.size.is_zero() {
        return Some(-i128::from(position.cost.raw()));
    }
    (mark > Px::ZERO).then(|| value_of(mark, position.size) - i128::from(position.cost.raw()))
}

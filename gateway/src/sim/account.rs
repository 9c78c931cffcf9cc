//! Accounts: cash, positions, orders by id and by link, and what the venue remembers of the past.
//!
//! Every buy moves `wallet - cost` by exactly minus the traded value and every sell by plus it, so over all accounts
//! cash, fees and open cost always sum to what was deposited: conservation is arithmetic, not hope.

use super::money::{Address, Movement};
use super::order::{Execution, Exits, Order};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Closed orders, executions and log rows kept per account; the oldest go first.
pub(super) const HISTORY: usize = 20_000;

/// One leg of one symbol.
#[derive(Clone, Debug, Default)]
pub(super) struct Position {
    /// Signed: long is positive.
    pub(super) size: Qty,
    /// What the open quantity cost: signed like `size`.
    pub(super) cost: Notional,
    /// Realised in this position's life, fees included.
    pub(super) realised: Notional,
    /// Realised since ever, fees included.
    pub(super) realised_ever: Notional,
    /// Fees paid to open what is open now.
    pub(super) open_fee: Notional,
    /// Guards of the whole of it: what they ask for, how far a trailing stop follows, and their orders (0: none).
    pub(super) exits: Exits,
    pub(super) trailing: Px,
    pub(super) guards: [u64; 3],
    /// Of an isolated position: the part of the wallet that backs it.
    pub(super) margin: Notional,
    /// Of an isolated position: it draws margin from the wallet by itself.
    pub(super) auto_add: bool,
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) opened: u64,
    pub(super) seq: i64,
    pub(super) status: PositionStatus,
}

/// `positionStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PositionStatus {
    #[default]
    Normal,
    Liq,
    Adl,
}

impl Position {
    /// Average price of what is open; zero when flat.
    pub(super) fn entry(&self) -> Px {
        self.size.average(self.cost).unwrap_or(Px::ZERO)
    }

    /// Gain at `mark`, rounded down.
    pub(super) fn unrealised(&self, mark: Px) -> Notional {
        if self.size.is_zero() || mark.is_zero() {
            return Notional::ZERO;
        }
        mark.mul_floor(self.size).map_or(Notional::ZERO, |value| value - self.cost)
    }

    /// Adds a signed quantity at `px`. Returns the part that closed and the gain it realised, before fees.
    pub(super) fn trade(&mut self, signed: Qty, value: Notional, now_ms: u64) -> (Qty, Notional) {
        let flow = if signed.raw() < 0 { -value } else { value };
        let against = !self.size.is_zero() && (self.size.raw() < 0) != (signed.raw() < 0);
        if !against {
            if self.size.is_zero() {
                (self.opened, self.realised) = (now_ms, Notional::ZERO);
            }
            self.size += signed;
            self.cost += flow;
            return (Qty::ZERO, Notional::ZERO);
        }
        let closed = signed.abs().min(self.size.abs());
        let share = part(self.cost, closed, self.size.abs());
        let proceeds = part(flow, closed, signed.abs());
        let gain = -proceeds - share;
        self.cost -= share;
        self.size += if signed.raw() < 0 { -closed } else { closed };
        let rest = signed.abs() - closed;
        if !rest.is_zero() {
            self.size = if signed.raw() < 0 { -rest } else { rest };
            self.cost = flow - proceeds;
            (self.opened, self.realised) = (now_ms, Notional::ZERO);
        }
        (closed, gain)
    }
}

/// `whole * piece / of`, toward zero.
pub(super) fn part(whole: Notional, piece: Qty, of: Qty) -> Notional {
    if of.is_zero() {
        return Notional::ZERO;
    }
    let share = i128::from(whole.raw()) * i128::from(piece.raw()) / i128::from(of.raw());
    Notional::from_raw(i64::try_from(share).unwrap_or(whole.raw()))
}

/// One line of `transaction-log`.
#[derive(Clone, Debug)]
pub(super) struct LogRow {
    pub(super) id: u64,
    pub(super) symbol: Option<usize>,
    pub(super) side: &'static str,
    pub(super) time: u64,
    pub(super) what: &'static str,
    pub(super) qty: Qty,
    pub(super) size: Qty,
    pub(super) px: Px,
    pub(super) funding: Notional,
    pub(super) fee: Notional,
    pub(super) cash_flow: Notional,
    pub(super) balance: Notional,
    pub(super) rate: i64,
    pub(super) trade: u64,
    pub(super) order: u64,
    pub(super) link: String,
    pub(super) coin: String,
}

/// What one symbol brought an account since ever: the venue's own sums, whatever of its rows it still keeps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) fills: u64,
    pub(super) maker_fills: u64,
    pub(super) bought: Qty,
    pub(super) sold: Qty,
    pub(super) value: Notional,
    pub(super) fees: Notional,
    pub(super) gains: Notional,
    pub(super) fundings: u64,
    pub(super) funding: Notional,
}

impl Tally {
    /// Takes in an execution: a trade, or funding.
    pub(super) fn add(&mut self, execution: &Execution) {
        if execution.what == "Funding" {
            self.fundings += 1;
            self.funding += execution.fee;
            return;
        }
        self.fills += 1;
        self.maker_fills += u64::from(execution.maker);
        match execution.side {
            Side::Buy => self.bought += execution.qty,
            Side::Sell => self.sold += execution.qty,
        }
        self.value += execution.value;
        self.fees += execution.fee;
        self.gains += execution.pnl;
    }
}

/// One trading account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) uid: u64,
    /// The venue's own: no margin, no limits, no streams.
    pub(super) house: bool,
    /// USDT.
    pub(super) wallet: Notional,
    /// What it began with: the log says how the rest came and went.
    #[cfg(test)]
    pub(super) opening: Notional,
    /// All that came in minus all that went out.
    pub(super) deposited: Notional,
    pub(super) positions: BTreeMap<(usize, u8), Position>,
    pub(super) open: BTreeSet<u64>,
    pub(super) links: BTreeMap<String, u64>,
    pub(super) closed: VecDeque<Order>,
    pub(super) executions: VecDeque<Execution>,
    pub(super) log: VecDeque<LogRow>,
    pub(super) movements: VecDeque<Movement>,
    /// Other coins beside the wallet, and what lies in the funding account: they back nothing.
    pub(super) coins: BTreeMap<String, i64>,
    pub(super) fund: BTreeMap<String, i64>,
    pub(super) book: Vec<Address>,
    /// By symbol.
    pub(super) tallies: BTreeMap<usize, Tally>,
    /// Hundredths, by symbol: of what buys open, of what sells open.
    pub(super) leverage: Vec<[u32; 2]>,
    /// Margin is by position, not by account.
    pub(super) isolated: bool,
    /// Two legs, by symbol.
    pub(super) hedge: Vec<bool>,
    /// Fee rates (taker, maker) instead of the instrument's.
    pub(super) fees: Option<(i64, i64)>,
    /// Prices beyond the band: move them (the venue's default) or refuse them.
    pub(super) band_rejects: bool,
    /// Seconds after which a lost private connection cancels everything; zero is off.
    pub(super) dcp_seconds: u64,
    /// Liquidation is under way: nothing may be placed.
    pub(super) frozen: bool,
}

impl Account {
    pub(super) fn new(uid: u64, wallet: Notional, symbols: usize, house: bool) -> Self {
        Self {
            uid,
            house,
            wallet,
            #[cfg(test)]
            opening: wallet,
            deposited: wallet,
            positions: BTreeMap::new(),
            open: BTreeSet::new(),
            links: BTreeMap::new(),
            closed: VecDeque::new(),
            executions: VecDeque::new(),
            log: VecDeque::new(),
            movements: VecDeque::new(),
            coins: BTreeMap::new(),
            fund: BTreeMap::new(),
            book: Vec::new(),
            tallies: BTreeMap::new(),
            leverage: vec![[1_000; 2]; symbols],
            isolated: false,
            hedge: vec![false; symbols],
            fees: None,
            band_rejects: false,
            dcp_seconds: 0,
            frozen: false,
        }
    }

    pub(super) fn position(&self, symbol: usize, idx: u8) -> Position {
        self.positions.get(&(symbol, idx)).cloned().unwrap_or(Position { seq: -1, ..Position::default() })
    }

    /// Keeps an execution, and its part in the sums.
    pub(super) fn executed(&mut self, execution: &Execution) {
        if !self.house {
            self.tallies.entry(execution.symbol).or_default().add(execution);
        }
        remember(&mut self.executions, execution.clone());
    }

    /// Files a finished order; the oldest one is forgotten when the history is full, its link with it.
    pub(super) fn file(&mut self, order: Order) {
        self.open.remove(&order.id);
        if self.house {
            return;
        }
        if self.closed.len() >= HISTORY
            && let Some(old) = self.closed.pop_front()
        {
            self.links.remove(&old.link);
        }
        self.closed.push_back(order);
    }
}

/// Appends, forgetting the oldest beyond [`HISTORY`].
pub(super) fn remember<T>(rows: &mut VecDeque<T>, row: T) {
    if rows.len() >= HISTORY {
        rows.pop_front();
    }
    rows.push_back(row);
}

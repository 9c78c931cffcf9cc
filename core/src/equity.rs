//! What the account is worth by our own books, and how far that is below its best.
//!
//! In: our fills, the venue's wallet, marks. Out: [`Worth`], and a [`Difference`] where the venue's cash is not ours.
//! Never: a deposit that looks like profit, a withdrawal that looks like a loss, a high-water mark that a restart
//! forgets.
//!
//! ```text
//!   balance = first wallet + profit of closed quantity - fees - funding + moved
//!   equity  = balance + unrealised at mark          high = max(equity - moved)      drawdown = high - (equity - moved)
//! ```
//!
//! Wallets and fills come on streams without a common order. A wallet older than our last fill says nothing; one that is
//! not older and differs is given [`PATIENCE`] for the fill that explains it, and [`DOOR_PATIENCE`] for a row of the
//! venue's own log that says the same amount came or went through the door. What is still unexplained then is money moved
//! all the same, and is told.

use crate::event::{Difference, DifferenceKind, Fill, Flow, FlowState, Resolution, Resumed, Wallet, Worth};
use crate::position::PATIENCE;
use crate::units::{Mono, Notional, Now, Wall};

/// Cash that no fill explains waits this long for the row of the venue's log that does, nanoseconds: it is polled.
pub const DOOR_PATIENCE: u64 = 10_000_000_000;

/// A row of the log explains a wallet that comes this long after it or before, nanoseconds.
const ROW_LIFE: u64 = 60_000_000_000;

/// Rows that wait for their wallet; the oldest goes first.
const MAX_ROWS: usize = 16;

/// A wallet that was asked for, not pushed, may be older than a fill that came this shortly before it, nanoseconds.
const HINDSIGHT: u64 = 1_000_000_000;

/// The account's fortune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equity {
    known: bool,
    balance: i64,
    moved: i64,
    /// Highest value, money moved left out; none before the first wallet was valued.
    high: Option<i64>,
    wallet: Option<Wallet>,
    last_fill: Mono,
    /// When our account of the cash began, by the venue's clock: what happened before is in its first word.
    since: Wall,
    /// Cash that came or went by the venue's log and is not in our account yet.
    rows: Rows,
}

/// Amounts that wait, each from its moment; zero is a free place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rows([(Mono, i64); MAX_ROWS]);

impl Rows {
    fn push(&mut self, now: Mono, amount: i64) {
        self.0.rotate_right(1);
        self.0[0] = (now, amount);
    }

    /// Takes what comes to this much: one row, or all of them together. What waited too long is gone first.
    fn take(&mut self, now: Mono, cash: i64) -> bool {
        for row in &mut self.0 {
            if now.since(row.0) >= ROW_LIFE {
                row.1 = 0;
            }
        }
        if let Some(row) = self.0.iter_mut().find(|(_, amount)| *amount == cash) {
            row.1 = 0;
            return true;
        }
        let all = self.0.iter().map(|(_, amount)| i128::from(*amount)).sum::<i128>() == i128::from(cash);
        if all {
            *self = Self::default();
        }
        all
    }
}

impl Equity {
    /// As an earlier run left it.
    #[must_use]
    pub fn resumed(from: &Resumed) -> Self {
        let (balance, moved) = (from.balance.raw(), from.moved.raw());
        let high = from.known.is_set().then_some(from.high.raw());
        Self { known: from.known.is_set(), balance, moved, high, ..Self::default() }
    }

    /// What the next run takes up.
    #[must_use]
    pub fn left(&self, into: Resumed) -> Resumed {
        let [balance, moved, high] = [self.balance, self.moved, self.high.unwrap_or(0)].map(Notional::from_raw);
        Resumed { balance, moved, high, known: (self.known && self.high.is_some()).into(), ..into }
    }

    /// What a run wrote down of it: the newest word on high and money moved.
    pub fn read(&mut self, worth: &Worth) {
        self.known = true;
        (self.balance, self.moved) = (worth.balance.raw(), worth.moved.raw());
        self.high = Some(worth.high.raw());
    }

    /// A fill that closed quantity for `gain`, counted once.
    pub fn filled(&mut self, fill: &Fill, gain: i64) {
        self.last_fill = self.last_fill.max(fill.recv);
        if self.known {
            self.balance = self.balance.saturating_add(gain).saturating_sub(fill.fee.raw());
        }
    }

    /// The venue's word for the cash. The first one is the beginning of our account of it.
    pub fn wallet(&mut self, wallet: &Wallet) {
        if !self.known {
            (self.known, self.balance, self.since) = (true, wallet.balance.raw(), wallet.ts);
        }
        let stale = wallet.queried.is_set() && wallet.recv.since(self.last_fill) < HINDSIGHT && self.wallet.is_some();
        if !stale {
            self.wallet = Some(*wallet);
        }
    }

    /// A movement by the venue's own books. Only rows of the log of this account's cash count: they alone say what moved
    /// it, and a deposit or a transfer that is listed elsewhere too is not counted twice.
    pub fn flow(&mut self, now: Now, flow: &Flow) {
        if !flow.moves_cash() || flow.state != FlowState::Done || flow.coin.bytes() != b"USDT" || flow.ts < self.since {
            return;
        }
        self.rows.push(now.mono, flow.amount.raw().saturating_sub(flow.fee.raw()));
    }

    /// Holds our cash against the venue's; what stays unexplained is money moved. Call until `None`.
    pub fn judge(&mut self, now: Mono) -> Option<Difference> {
        let wallet = self.wallet.filter(|wallet| self.known && wallet.recv >= self.last_fill)?;
        let (ours, theirs) = (self.balance, wallet.balance.raw());
        if ours == theirs || now.since(wallet.recv) < PATIENCE {
            return None;
        }
        let cash = theirs.saturating_sub(ours);
        let explained = self.rows.take(now, cash);
        if !explained && now.since(wallet.recv) < DOOR_PATIENCE {
            return None;
        }
        self.moved = self.moved.saturating_add(cash);
        self.balance = theirs;
        if explained {
            return None;
        }
        let (kind, resolution) = (DifferenceKind::Balance, Resolution::TakenFromVenue);
        Some(Difference { at: now, ours, theirs, kind, resolution, ..Difference::default() })
    }

    /// What it is worth with this much unrealised profit; `None` before the first wallet. Moves the high-water mark.
    pub fn value(&mut self, now: Mono, unrealised: i128) -> Option<Worth> {
        if !self.known {
            return None;
        }
        let equity = i64::try_from(i128::from(self.balance) + unrealised).ok()?;
        let earned = equity.saturating_sub(self.moved);
        let high = self.high.map_or(earned, |high| high.max(earned));
        self.high = Some(high);
        let margin = |of: fn(&Wallet) -> Notional| self.wallet.as_ref().map_or(Notional::ZERO, of);
        Some(Worth {
            at: now,
            equity: Notional::from_raw(equity),
            balance: Notional::from_raw(self.balance),
            moved: Notional::from_raw(self.moved),
            high: Notional::from_raw(high),
            drawdown: Notional::from_raw(high.saturating_sub(earned)),
            initial_margin: margin(|wallet| wallet.initial_margin),
            maintenance_margin: margin(|wallet| wallet.maintenance_margin),
        })
    }
}

impl Worth {
    /// Drawdown in 1e-8 of the high; `None` when the high is not positive.
    #[must_use]
    pub fn drawdown_ratio(&self) -> Option<i64> {
        let (drawdown, high) = (i128::from(self.drawdown.raw()), i128::from(self.high.raw()));
        (high > 0).then(|| i64::try_from(drawdown * i128::from(crate::units::SCALE) / high).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Flag, FlowKind};

    fn usdt(amount: i64) -> Notional {
        Notional::whole(amount)
    }

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    fn wallet(millis: u64, balance: i64) -> Wallet {
        Wallet { recv: at(millis), balance: usdt(balance), ..Wallet::default() }
    }

    fn fill(millis: u64, fee: i64) -> Fill {
        Fill { recv: at(millis), fee: usdt(fee), ..Fill::default() }
    }

    fn begun() -> Equity {
        let mut equity = Equity::default();
        assert_eq!(equity.value(at(0), 0), None, "nothing is known before the first wallet");
        equity.wallet(&wallet(0, 1_000));
        equity
    }

    fn worth(equity: &mut Equity, unrealised: i64) -> [i64; 4] {
        let it = equity.value(at(0), i128::from(usdt(unrealised).raw())).unwrap();
        [it.equity, it.moved, it.high, it.drawdown].map(|amount| amount.raw() / usdt(1).raw())
    }

    #[test]
    fn the_high_is_kept_and_the_fall_from_it_is_the_drawdown() {
        let mut equity = begun();
        assert_eq!(worth(&mut equity, 50), [1_050, 0, 1_050, 0]);
        equity.filled(&fill(10, 5), usdt(-20).raw());
        assert_eq!(worth(&mut equity, 0), [975, 0, 1_050, 75]);
        let ratio = equity.value(at(0), 0).unwrap().drawdown_ratio();
        assert_eq!(ratio, Some(7_142_857));
    }

    #[test]
    fn money_through_the_door_is_neither_profit_nor_loss() {
        for (told, moved) in [(1_500, 500), (600, -400)] {
            let mut equity = begun();
            worth(&mut equity, 0);
            equity.wallet(&wallet(10, told));
            assert_eq!(equity.judge(at(100)), None, "a fill may explain it yet");
            assert_eq!(equity.judge(at(10).after(PATIENCE)), None, "the venue's log may explain it yet");
            assert_eq!(worth(&mut equity, 0), [1_000, 0, 1_000, 0], "until then it is neither profit nor loss");
            let difference = equity.judge(at(10).after(DOOR_PATIENCE)).unwrap();
            assert_eq!((difference.kind, difference.ours), (DifferenceKind::Balance, usdt(1_000).raw()));
            assert_eq!(equity.judge(at(90_000)), None, "told once");
            assert_eq!(worth(&mut equity, 0), [told, moved, 1_000, 0]);
        }
    }

    #[test]
    fn a_wallet_and_the_fill_that_explains_it_may_come_in_either_order() {
        let mut equity = begun();
        equity.wallet(&wallet(10, 995));
        equity.filled(&fill(11, 5), 0);
        assert_eq!(equity.judge(at(60_000)), None, "the wallet is older than the fill, and equal");
        equity.filled(&fill(20, 5), 0);
        assert_eq!(equity.judge(at(60_000)), None, "a wallet older than the last fill says nothing");
        equity.wallet(&wallet(21, 990));
        assert_eq!(equity.judge(at(60_000)), None);
        equity.wallet(&Wallet { queried: Flag::Yes, ..wallet(22, 995) });
        assert_eq!(equity.judge(at(60_000)), None, "an answer from before the fill is not believed");
    }

    #[test]
    fn a_restart_remembers_the_high_and_counts_what_happened_meanwhile() {
        let mut equity = begun();
        worth(&mut equity, 100);
        let mut next = Equity::resumed(&equity.left(Resumed::default()));
        // while nobody looked a position was closed at a loss of 30, and 200 came in
        next.filled(&fill(5, 0), usdt(-30).raw());
        next.wallet(&wallet(10, 1_170));
        assert!(next.judge(at(10).after(DOOR_PATIENCE)).is_some());
        assert_eq!(worth(&mut next, 0), [1_170, 200, 1_100, 130]);
    }

    fn row(kind: FlowKind, amount: i64, fee: i64) -> Flow {
        let coin = crate::ids::Text::new(b"USDT").unwrap();
        let [amount, fee] = [amount, fee].map(crate::units::Qty::whole);
        Flow { kind, amount, fee, coin, state: FlowState::Done, ts: Wall::from_millis(50), ..Flow::default() }
    }

    #[test]
    fn a_row_of_the_venues_log_explains_the_cash_and_each_row_once() {
        use FlowKind::{Bonus, Deposit, Trade, TransferIn, TransferOut};
        let party = Flow { party: crate::ids::Text::new(b"FUND").unwrap(), ..row(TransferIn, 500, 0) };
        let pending = Flow { state: FlowState::Pending, ..row(TransferIn, 500, 0) };
        let early = Flow { ts: Wall::from_millis(1), ..row(TransferIn, 500, 0) };
        let table: [(&[Flow], i64, bool); 9] = [
            (&[row(TransferIn, 500, 0)], 1_500, true),
            (&[row(TransferOut, -390, 10)], 600, true),
            (&[row(TransferIn, 500, 0), row(TransferOut, -100, 0), row(Bonus, 5, 0)], 1_405, true),
            (&[row(TransferIn, 499, 0)], 1_500, false),
            (&[row(Trade, 500, 0)], 1_500, false),
            (&[row(Deposit, 500, 0)], 1_500, false),
            (&[party], 1_500, false),
            (&[pending], 1_500, false),
            (&[early], 1_500, false),
        ];
        for (rows, told, explains) in table {
            let mut equity = Equity::default();
            equity.wallet(&Wallet { ts: Wall::from_millis(40), ..wallet(0, 1_000) });
            worth(&mut equity, 0);
            let now = Now { mono: at(20), wall: Wall::default() };
            rows.iter().for_each(|row| equity.flow(now, row));
            equity.wallet(&wallet(10, told));
            assert_eq!(equity.judge(at(10).after(PATIENCE)), None);
            let moved = told - 1_000;
            assert_eq!(worth(&mut equity, 0)[1], if explains { moved } else { 0 }, "{rows:?}");
            assert_eq!(equity.judge(at(10).after(DOOR_PATIENCE)).is_none(), explains, "{rows:?}");
            assert_eq!(worth(&mut equity, 0), [told, moved, 1_000, 0], "neither profit nor loss, either way");
            equity.wallet(&wallet(11_000, told + moved));
            assert!(equity.judge(at(11_000).after(DOOR_PATIENCE)).is_some(), "the same again is not explained");
        }
    }

    #[test]
    fn a_row_does_not_explain_what_comes_long_after_it() {
        let mut equity = begun();
        equity.flow(Now { mono: at(0), wall: Wall::default() }, &row(FlowKind::TransferIn, 500, 0));
        equity.wallet(&wallet(60_000, 1_500));
        assert!(equity.judge(at(60_000).after(DOOR_PATIENCE)).is_some());
    }
}

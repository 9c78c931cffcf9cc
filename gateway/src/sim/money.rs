//! Money through the door: deposits, withdrawals, transfers, conversions, and how the venue lists them.
//!
//! In: an administrator's lines. Out: cash, rows of the transaction log, and the lists of `asset/...`, each in the venue's
//! own fields and types. Never: cash that moves without a row of the log, a row without cash, a list that forgets a state.
//!
//! ```text
//!   deposit   pending: nothing yet     done: cash + row TRANSFER_IN      failed: nothing
//!   withdraw  pending: cash - and row TRANSFER_OUT at once               failed: cash back, row TRANSFER_IN
//!   transfer  to or from the funding account: TRANSFER_OUT, TRANSFER_IN; send: between two accounts here
//!   convert   CURRENCY_SELL of one coin, CURRENCY_BUY of the other
//! ```
//!
//! USDT is the wallet; other coins lie beside it and back nothing.

use super::Exchange;
use super::account::{LogRow, remember};
use super::codes::Refusal;
use super::command::{Line, MAX_WALLET};
use super::engine::{Engine, Event};
use super::query::page;
use super::rest::Request;
use super::text::{Obj, array};
use keel_core::units::{Notional, Px, Qty};

/// How a movement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Deposit,
    /// From another customer of the venue.
    InternalDeposit,
    Withdrawal,
    /// Between the unified and the funding account; `true` into the unified one.
    Transfer(bool),
    /// Between two accounts here; `true` into this one.
    Universal(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Pending,
    Done,
    Failed,
}

/// One movement.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    pub(super) id: u64,
    pub(super) way: Way,
    pub(super) coin: String,
    pub(super) chain: String,
    /// Positive.
    pub(super) amount: i64,
    pub(super) fee: i64,
    /// Where it goes, or what it came to.
    pub(super) to: String,
    pub(super) from: String,
    pub(super) tag: String,
    pub(super) tx: String,
    pub(super) progress: Progress,
    pub(super) created: u64,
    pub(super) updated: u64,
}

/// A line of the address book.
#[derive(Clone, Debug)]
pub(super) struct Address {
    coin: String,
    chain: String,
    address: String,
    tag: String,
    remark: String,
    created: u64,
}

/// Addresses one account may keep; one more is refused.
const MAX_ADDRESSES: usize = 1_000;
const DAY_MS: u64 = 86_400_000;

impl Engine {
    /// How much of a coin lies in the unified account.
    fn held(&self, account: usize, coin: &str) -> i64 {
        let of = &self.accounts[account];
        if coin == "USDT" { of.wallet.raw() } else { of.coins.get(coin).copied().unwrap_or(0) }
    }

    /// Moves cash and writes the row of the log that says so. `change` is before the fee.
    pub(super) fn cash(&mut self, now_ms: u64, account: usize, coin: &str, what: &'static str, change: i64, fee: i64) {
        let id = self.take_execution_number();
        let of = &mut self.accounts[account];
        let balance = if coin == "USDT" {
            let moved = Notional::from_raw(change - fee);
            of.wallet += moved;
            of.deposited += moved;
            of.wallet
        } else {
            let held = of.coins.entry(coin.to_owned()).or_insert(0);
            *held += change - fee;
            Notional::from_raw(*held)
        };
        let row = LogRow {
            id,
            symbol: None,
            side: "None",
            time: now_ms,
            what,
            qty: Qty::ZERO,
            size: Qty::ZERO,
            px: Px::ZERO,
            funding: Notional::ZERO,
            fee: Notional::from_raw(fee),
            cash_flow: Notional::from_raw(change),
            balance,
            rate: 0,
            trade: 0,
            order: 0,
            link: String::new(),
            coin: coin.to_owned(),
        };
        remember(&mut of.log, row);
        if coin == "USDT" {
            self.events.push(Event::Wallet(account));
        }
    }

    fn note(&mut self, account: usize, movement: Movement) {
        remember(&mut self.accounts[account].movements, movement);
    }
}

/// What a word of a command may be: it ends in the lists as it is.
fn word<'a>(line: &Line<'a>, key: &str, default: &'a str) -> Result<String, String> {
    let text = line.find(key).unwrap_or(default);
    let fits = text.len() <= 120 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    fits.then(|| text.to_owned()).ok_or_else(|| format!("{key}={text}: at most 120 plain characters"))
}

fn coin(line: &Line<'_>, key: &str, default: &str) -> Result<String, String> {
    let text = line.find(key).unwrap_or(default);
    let fits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned()).ok_or_else(|| format!("{key}={text} is no coin"))
}

fn amount(line: &Line<'_>, key: &str) -> Result<i64, String> {
    let amount = line.decimal(key)?;
    let fits = amount > 0 && amount <= MAX_WALLET.raw();
    fits.then_some(amount).ok_or_else(|| format!("{key} must be positive, at most 100,000,000"))
}

impl Exchange {
    /// `deposit`, `withdraw`, `settle`, `transfer`, `send`, `convert`, `address`.
    pub(super) fn move_money(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (account, now_ms) = (self.account_arg(line)?, self.now_ms());
        match line.verb {
            "deposit" => self.deposit(line, account, now_ms),
            "withdraw" => self.withdraw_money(line, account, now_ms),
            "settle" => self.settle_movement(line, account, now_ms),
            "transfer" => self.transfer_money(line, account, now_ms),
            "send" => self.send_money(line, account, now_ms),
            "convert" => self.convert(line, account, now_ms),
            _ => self.keep_address(line, account, now_ms),
        }
    }

    fn fits_in(&self, account: usize, coin: &str, amount: i64) -> Result<(), String> {
        let fits = self.engine.held(account, coin).saturating_add(amount) <= MAX_WALLET.raw();
        fits.then_some(()).ok_or_else(|| "no wallet holds that much".to_owned())
    }

    fn may_leave(&self, account: usize, coin: &str, amount: i64) -> Result<(), String> {
        let free = match coin {
            "USDT" => self.engine.totals(account).available().raw(),
            other => self.engine.held(account, other),
        };
        (free >= amount).then_some(()).ok_or_else(|| "the available balance is smaller than that".to_owned())
    }

    fn movement(&mut self, line: &Line<'_>, way: Way, now_ms: u64) -> Result<Movement, String> {
        let progress = match line.find("state") {
            None | Some("done") => Progress::Done,
            Some("pending") => Progress::Pending,
            Some("failed") => Progress::Failed,
            Some(other) => return Err(format!("state={other}: say pending, done or failed")),
        };
        let (coin, amount) = (coin(line, "coin", "USDT")?, amount(line, "amount")?);
        let [chain, to, from, tag, tx] = [("chain", "TRX"), ("address", "sim"), ("from", ""), ("tag", ""), ("tx", "")]
            .map(|(k, d)| word(line, k, d));
        let (chain, to, from, tag, tx) = (chain?, to?, from?, tag?, tx?);
        let fee = line.raw("fee")?.unwrap_or(0);
        if !(0..=amount).contains(&fee) {
            return Err("fee must be between 0 and the amount".to_owned());
        }
        // Above this line nothing changed; the number is taken last.
        let id = self.engine.take_execution_number();
        let tx = if tx.is_empty() { self.engine.uuid(id, 4) } else { tx };
        Ok(Movement {
            id,
            way,
            coin,
            chain,
            amount,
            fee,
            to,
            from,
            tag,
            tx,
            progress,
            created: now_ms,
            updated: now_ms,
        })
    }

    fn deposit(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let way = if line.find("member").is_some() { Way::InternalDeposit } else { Way::Deposit };
        self.fits_in(account, &coin(line, "coin", "USDT")?, amount(line, "amount")?)?;
        let member = word(line, "member", "")?;
        let mut movement = self.movement(line, way, now_ms)?;
        if way == Way::InternalDeposit {
            movement.from = member;
        }
        if movement.progress == Progress::Done {
            self.engine.cash(now_ms, account, &movement.coin, "TRANSFER_IN", movement.amount, 0);
        }
        self.engine.note(account, movement);
        Ok(())
    }

    fn withdraw_money(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let whole = amount(line, "amount")?.saturating_add(line.raw("fee")?.unwrap_or(0).max(0));
        self.may_leave(account, &coin(line, "coin", "USDT")?, whole)?;
        let member = word(line, "member", "")?;
        let mut movement = self.movement(line, Way::Withdrawal, now_ms)?;
        if !member.is_empty() {
            (movement.to, movement.chain, movement.tx) = (member, String::new(), String::new());
        }
        if movement.progress != Progress::Failed {
            self.engine.cash(now_ms, account, &movement.coin, "TRANSFER_OUT", -movement.amount, movement.fee);
        }
        self.engine.note(account, movement);
        Ok(())
    }

    /// The oldest movement that is under way comes to its end.
    fn settle_movement(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let to = match line.text("to")? {
            "done" => Progress::Done,
            "failed" => Progress::Failed,
            other => return Err(format!("to={other}: say done or failed")),
        };
        let all = &self.engine.accounts[account].movements;
        let at = all.iter().position(|m| m.progress == Progress::Pending).ok_or("nothing is under way")?;
        let (way, coin, amount, fee) = (all[at].way, all[at].coin.clone(), all[at].amount, all[at].fee);
        let out = matches!(way, Way::Withdrawal);
        if out != (to == Progress::Done) {
            self.fits_in(account, &coin, amount)?;
        }
        let movement = &mut self.engine.accounts[account].movements[at];
        (movement.progress, movement.updated) = (to, now_ms);
        match (out, to) {
            (false, Progress::Done) => self.engine.cash(now_ms, account, &coin, "TRANSFER_IN", amount, 0),
            (true, Progress::Failed) => self.engine.cash(now_ms, account, &coin, "TRANSFER_IN", amount + fee, 0),
            _ => {}
        }
        Ok(())
    }

    fn transfer_money(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let (coin, amount) = (coin(line, "coin", "USDT")?, amount(line, "amount")?);
        let into = match line.text("to")? {
            "UNIFIED" => true,
            "FUND" => false,
            other => return Err(format!("to={other}: say FUND or UNIFIED")),
        };
        let fund = self.engine.accounts[account].fund.get(&coin).copied().unwrap_or(0);
        if into {
            self.fits_in(account, &coin, amount)?;
            if fund < amount {
                return Err("the funding account holds less than that".to_owned());
            }
        } else {
            self.may_leave(account, &coin, amount)?;
            if fund.saturating_add(amount) > MAX_WALLET.raw() {
                return Err("no account holds that much".to_owned());
            }
        }
        let movement = self.movement(line, Way::Transfer(into), now_ms)?;
        let signed = if into { amount } else { -amount };
        self.engine.accounts[account].fund.insert(coin.clone(), fund - signed);
        self.engine.cash(now_ms, account, &coin, if into { "TRANSFER_IN" } else { "TRANSFER_OUT" }, signed, 0);
        self.engine.note(account, Movement { progress: Progress::Done, ..movement });
        Ok(())
    }

    fn send_money(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let (coin, amount) = (coin(line, "coin", "USDT")?, amount(line, "amount")?);
        let key = line.text("to")?;
        let (other, _) = self.key(key).ok_or_else(|| format!("no account has the key {key}"))?;
        if other == account {
            return Err("from an account to itself".to_owned());
        }
        self.may_leave(account, &coin, amount)?;
        self.fits_in(other, &coin, amount)?;
        let movement = Movement { progress: Progress::Done, ..self.movement(line, Way::Universal(false), now_ms)? };
        let uid = |account: usize| self.engine.accounts[account].uid.to_string();
        let movement = Movement { from: uid(account), to: uid(other), ..movement };
        self.engine.cash(now_ms, account, &coin, "TRANSFER_OUT", -amount, 0);
        self.engine.cash(now_ms, other, &coin, "TRANSFER_IN", amount, 0);
        self.engine.note(other, Movement { way: Way::Universal(true), ..movement.clone() });
        self.engine.note(account, movement);
        Ok(())
    }

    fn convert(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        let (from, to) = (coin(line, "from", "USDT")?, coin(line, "to", "USDC")?);
        let (given, got) = (amount(line, "amount")?, amount(line, "got")?);
        if from == to {
            return Err("from a coin to itself".to_owned());
        }
        self.may_leave(account, &from, given)?;
        self.fits_in(account, &to, got)?;
        self.engine.cash(now_ms, account, &from, "CURRENCY_SELL", -given, 0);
        self.engine.cash(now_ms, account, &to, "CURRENCY_BUY", got, 0);
        Ok(())
    }

    fn keep_address(&mut self, line: &Line<'_>, account: usize, now_ms: u64) -> Result<(), String> {
        line.text("address")?;
        let row = Address {
            coin: coin(line, "coin", "USDT")?,
            chain: word(line, "chain", "TRX")?,
            address: word(line, "address", "")?,
            tag: word(line, "tag", "")?,
            remark: word(line, "remark", "")?,
            created: now_ms,
        };
        let book = &mut self.engine.accounts[account].book;
        if book.len() >= MAX_ADDRESSES {
            return Err(format!("{MAX_ADDRESSES} addresses are enough"));
        }
        book.push(row);
        Ok(())
    }

    // ---- lists ---------------------------------------------------------------------------------------------------

    /// `asset/...`: newest first.
    pub(super) fn movements(&self, endpoint: &str, account: usize, request: &Request<'_>) -> Result<String, Refusal> {
        let (days, listed, default) = match endpoint {
            "asset/transfer/query-inter-transfer-list" | "asset/transfer/query-universal-transfer-list" => {
                (7, "list", 20)
            }
            _ => (30, "rows", 50),
        };
        let limit = request.number("limit", default, 50)?;
        if endpoint == "asset/withdraw/query-address" {
            return self.address_book(account, request, limit);
        }
        let (from, to) = span(request, self.now_ms(), days)?;
        let only = request.arg("coin");
        let kind = request.arg("withdrawType");
        let of = |m: &&Movement| match endpoint {
            "asset/deposit/query-record" => m.way == Way::Deposit,
            "asset/deposit/query-internal-record" => m.way == Way::InternalDeposit,
            "asset/withdraw/query-record" => {
                m.way == Way::Withdrawal
                    && matches!((kind.as_str(), m.chain.is_empty()), ("2", _) | ("1", true) | ("0" | "", false))
            }
            "asset/transfer/query-inter-transfer-list" => matches!(m.way, Way::Transfer(_)),
            _ => matches!(m.way, Way::Universal(_)),
        };
        let all = self.engine.accounts[account].movements.iter().rev();
        let found = all.filter(of).filter(|m| (from..=to).contains(&m.created) && (only.is_empty() || only == m.coin));
        let (found, next) = page(found.collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .with(listed, |out| {
                array(out, found, |out, m| match m.way {
                    Way::Deposit => deposit_row(out, m),
                    Way::InternalDeposit => internal_row(out, m),
                    Way::Withdrawal => withdrawal_row(out, m),
                    Way::Transfer(_) | Way::Universal(_) => transfer_row(out, m, &self.engine.uuid(m.id, 5)),
                });
            })
            .s("nextPageCursor", &next)
            .end();
        Ok(out)
    }

    fn address_book(&self, account: usize, request: &Request<'_>, limit: usize) -> Result<String, Refusal> {
        let (coin, chain) = (request.arg("coin"), request.arg("chain"));
        let wanted = |a: &&Address| (coin.is_empty() || coin == a.coin) && (chain.is_empty() || chain == a.chain);
        let book = self.engine.accounts[account].book.iter().rev().filter(wanted);
        let (found, next) = page(book.collect(), request, limit)?;
        let mut out = String::new();
        Obj::new(&mut out)
            .with("rows", |out| {
                array(out, found, |out, a| {
                    let row = Obj::new(out).s("coin", &a.coin).s("chain", &a.chain).s("address", &a.address);
                    let fresh = self.now_ms() < a.created + DAY_MS;
                    let row = row.s("tag", &a.tag).s("remark", &a.remark).n("status", i64::from(fresh));
                    row.n("addressType", 0).n("verified", 1).us("createdAt", a.created).end();
                });
            })
            .s("nextPageCursor", &next)
            .end();
        Ok(out)
    }
}

/// `startTime` and `endTime`, at most so many days apart; the last of them when neither is given.
fn span(request: &Request<'_>, now_ms: u64, days: u64) -> Result<(u64, u64), Refusal> {
    let read = |key: &str| match request.arg(key).as_str() {
        "" => Ok(None),
        text => text.parse::<u64>().map(Some).map_err(|_| Refusal::params(&format!("{key} invalid"))),
    };
    let most = days * DAY_MS;
    let (from, to) = match (read("startTime")?, read("endTime")?) {
        (None, None) => (now_ms.saturating_sub(most), u64::MAX),
        (Some(from), None) => (from, from.saturating_add(most)),
        (None, Some(to)) => (to.saturating_sub(most), to),
        (Some(from), Some(to)) => (from, to),
    };
    if from > to || (to != u64::MAX && to - from > most) {
        return Err(Refusal::params(&format!(
            "the time range between startTime and endTime cannot exceed {days} days"
        )));
    }
    Ok((from, to))
}

fn deposit_row(out: &mut String, m: &Movement) {
    let (status, done) = match m.progress {
        Progress::Pending => (2, false),
        Progress::Done => (3, true),
        Progress::Failed => (4, false),
    };
    let row = Obj::new(out).us("id", m.id).s("coin", &m.coin).s("chain", &m.chain).d("amount", m.amount);
    let row = row.s("txID", &m.tx).n("status", status).s("toAddress", &m.to).s("fromAddress", &m.from).s("tag", &m.tag);
    let row = row.s("depositFee", "").us("successAt", if done { m.updated } else { 0 });
    let row = row.s("confirmations", if done { "100" } else { "1" }).s("txIndex", "0").s("blockHash", &m.tx);
    row.s("batchReleaseLimit", "-1").s("depositType", "0").s("taxDepositRecordsId", "").n("taxStatus", 0).end();
}

fn internal_row(out: &mut String, m: &Movement) {
    let status = match m.progress {
        Progress::Pending => 1,
        Progress::Done => 2,
        Progress::Failed => 3,
    };
    let row = Obj::new(out).us("id", m.id).n("type", 1).s("coin", &m.coin).d("amount", m.amount).n("status", status);
    let row = row.s("address", "").us("createdTime", m.created / 1_000).s("txID", &m.tx).s("fromMemberId", &m.from);
    row.s("taxDepositRecordsId", "").n("taxStatus", 0).end();
}

fn withdrawal_row(out: &mut String, m: &Movement) {
    let status = match m.progress {
        Progress::Pending => "Pending",
        Progress::Done => "success",
        Progress::Failed => "Reject",
    };
    let row = Obj::new(out).us("withdrawId", m.id).s("txID", &m.tx).s("coin", &m.coin).s("chain", &m.chain);
    let row = row.d("amount", m.amount).d("withdrawFee", m.fee).s("status", status).s("toAddress", &m.to);
    let row = row.s("tag", &m.tag).us("createTime", m.created).us("updateTime", m.updated);
    row.n("withdrawType", i64::from(m.chain.is_empty()))
        .s("fee", "")
        .s("tax", "")
        .s("taxRate", "")
        .s("taxType", "")
        .end();
}

fn transfer_row(out: &mut String, m: &Movement, id: &str) {
    let row = Obj::new(out).s("transferId", id).s("coin", &m.coin).d("amount", m.amount);
    let (from, to) = match m.way {
        Way::Transfer(true) => ("FUND", "UNIFIED"),
        Way::Transfer(false) => ("UNIFIED", "FUND"),
        _ => ("UNIFIED", "UNIFIED"),
    };
    let row = row.s("fromAccountType", from).s("toAccountType", to);
    let row = match m.way {
        Way::Universal(_) => row.s("fromMemberId", &m.from).s("toMemberId", &m.to),
        _ => row,
    };
    row.us("timestamp", m.created).s("status", "SUCCESS").end();
}

#[cfg(test)]
#[path = "money_tests.rs"]
mod tests;

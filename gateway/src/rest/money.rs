//! Money through the door as the venue lists it, and what an account and its key are to it.
//!
//! In: a [`Question`] about one list and a stretch of time; later the status and the body. Out: a [`Page`] of facts, each
//! row one, and the rows that could not be read, by name. Never: a row dropped because a word of it is new (it becomes
//! `Unrecognised`), a number rounded, a text cut short, a panic.
//!
//! ```text
//!   list                kinds of facts                                       party        address, tx, chain
//!   TransactionLog      Trade Funding Fee Liquidation Bonus Convert..        -            -
//!                       TransferIn TransferOut: what moved this account's cash
//!   Deposits            Deposit                                              -            sender's, where told
//!   InternalDeposits    InternalDeposit                                      sender's UID -
//!   Withdrawals         Withdrawal, InternalWithdrawal (party: a UID)        -            receiver's
//!   Transfers           TransferIn TransferOut                               the other account's type
//!   UniversalTransfers  TransferIn TransferOut                               the other account's UID
//! ```
//!
//! Amounts are signed; the fee comes off beside them. A transfer stands in the log and in its list: the row of the log
//! has no party.

use super::answer::{Envelope, required};
use super::call::{Method, Request};
use super::{RestError, answer};
use crate::decode::{DecodeError, Scalar, code, json};
use crate::sign::Signer;
use keel_core::event::{Flow, FlowKind, FlowState, Standing};
use keel_core::ids::Text;
use keel_core::units::{Mono, Notional, Px, Qty, SCALE, Wall};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 24 * HOUR;

/// A list of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// `account/transaction-log`.
    TransactionLog,
    /// `asset/deposit/query-record`.
    Deposits,
    /// `asset/deposit/query-internal-record`.
    InternalDeposits,
    /// `asset/withdraw/query-record`, of both types.
    Withdrawals,
    /// `asset/transfer/query-inter-transfer-list`.
    Transfers,
    /// `asset/transfer/query-universal-transfer-list`.
    UniversalTransfers,
}

impl List {
    /// Every list.
    pub const ALL: [Self; 6] = [
        Self::TransactionLog,
        Self::Deposits,
        Self::InternalDeposits,
        Self::Withdrawals,
        Self::Transfers,
        Self::UniversalTransfers,
    ];

    /// Its path, and what every question about it says.
    const fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::TransactionLog => ("/v5/account/transaction-log", "accountType=UNIFIED&limit=50"),
            Self::Deposits => ("/v5/asset/deposit/query-record", "limit=50"),
            Self::InternalDeposits => ("/v5/asset/deposit/query-internal-record", "limit=50"),
            Self::Withdrawals => ("/v5/asset/withdraw/query-record", "withdrawType=2&limit=50"),
            Self::Transfers => ("/v5/asset/transfer/query-inter-transfer-list", "limit=50"),
            Self::UniversalTransfers => ("/v5/asset/transfer/query-universal-transfer-list", "limit=50"),
        }
    }

    /// Nanoseconds one question may cover: the venue takes seven or thirty days; of the log an hour is many pages.
    #[must_use]
    pub const fn span(self) -> u64 {
        match self {
            Self::TransactionLog => HOUR,
            Self::Transfers | Self::UniversalTransfers => 7 * DAY - HOUR,
            Self::Deposits | Self::InternalDeposits | Self::Withdrawals => 30 * DAY - HOUR,
        }
    }

    /// Nanoseconds between two questions about it, at least: half of what the venue allows.
    #[must_use]
    pub const fn pause(self) -> u64 {
        match self {
            Self::TransactionLog => 80_000_000,
            Self::Withdrawals | Self::UniversalTransfers => 400_000_000,
            Self::Deposits | Self::InternalDeposits => 1_200_000_000,
            Self::Transfers => 2_000_000_000,
        }
    }

    /// Which list this fact came from.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        match flow.kind {
            FlowKind::Deposit => Self::Deposits,
            FlowKind::InternalDeposit => Self::InternalDeposits,
            FlowKind::Withdrawal | FlowKind::InternalWithdrawal => Self::Withdrawals,
            _ if flow.party.is_empty() => Self::TransactionLog,
            _ if flow.party.bytes().iter().all(u8::is_ascii_digit) => Self::UniversalTransfers,
            _ => Self::Transfers,
        }
    }
}

/// What is asked. The cursor is the venue's, passed back verbatim; empty is the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// About which list.
    pub list: List,
    /// From when.
    pub from: Wall,
    /// Until when.
    pub to: Wall,
    /// Page.
    pub cursor: String,
}

impl Question {
    /// The bytes that ask it.
    #[must_use]
    pub fn request(&self, signer: &Signer, now: Wall) -> Request {
        let (path, fixed) = self.list.path();
        let mut query = format!("{fixed}&startTime={}&endTime={}", self.from.millis(), self.to.millis());
        if !self.cursor.is_empty() {
            query.push_str("&cursor=");
            query.push_str(&self.cursor);
        }
        let headers = Vec::from(signer.headers(now, &query));
        Request { method: Method::Get, path_and_query: format!("{path}?{query}"), headers, body: String::new() }
    }
}

/// Whose money it is, and when the answer came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// By the stopwatch.
    pub recv: Mono,
    /// By our clock: when a row does not say when it happened.
    pub at: Wall,
    /// The account's UID.
    pub account: Text<31>,
}

/// Why a row is no fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// Not an object of the documented shape.
    Form,
    /// Without an id, or with one that does not fit.
    Id,
    /// An amount that is none, is not exact in steps of 1e-8, or does not fit.
    Amount,
    /// A time that is none.
    Time,
    /// A text that does not fit, by the name of its field.
    Text(&'static str),
}

/// A row that could not be read: why, and a number that is the same whenever the same row comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: RowFault,
    /// Which.
    pub mark: u64,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its rows as facts.
    pub flows: Vec<Flow>,
    /// Its rows that are none.
    pub refused: Vec<Refused>,
    /// Next page; empty at the end.
    pub next: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Rows<'a> {
    #[serde(borrow)]
    rows: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    list: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    next_page_cursor: Scalar<'a>,
}

/// Reads the answer to a question about `list`.
pub fn read(list: List, status: u16, body: &[u8], reading: &Reading) -> Result<Page, RestError> {
    let rows: Rows<'_> = required(said(status, body)?)?;
    let mut page = Page { next: answer::string(rows.next_page_cursor), ..Page::default() };
    for raw in rows.rows.or(rows.list).ok_or(DecodeError::Missing)? {
        match row(list, raw.get().as_bytes(), reading) {
            Ok(flow) => page.flows.push(flow),
            Err(why) => page.refused.push(Refused { why, mark: mark(raw.get().as_bytes()) }),
        }
    }
    Ok(page)
}

/// The result of an answer that says yes.
fn said(status: u16, body: &[u8]) -> Result<Option<&RawValue>, RestError> {
    if status != 200 {
        return Err(RestError::Http(status));
    }
    let envelope: Envelope<'_> = json(body)?;
    match code(envelope.ret_code)? {
        0 => Ok(envelope.result),
        code => Err(RestError::Venue(code)),
    }
}

/// FNV-1a.
fn mark(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Every field of every list that is read; each list has its own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Row<'a> {
    #[serde(borrow)]
    id: Scalar<'a>,
    withdraw_id: Scalar<'a>,
    transfer_id: Scalar<'a>,
    coin: Scalar<'a>,
    currency: Scalar<'a>,
    chain: Scalar<'a>,
    amount: Scalar<'a>,
    #[serde(rename = "txID")]
    tx_id: Scalar<'a>,
    status: Scalar<'a>,
    from_address: Scalar<'a>,
    to_address: Scalar<'a>,
    tag: Scalar<'a>,
    deposit_fee: Scalar<'a>,
    success_at: Scalar<'a>,
    created_time: Scalar<'a>,
    from_member_id: Scalar<'a>,
    to_member_id: Scalar<'a>,
    withdraw_fee: Scalar<'a>,
    withdraw_type: Scalar<'a>,
    create_time: Scalar<'a>,
    update_time: Scalar<'a>,
    from_account_type: Scalar<'a>,
    to_account_type: Scalar<'a>,
    timestamp: Scalar<'a>,
    transaction_time: Scalar<'a>,
    #[serde(rename = "type")]
    kind: Scalar<'a>,
    cash_flow: Scalar<'a>,
    funding: Scalar<'a>,
    fee: Scalar<'a>,
    change: Scalar<'a>,
}

fn row(list: List, bytes: &[u8], reading: &Reading) -> Result<Flow, RowFault> {
    let row: Row<'_> = json(bytes).map_err(|_| RowFault::Form)?;
    let flow = Flow { recv: reading.recv, account: reading.account, ..Flow::default() };
    match list {
        List::TransactionLog => log(&row, flow),
        List::Deposits => deposit(&row, flow, reading.at),
        List::InternalDeposits => internal(&row, flow),
        List::Withdrawals => withdrawal(&row, flow),
        List::Transfers | List::UniversalTransfers => transfer(list, &row, flow),
    }
}

fn id(value: Scalar<'_>) -> Result<Text<63>, RowFault> {
    Text::new(value.text()).filter(|id| !id.is_empty()).ok_or(RowFault::Id)
}

fn amount(value: Scalar<'_>) -> Result<i64, RowFault> {
    value.exact().map_err(|_| RowFault::Amount)
}

/// An amount that must be there.
fn moved(value: Scalar<'_>) -> Result<i64, RowFault> {
    if value.text().is_empty() { Err(RowFault::Amount) } else { amount(value) }
}

fn time(value: Scalar<'_>) -> Result<Wall, RowFault> {
    value.wall().ok().filter(|at| at.nanos() > 0).ok_or(RowFault::Time)
}

fn text<const N: usize>(name: &'static str, value: Scalar<'_>) -> Result<Text<N>, RowFault> {
    Text::new(value.text()).ok_or(RowFault::Text(name))
}

fn address(value: Scalar<'_>, tag: Scalar<'_>) -> Result<Text<127>, RowFault> {
    if value.text().is_empty() || tag.text().is_empty() {
        return text("address", value);
    }
    Text::new(&[value.text(), b":", tag.text()].concat()).ok_or(RowFault::Text("address"))
}

fn log(row: &Row<'_>, flow: Flow) -> Result<Flow, RowFault> {
    let fee = amount(row.fee)?;
    let flows = amount(row.cash_flow)?.checked_add(amount(row.funding)?).ok_or(RowFault::Amount)?;
    // the venue's own word for what changed stands before our sum of its parts
    let whole = match row.change.text() {
        b"" => flows,
        _ => amount(row.change)?.checked_add(fee).ok_or(RowFault::Amount)?,
    };
    let kind = match row.kind.text() {
        b"TRANSFER_IN" => FlowKind::TransferIn,
        b"TRANSFER_OUT" => FlowKind::TransferOut,
        b"TRADE" | b"DELIVERY" => FlowKind::Trade,
        b"SETTLEMENT" => FlowKind::Funding,
        b"LIQUIDATION" | b"ADL" => FlowKind::Liquidation,
        b"FEE_REFUND" | b"INTEREST" => FlowKind::Fee,
        b"BONUS" | b"BONUS_RECOLLECT" | b"AIRDROP" => FlowKind::Bonus,
        b"CURRENCY_BUY" => FlowKind::ConvertIn,
        b"CURRENCY_SELL" => FlowKind::ConvertOut,
        _ => FlowKind::Unrecognised,
    };
    Ok(Flow {
        id: id(row.id)?,
        ts: time(row.transaction_time)?,
        amount: Qty::from_raw(whole),
        fee: Qty::from_raw(fee),
        coin: text("currency", row.currency)?,
        kind,
        state: FlowState::Done,
        ..flow
    })
}

fn deposit(row: &Row<'_>, flow: Flow, at: Wall) -> Result<Flow, RowFault> {
    let state = match row.status.text() {
        b"1" | b"2" | b"10011" => FlowState::Pending,
        b"3" | b"10012" => FlowState::Done,
        b"4" => FlowState::Failed,
        _ => FlowState::Unrecognised,
    };
    // one that is under way does not say when it will have happened
    let ts = if matches!(row.success_at.text(), b"" | b"0") { at } else { time(row.success_at)? };
    Ok(Flow {
        id: id(row.id)?,
        ts,
        amount: Qty::from_raw(moved(row.amount)?),
        fee: Qty::from_raw(amount(row.deposit_fee)?),
        coin: text("coin", row.coin)?,
        chain: text("chain", row.chain)?,
        address: address(row.from_address, row.tag)?,
        tx: text("txID", row.tx_id)?,
        kind: FlowKind::Deposit,
        state,
        ..flow
    })
}

fn internal(row: &Row<'_>, flow: Flow) -> Result<Flow, RowFault> {
    let state = match row.status.text() {
        b"1" => FlowState::Pending,
        b"2" => FlowState::Done,
        b"3" => FlowState::Failed,
        _ => FlowState::Unrecognised,
    };
    /// Before it as milliseconds there was no venue: the number is seconds.
    const SECONDS: u64 = 100_000_000_000;
    let created = row.created_time.count().map_err(|_| RowFault::Time)?;
    let millis = if created < SECONDS { created.saturating_mul(1_000) } else { created };
    if created == 0 {
        return Err(RowFault::Time);
    }
    Ok(Flow {
        id: id(row.id)?,
        ts: Wall::from_millis(millis),
        amount: Qty::from_raw(moved(row.amount)?),
        coin: text("coin", row.coin)?,
        party: text("fromMemberId", row.from_member_id)?,
        tx: text("txID", row.tx_id)?,
        kind: FlowKind::InternalDeposit,
        state,
        ..flow
    })
}

fn withdrawal(row: &Row<'_>, flow: Flow) -> Result<Flow, RowFault> {
    let state = match row.status.text() {
        b"SecurityCheck" | b"Pending" | b"MoreInformationRequired" => FlowState::Pending,
        b"success" | b"BlockchainConfirmed" => FlowState::Done,
        b"CancelByUser" | b"Reject" | b"Fail" => FlowState::Failed,
        _ => FlowState::Unrecognised,
    };
    let inside = row.withdraw_type.text() == b"1";
    let ended = matches!(state, FlowState::Done | FlowState::Failed) && !matches!(row.update_time.text(), b"" | b"0");
    let none = Flow::default();
    Ok(Flow {
        id: id(row.withdraw_id)?,
        ts: time(if ended { row.update_time } else { row.create_time })?,
        amount: Qty::from_raw(moved(row.amount)?.checked_neg().ok_or(RowFault::Amount)?),
        fee: Qty::from_raw(amount(row.withdraw_fee)?),
        coin: text("coin", row.coin)?,
        chain: text("chain", row.chain)?,
        party: if inside { text("toAddress", row.to_address)? } else { none.party },
        address: if inside { none.address } else { address(row.to_address, row.tag)? },
        tx: text("txID", row.tx_id)?,
        kind: if inside { FlowKind::InternalWithdrawal } else { FlowKind::Withdrawal },
        state,
        ..flow
    })
}

fn transfer(list: List, row: &Row<'_>, flow: Flow) -> Result<Flow, RowFault> {
    let state = match row.status.text() {
        b"PENDING" => FlowState::Pending,
        b"SUCCESS" => FlowState::Done,
        b"FAILED" => FlowState::Failed,
        _ => FlowState::Unrecognised,
    };
    let (from, to, ours) = match list {
        List::UniversalTransfers => (row.from_member_id, row.to_member_id, flow.account.bytes()),
        _ => (row.from_account_type, row.to_account_type, b"UNIFIED".as_slice()),
    };
    let (kind, party, sign) = match (from.text() == ours, to.text() == ours) {
        (false, true) => (FlowKind::TransferIn, from, 1),
        (true, false) => (FlowKind::TransferOut, to, -1),
        // between others, or a word we do not know: nothing of it is this account's cash
        _ => (FlowKind::Unrecognised, from, 1),
    };
    let party = if party.text().is_empty() { Text::new(b"?") } else { Text::new(party.text()) };
    Ok(Flow {
        id: id(row.transfer_id)?,
        ts: time(row.timestamp)?,
        amount: Qty::from_raw(moved(row.amount)?.checked_mul(sign).ok_or(RowFault::Amount)?),
        coin: text("coin", row.coin)?,
        party: party.ok_or(RowFault::Text("party"))?,
        kind,
        state,
        ..flow
    })
}

/// What an amount of a coin is worth in USD at the venue's index; zero when nobody can say. USDT and USDC count as USD.
#[must_use]
pub fn worth(coin: &[u8], amount: Qty, index: Option<Px>) -> Notional {
    let price = match coin {
        b"USDT" | b"USDC" | b"USD" => Some(SCALE),
        _ => index.map(Px::raw),
    };
    let value = price.map(|price| i128::from(amount.raw()) * i128::from(price) / i128::from(SCALE));
    Notional::from_raw(value.and_then(|value| i64::try_from(value).ok()).unwrap_or(0))
}

/// Asks for the index price of a coin against USDT.
#[must_use]
pub fn index_request(coin: &str) -> Request {
    let path_and_query = format!("/v5/market/tickers?category=linear&symbol={coin}USDT");
    Request { method: Method::Get, path_and_query, headers: Vec::new(), body: String::new() }
}

/// The index price in the answer; `None` where the venue has none.
pub fn index(status: u16, body: &[u8]) -> Result<Option<Px>, RestError> {
    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Ticker<'a> {
        #[serde(borrow)]
        index_price: Scalar<'a>,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Tickers<'a> {
        #[serde(borrow)]
        list: Vec<Ticker<'a>>,
    }
    let tickers: Tickers<'_> = required(said(status, body)?)?;
    let Some(row) = tickers.list.first() else { return Ok(None) };
    let raw = row.index_price.rounded()?;
    Ok((raw > 0).then_some(Px::from_raw(raw)))
}

/// Asks what the key may do and whose it is.
#[must_use]
pub fn standing_request(signer: &Signer, now: Wall) -> Request {
    super::Call::KeyInfo.request(signer, now)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KeyRow<'a> {
    #[serde(borrow)]
    read_only: Scalar<'a>,
    permissions: serde_json::Map<String, serde_json::Value>,
    ips: Vec<String>,
    #[serde(borrow)]
    expired_at: Scalar<'a>,
    #[serde(rename = "userID", borrow)]
    user_id: Scalar<'a>,
    #[serde(borrow)]
    parent_uid: Scalar<'a>,
    #[serde(borrow)]
    kyc_level: Scalar<'a>,
    #[serde(borrow)]
    kyc_region: Scalar<'a>,
}

/// Reads what the account and its key are. Whether it changed and whether the evidence holds is for whoever remembers.
pub fn standing(status: u16, body: &[u8], recv: Mono, at: Wall) -> Result<Standing, RestError> {
    let result = said(status, body)?;
    let row: KeyRow<'_> = required(result)?;
    let short = |value: Scalar<'_>| Text::new(value.text()).ok_or(DecodeError::Id);
    let ips = if row.ips.is_empty() { "*".to_owned() } else { row.ips.join(",") };
    let unbound = ips.split(',').any(|ip| ip == "*");
    let parent = if row.parent_uid.text() == b"0" { Text::EMPTY } else { short(row.parent_uid)? };
    Ok(Standing {
        recv,
        at,
        expires: if unbound { date(row.expired_at.text()).ok_or(DecodeError::Number)? } else { Wall::default() },
        permissions: permissions(&row.permissions),
        digest: Sha256::digest(result.map_or("", RawValue::get)).into(),
        uid: short(row.user_id).and_then(|uid| if uid.is_empty() { Err(DecodeError::Missing) } else { Ok(uid) })?,
        parent,
        kyc_level: short(row.kyc_level)?,
        kyc_region: short(row.kyc_region)?,
        ips: Text::new(ips.as_bytes()).ok_or(DecodeError::Id)?,
        // anything but a clear "may write" is read-only
        read_only: (row.read_only.text() != b"0").into(),
        ..Standing::default()
    })
}

fn permissions(all: &serde_json::Map<String, serde_json::Value>) -> u64 {
    let bit = |group: &str, word: &serde_json::Value| match (group, word.as_str().unwrap_or("?")) {
        (_, word) if word.contains("Withdraw") => Standing::WITHDRAW,
        ("Wallet", word) if word.contains("Transfer") => Standing::TRANSFER,
        ("ContractTrade", "Order" | "Position") | ("Derivatives", "DerivativesTrade") => Standing::TRADE,
        _ => Standing::OTHER,
    };
    let of = |(group, words): (&String, &serde_json::Value)| match words {
        serde_json::Value::Array(words) => words.iter().fold(0, |bits, word| bits | bit(group, word)),
        serde_json::Value::Null => 0,
        _ => Standing::OTHER,
    };
    all.iter().fold(0, |bits, entry| bits | of(entry))
}

/// `2030-03-26T00:00:00Z`; 1970 is never, nothing is never.
fn date(text: &[u8]) -> Option<Wall> {
    if text.is_empty() {
        return Some(Wall::default());
    }
    let text = core::str::from_utf8(text).ok()?;
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let formed = marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(&(*mark as u8))) && text.ends_with('Z');
    let fits = (1970..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !formed || !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // days from civil, after Howard Hinnant
    let (year, march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * march + 2) / 5 + day - 1 - 719_468;
    Some(Wall::from_millis((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000))
}

#[cfg(test)]
#[path = "money_tests.rs"]
mod tests;

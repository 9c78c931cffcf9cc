//! What the answers mean.

use super::Call;
use crate::decode::{
    Answered, DecodeError, Decoder, ExecRow, OrderRow, PositionRow, Scalar, Source, WalletRow, code, json, part,
};
use keel_core::event::{Ack, Channel, ExecEvent, Flag};
use keel_core::ids::{ClientId, Symbol, VenueId};
use keel_core::units::Wall;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestError {
    /// Not 200: 403 is a banned address, 0 is no answer at all.
    Http(u16),
    /// The venue refused, with its code.
    Venue(i32),
    /// It said yes in words we cannot read.
    Decode(DecodeError),
}

impl From<DecodeError> for RestError {
    fn from(why: DecodeError) -> Self {
        Self::Decode(why)
    }
}

/// Our fees on one instrument, in 1e-8 of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// On what.
    pub symbol: Symbol,
    /// Taking.
    pub taker: i64,
    /// Making.
    pub maker: i64,
}

/// What a key may do and whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// The account.
    pub user: u64,
    /// May not change anything.
    pub read_only: bool,
    /// May place and cancel contract orders.
    pub trades: bool,
    /// May manage contract positions.
    pub positions: bool,
    /// May withdraw: a key that trades must not.
    pub withdraws: bool,
    /// Addresses it is bound to; none or `*` is unbound.
    pub ips: Vec<String>,
    /// Days until an unbound key dies.
    pub days_left: i64,
    /// `LEVEL_DEFAULT`, `LEVEL_1`, `LEVEL_2`.
    pub kyc_level: String,
    /// Country of the person behind it, three letters.
    pub kyc_region: String,
    /// Unified account.
    pub unified: bool,
    /// Not a sub-account.
    pub master: bool,
}

/// How the account is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// `REGULAR_MARGIN` is cross.
    pub margin_mode: String,
    /// 5 and 6 are the unified accounts of today.
    pub unified: i32,
}

/// An answer that was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The venue's clock.
    Time(Wall),
    /// Our fees.
    Fees(Vec<Fee>),
    /// Facts were handed to the sink.
    Facts {
        /// How many.
        count: usize,
        /// Rows the venue listed, ours or not.
        rows: usize,
        /// Next page; empty at the end.
        next: String,
    },
    /// What our key may do.
    Key(KeyFacts),
    /// How the account is set up.
    Account(Account),
    /// The instrument keeps two legs, one a side.
    Hedged(bool),
    /// The venue re-prices orders outside the band.
    Reprices(bool),
    /// Orders under cancellation.
    Cancelling(usize),
    /// Done.
    Done,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    pub(super) ret_code: Scalar<'a>,
    pub(super) result: Option<&'a RawValue>,
    time: Scalar<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, bound(deserialize = "T: Deserialize<'de>"))]
struct Page<'a, T> {
    #[serde(borrow)]
    category: Scalar<'a>,
    list: Vec<T>,
    next_page_cursor: Scalar<'a>,
}

impl<T> Default for Page<'_, T> {
    fn default() -> Self {
        Self { category: Scalar::default(), list: Vec::new(), next_page_cursor: Scalar::default() }
    }
}

impl<T> Page<'_, T> {
    fn next(&self) -> String {
        string(self.next_page_cursor)
    }

    fn answer(&self) -> Answer {
        Answer::Facts { count: 0, rows: self.list.len(), next: self.next() }
    }
}

/// Reads the answer to `call`. Facts go to `sink` only when the whole answer was readable.
///
/// An answer to [`Call::Order`], refusals included, is an [`Ack`] of channel `Rest`; no answer at all is none.
pub fn parse(
    call: &Call,
    status: u16,
    body: &[u8],
    decoder: &mut Decoder,
    source: Source,
    sink: &mut impl FnMut(ExecEvent),
) -> Result<Answer, RestError> {
    if status != 200 {
        return Err(RestError::Http(status));
    }
    let source = Source { queried: Flag::Yes, ..source };
    let envelope: Envelope<'_> = json(body)?;
    let (code, ts, result) = (code(envelope.ret_code)?, envelope.time.wall()?, envelope.result);
    if let Call::Order { order, .. } = call {
        let answered: Answered<'_> = part(result)?;
        let venue = VenueId::new(answered.order_id.text()).ok_or(DecodeError::Id)?;
        let (client, op) = (order.client, order.op);
        let channel = Channel::Rest;
        sink(ExecEvent::Ack(Ack { client, op, code, venue, channel, ts, recv: source.recv, ..Ack::default() }));
        return if code == 0 { Ok(Answer::Done) } else { Err(RestError::Venue(code)) };
    }
    if code != 0 {
        return Err(RestError::Venue(code));
    }
    decoder.begin();
    let answer = read(call, result, ts, decoder, source)?;
    let count = decoder.hand_over(sink);
    Ok(match answer {
        Answer::Facts { rows, next, .. } => Answer::Facts { count, rows, next },
        other => other,
    })
}

fn read(
    call: &Call,
    result: Option<&RawValue>,
    ts: Wall,
    decoder: &mut Decoder,
    source: Source,
) -> Result<Answer, DecodeError> {
    match call {
        Call::Time => Ok(Answer::Time(time(part(result)?)?)),
        Call::FeeRate => fees(&part(result)?),
        Call::OpenOrders { .. } | Call::FindOrder { .. } | Call::FindClosed { .. } => {
            let page: Page<'_, OrderRow<'_>> = required(result)?;
            linear(page.category)?;
            page.list.iter().try_for_each(|row| decoder.order(row, source))?;
            Ok(page.answer())
        }
        Call::Executions { .. } => {
            let page: Page<'_, ExecRow<'_>> = required(result)?;
            linear(page.category)?;
            page.list.iter().try_for_each(|row| decoder.execution(row, source))?;
            Ok(page.answer())
        }
        Call::Positions { .. } => {
            let page: Page<'_, PositionRow<'_>> = required(result)?;
            linear(page.category)?;
            page.list.iter().try_for_each(|row| decoder.position(row, source))?;
            Ok(page.answer())
        }
        Call::PositionMode { .. } => {
            let page: Page<'_, PositionRow<'_>> = required(result)?;
            // no row at all says nothing about the mode
            let legs = page.list.iter().map(|row| !matches!(row.position_idx.text(), b"0" | b""));
            legs.reduce(|any, leg| any || leg).map(Answer::Hedged).ok_or(DecodeError::Missing)
        }
        Call::Wallet => {
            let page: Page<'_, WalletRow<'_>> = required(result)?;
            page.list.iter().try_for_each(|row| decoder.wallet(row, ts, source))?;
            Ok(page.answer())
        }
        Call::KeyInfo => Ok(Answer::Key(key(&required(result)?)?)),
        Call::AccountInfo => {
            let row: AccountRow<'_> = required(result)?;
            Ok(Answer::Account(Account {
                margin_mode: string(row.margin_mode),
                unified: code(row.unified_margin_status)?,
            }))
        }
        Call::Settings => {
            let row: SettingsRow<'_> = required(result)?;
            match row.lpa_perp.text() {
                b"true" => Ok(Answer::Reprices(false)),
                b"false" => Ok(Answer::Reprices(true)),
                _ => Err(DecodeError::Missing),
            }
        }
        Call::CancelAll => {
            let answered: Answered<'_> = part(result)?;
            Ok(Answer::Cancelling(answered.list.len()))
        }
        Call::Order { .. } | Call::Reduce { .. } | Call::RejectOutsideBand | Call::ArmDisconnect { .. } => {
            Ok(Answer::Done)
        }
    }
}

/// A result that must be there: an empty answer to a question about open orders is not "no open orders".
pub(super) fn required<'a, T: Deserialize<'a>>(result: Option<&'a RawValue>) -> Result<T, DecodeError> {
    match result.map(RawValue::get) {
        None | Some("null" | "{}" | "\"\"") => Err(DecodeError::Missing),
        Some(text) => json(text.as_bytes()),
    }
}

fn linear(category: Scalar<'_>) -> Result<(), DecodeError> {
    matches!(category.text(), b"linear" | b"").then_some(()).ok_or(DecodeError::Contradiction)
}

pub(super) fn string(value: Scalar<'_>) -> String {
    String::from_utf8_lossy(value.text()).into_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TimeRow<'a> {
    #[serde(borrow)]
    time_nano: Scalar<'a>,
}

fn time(row: TimeRow<'_>) -> Result<Wall, DecodeError> {
    match row.time_nano.count()? {
        0 => Err(DecodeError::Missing),
        nanos => Ok(Wall::from_nanos(nanos)),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AccountRow<'a> {
    #[serde(borrow)]
    margin_mode: Scalar<'a>,
    unified_margin_status: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SettingsRow<'a> {
    /// `false`: a limit price outside the band is moved to it.
    #[serde(borrow)]
    lpa_perp: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FeeRow<'a> {
    #[serde(borrow)]
    symbol: Scalar<'a>,
    taker_fee_rate: Scalar<'a>,
    maker_fee_rate: Scalar<'a>,
}

fn fees(page: &Page<'_, FeeRow<'_>>) -> Result<Answer, DecodeError> {
    let fee = |row: &FeeRow<'_>| {
        Ok(Fee {
            symbol: Symbol::new(row.symbol.text()).ok_or(DecodeError::Id)?,
            taker: row.taker_fee_rate.exact()?,
            maker: row.maker_fee_rate.exact()?,
        })
    };
    page.list.iter().map(fee).collect::<Result<_, _>>().map(Answer::Fees)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KeyRow<'a> {
    #[serde(borrow)]
    read_only: Scalar<'a>,
    permissions: Permissions,
    ips: Vec<String>,
    deadline_day: Scalar<'a>,
    uta: Scalar<'a>,
    #[serde(rename = "userID")]
    user_id: Scalar<'a>,
    is_master: Scalar<'a>,
    kyc_level: Scalar<'a>,
    kyc_region: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Permissions {
    contract_trade: Vec<String>,
    wallet: Vec<String>,
}

fn key(row: &KeyRow<'_>) -> Result<KeyFacts, DecodeError> {
    let has = |list: &[String], word: &str| list.iter().any(|have| have == word);
    let days = core::str::from_utf8(row.deadline_day.text()).ok().and_then(|text| text.parse().ok());
    Ok(KeyFacts {
        user: row.user_id.count()?,
        // anything but a clear "may write" is read-only
        read_only: row.read_only.text() != b"0",
        trades: has(&row.permissions.contract_trade, "Order"),
        positions: has(&row.permissions.contract_trade, "Position"),
        withdraws: row.permissions.wallet.iter().any(|have| have.contains("Withdraw")),
        ips: row.ips.clone(),
        days_left: days.unwrap_or(0),
        kyc_level: string(row.kyc_level),
        kyc_region: string(row.kyc_region),
        unified: row.uta.text() == b"1",
        master: row.is_master.flag().is_set(),
    })
}

/// The id an order is looked up by; `None` when the call is not about one order.
impl Call {
    /// Which order it is about.
    #[must_use]
    pub const fn client(&self) -> Option<ClientId> {
        match self {
            Self::FindOrder { client, .. } | Self::FindClosed { client, .. } => Some(*client),
            Self::Order { order, .. } => Some(order.client),
            _ => None,
        }
    }
}

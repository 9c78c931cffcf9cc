//! Frames of the private and the trade WebSocket to execution facts.
//!
//! In: one text frame and when it came. Out: [`ExecEvent`]s through a sink, and what the frame was for the session. Never:
//! a fact of a frame that turns out unreadable further on: rows are decoded into a scratch, and only a frame read to
//! its end is handed over. Rows of other products, other instruments and other account types are counted and left out.
//!
//! ```text
//!  {"topic":"order"|"execution"|"position"|"wallet", "data":[row, ..]}      -> a fact a row
//!  {"topic":"execution.fast", ..}       no fee, no type: counted; the slow twin that follows is the fact
//!  {"reqId":"k..", "retCode":0, "op":"order.create", "data":{..}, "header":{..}}     -> Ack
//!  {"retCode":10005, "op":"order.create"}      without reqId           -> Ack of ClientId::NONE, never lost
//!  {"op":"auth"|"subscribe"|"ping"|"pong", ..}                         -> for the session
//! ```

mod rows;
mod scalar;
mod scan;

pub(crate) use rows::{ExecRow, OrderRow, PositionRow, WalletRow};
pub(crate) use scalar::Scalar;
use scan::{Scan, row};

use crate::encode::RequestId;
use keel_core::event::{Ack, Channel, ExecEvent, Flag, Op};
use keel_core::ids::{ClientId, InstrumentId, VenueId};
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Wall};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Facts one frame or one page may carry, the venue's largest page among them; a longer one is refused whole, and the
/// session starts over.
pub const MAX_FACTS: usize = 200;

/// Why a frame was refused. None of its facts was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Not JSON of the expected shape.
    Json,
    /// A number that is none, is not exact, or does not fit.
    Number,
    /// A side that is neither Buy nor Sell.
    Side,
    /// An id that is not short printable text.
    Id,
    /// A field no fact can do without is absent.
    Missing,
    /// Fields that cannot all be true.
    Contradiction,
    /// More rows than [`MAX_FACTS`].
    TooLong,
}

/// What a frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Facts, this many of them handed over.
    Facts(usize),
    /// The answer to `auth`: 0 is welcome.
    Auth(i32),
    /// The answer to `subscribe`: accepted or not.
    Subscribed(bool),
    /// The answer to a ping.
    Pong,
    /// Readable, and nothing for us.
    Other,
}

/// What was left out, and how often. Each is a number for a page, none is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Rows of spot, inverse or options.
    pub category: u64,
    /// Rows of instruments not in the table.
    pub instrument: u64,
    /// Position rows of hedge mode, which keel does not trade in.
    pub hedge: u64,
    /// Wallet rows of an account type other than UNIFIED.
    pub account: u64,
    /// Rows of `execution.fast`.
    pub fast: u64,
    /// Topics and ops we did not ask for.
    pub topic: u64,
}

/// Where bytes came from and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source {
    /// When they came in.
    pub recv: Mono,
    /// The same moment on the stopwatch.
    pub ticks: u64,
    /// Read from a query, not from the stream.
    pub queried: Flag,
}

/// Decodes the frames of one conversation.
#[derive(Clone, Debug)]
pub struct Decoder {
    instruments: Instruments,
    scratch: Vec<ExecEvent>,
    skipped: Skipped,
}

row! {
    /// What every frame has.
    Envelope {
        topic: "topic",
        op: "op",
        creation_time: "creationTime",
        success: "success",
        req_id: "reqId",
        ret_code: "retCode",
        data: "data",
        ret_ext_info: "retExtInfo",
        header: "header",
    }
}

row! {
    /// What the venue lets us ask.
    Limits {
        limit: "X-Bapi-Limit",
        remaining: "X-Bapi-Limit-Status",
        reset: "X-Bapi-Limit-Reset-Timestamp",
        now: "Timenow",
    }
}

row! {
    /// `data` of the answer to one request.
    AnsweredOne {
        order_id: "orderId",
        order_link_id: "orderLinkId",
    }
}

/// `data` of an answer read by serde: of one request, or a list of a batch.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Answered<'a> {
    #[serde(borrow)]
    pub(crate) order_id: Scalar<'a>,
    pub(crate) order_link_id: Scalar<'a>,
    pub(crate) list: Vec<AnsweredItem<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AnsweredItem<'a> {
    #[serde(borrow)]
    pub(crate) order_id: Scalar<'a>,
    pub(crate) order_link_id: Scalar<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdicts<'a> {
    #[serde(borrow)]
    list: Vec<Verdict<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verdict<'a> {
    #[serde(borrow)]
    code: Scalar<'a>,
}

pub(crate) fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(bytes).map_err(|_| DecodeError::Json)
}

/// A part of a frame that may be absent or null.
pub(crate) fn part<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> Result<T, DecodeError> {
    match raw.map(RawValue::get) {
        None | Some("null" | "\"\"") => Ok(T::default()),
        Some(text) => json(text.as_bytes()),
    }
}

impl Decoder {
    /// Takes all of its memory here.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        Self { instruments: instruments.clone(), scratch: Vec::with_capacity(MAX_FACTS), skipped: Skipped::default() }
    }

    /// What was left out so far.
    #[must_use]
    pub const fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// One frame of the private or the trade WebSocket.
    pub fn frame(
        &mut self,
        bytes: &[u8],
        source: Source,
        sink: &mut impl FnMut(ExecEvent),
    ) -> Result<Seen, DecodeError> {
        self.scratch.clear();
        let text = core::str::from_utf8(bytes).map_err(|_| DecodeError::Json)?;
        let mut scan = Scan::new(text);
        let envelope = Envelope::read(&mut scan)?;
        scan.end()?;
        let seen = match envelope.topic.text() {
            b"" => self.answer(&envelope, source)?,
            topic => self.topic(topic, &envelope, source)?,
        };
        self.scratch.drain(..).for_each(sink);
        Ok(seen)
    }

    fn topic(&mut self, topic: &[u8], envelope: &Envelope<'_>, source: Source) -> Result<Seen, DecodeError> {
        match topic.strip_suffix(b".linear").unwrap_or(topic) {
            b"order" => rows(envelope.data, |scan| self.order(&OrderRow::read(scan)?, source))?,
            b"execution" => rows(envelope.data, |scan| self.execution(&ExecRow::read(scan)?, source))?,
            b"position" => rows(envelope.data, |scan| self.position(&PositionRow::read(scan)?, source))?,
            b"wallet" => {
                let ts = envelope.creation_time.wall()?;
                rows(envelope.data, |scan| self.wallet(&WalletRow::read(scan)?, ts, source))?;
            }
            b"execution.fast" => self.skipped.fast += 1,
            _ => {
                self.skipped.topic += 1;
                return Ok(Seen::Other);
            }
        }
        Ok(Seen::Facts(self.scratch.len()))
    }

    pub(crate) fn order(&mut self, row: &OrderRow<'_>, source: Source) -> Result<(), DecodeError> {
        match self.instrument(row.category, row.symbol) {
            Some(id) => row.fact(id, source).and_then(|fact| self.keep(ExecEvent::Order(fact))),
            None => Ok(()),
        }
    }

    pub(crate) fn execution(&mut self, row: &ExecRow<'_>, source: Source) -> Result<(), DecodeError> {
        match self.instrument(row.category, row.symbol) {
            Some(id) => row.fact(id, source).and_then(|fact| self.keep(ExecEvent::Fill(fact))),
            None => Ok(()),
        }
    }

    pub(crate) fn position(&mut self, row: &PositionRow<'_>, source: Source) -> Result<(), DecodeError> {
        let Some(id) = self.instrument(row.category, row.symbol) else { return Ok(()) };
        if !matches!(row.position_idx.text(), b"0" | b"") {
            self.skipped.hedge += 1;
            return Ok(());
        }
        row.fact(id, source).and_then(|fact| self.keep(ExecEvent::Position(fact)))
    }

    pub(crate) fn wallet(&mut self, row: &WalletRow<'_>, ts: Wall, source: Source) -> Result<(), DecodeError> {
        if row.account_type.text() != b"UNIFIED" {
            self.skipped.account += 1;
            return Ok(());
        }
        match row.fact(ts, source)? {
            Some(fact) => self.keep(ExecEvent::Wallet(fact)),
            None => Ok(()),
        }
    }

    /// Rows of a query carry their category once, beside the list: an absent one is ours.
    fn instrument(&mut self, category: Scalar<'_>, symbol: Scalar<'_>) -> Option<InstrumentId> {
        if !matches!(category.text(), b"linear" | b"") {
            self.skipped.category += 1;
            return None;
        }
        let row = self.instruments.by_symbol(symbol.text());
        if row.is_none() {
            self.skipped.instrument += 1;
        }
        row.map(|row| row.id)
    }

    pub(crate) fn keep(&mut self, fact: ExecEvent) -> Result<(), DecodeError> {
        if self.scratch.len() == MAX_FACTS {
            return Err(DecodeError::TooLong);
        }
        self.scratch.push(fact);
        Ok(())
    }

    /// Forgets what an unfinished reading left behind.
    pub(crate) fn begin(&mut self) {
        self.scratch.clear();
    }

    /// Hands over what was kept.
    pub(crate) fn hand_over(&mut self, sink: &mut impl FnMut(ExecEvent)) -> usize {
        let count = self.scratch.len();
        self.scratch.drain(..).for_each(sink);
        count
    }

    fn answer(&mut self, envelope: &Envelope<'_>, source: Source) -> Result<Seen, DecodeError> {
        let welcome = envelope.success.text() == b"true";
        let (op, batch) = match envelope.op.text() {
            b"auth" if envelope.ret_code.text().is_empty() => return Ok(Seen::Auth(if welcome { 0 } else { -1 })),
            b"auth" => return code(envelope.ret_code).map(Seen::Auth),
            b"subscribe" => return Ok(Seen::Subscribed(welcome)),
            b"pong" | b"ping" => return Ok(Seen::Pong),
            b"order.create" => (Op::New, false),
            b"order.amend" => (Op::Amend, false),
            b"order.cancel" => (Op::Cancel, false),
            b"order.create-batch" => (Op::New, true),
            b"order.amend-batch" => (Op::Amend, true),
            b"order.cancel-batch" => (Op::Cancel, true),
            _ => {
                self.skipped.topic += 1;
                return Ok(Seen::Other);
            }
        };
        let limits = envelope.header.part().map_or(Ok(Limits::default()), |text| Limits::read(&mut Scan::new(text)))?;
        let ack = Ack {
            recv: source.recv,
            ticks: source.ticks,
            ts: limits.now.wall()?,
            limit_reset: limits.reset.wall()?,
            code: code(envelope.ret_code)?,
            limit: small(limits.limit)?,
            remaining: small(limits.remaining)?,
            op,
            channel: Channel::Trade,
            batch: Flag::from(batch),
            ..Ack::default()
        };
        if batch {
            return self.batch(envelope, ack);
        }
        let data =
            envelope.data.part().map_or(Ok(AnsweredOne::default()), |text| AnsweredOne::read(&mut Scan::new(text)))?;
        let asked = RequestId::parse(envelope.req_id.text());
        let client = asked.map(|id| id.client).or_else(|| ClientId::from_link(data.order_link_id.text()));
        let venue = VenueId::new(data.order_id.text()).ok_or(DecodeError::Id)?;
        self.keep(ExecEvent::Ack(Ack { client: client.unwrap_or(ClientId::NONE), venue, ..ack }))?;
        Ok(Seen::Facts(1))
    }

    /// Items of a batch fail one by one; a batch refused whole has no items.
    fn batch(&mut self, envelope: &Envelope<'_>, ack: Ack) -> Result<Seen, DecodeError> {
        let data: Answered<'_> = envelope.data.part().map_or(Ok(Answered::default()), |text| json(text.as_bytes()))?;
        let verdicts = envelope.ret_ext_info.part().map_or(Ok(Verdicts::default()), |text| json(text.as_bytes()))?;
        if data.list.is_empty() {
            self.keep(ExecEvent::Ack(ack))?;
        }
        for (at, item) in data.list.iter().enumerate() {
            let code = match verdicts.list.get(at) {
                Some(verdict) => code(verdict.code)?,
                None => ack.code,
            };
            let client = ClientId::from_link(item.order_link_id.text()).unwrap_or(ClientId::NONE);
            let venue = VenueId::new(item.order_id.text()).ok_or(DecodeError::Id)?;
            self.keep(ExecEvent::Ack(Ack { client, venue, code, ..ack }))?;
        }
        Ok(Seen::Facts(self.scratch.len()))
    }
}

/// Each row of what a frame carries.
fn rows<'a>(data: Scalar<'a>, row: impl FnMut(&mut Scan<'a>) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
    data.part().map_or(Ok(()), |text| Scan::new(text).array(row))
}

pub(crate) fn code(value: Scalar<'_>) -> Result<i32, DecodeError> {
    match value.text() {
        b"" => Err(DecodeError::Missing),
        text => core::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(DecodeError::Number),
    }
}

fn small(value: Scalar<'_>) -> Result<u32, DecodeError> {
    u32::try_from(value.count()?).map_err(|_| DecodeError::Number)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::EXAMPLES;

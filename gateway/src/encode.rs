//! Recorded orders to the frames of the trade WebSocket.
//!
//! In: `Recorded<Approved>` and the time. Out: one frame in the caller's buffer. Never: an order without both stamps,
//! an allocation, a format string, a number that is not exactly the order's.
//!
//! Everything that is known at the start is one block of bytes per instrument and request. An order is that block,
//! copied once, with three fields of fixed width patched and a short tail written behind it:
//!
//! ```text
//!  {"reqId":"k0000001a-000000ffn0000001a00000007","header":{"X-BAPI-TIMESTAMP":"1900000001000", ...   one copy
//!            ^ ID: whose, what, which try           patched ^ TIME: the last moment
//!  "symbol":"BTCUSDT","positionIdx":0,"smpType":"CancelMaker","orderLinkId":"k0000001a-000000ff"
//!                                                                 patched ^ LINK
//!  ,"side":"Buy","orderType":"Limit","timeInForce":"PostOnly","reduceOnly":false,"qty":"10","price":"20.05"}]}   tail
//! ```
//!
//! An order built by hand does not compile:
//!
//! ```compile_fail
//! use keel_gateway::encode::{Encoder, MAX_FRAME};
//! fn sneak(encoder: &mut Encoder, order: &keel_core::event::Order) {
//!     let _ = encoder.encode(Default::default(), order, &mut [0; MAX_FRAME]);
//! }
//! ```

use crate::sign::RECV_WINDOW_MS;
use crate::text::{Cursor, digits_into, hex_into};
use core::ops::Range;
use keel_core::event::{Op, Order, OrderKind, Side, TimeInForce};
use keel_core::ids::ClientId;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Px, Qty, Wall};
use keel_journal::Recorded;
use keel_risk::Approved;

/// Room for the longest frame, asserted for every template when it is built.
pub const MAX_FRAME: usize = 512;

/// Why an order has no frame. Nothing was written that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// Its instrument is not in the table.
    UnknownInstrument,
    /// It has no id.
    NoClient,
    /// Its price is not positive.
    Price,
    /// Its quantity is not positive.
    Qty,
    /// The wall clock is not a time of this era: 13 digits of milliseconds.
    Clock,
}

/// Which own order gives way when two of ours would meet. Only the incoming order's word counts at the venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SelfMatch {
    /// The resting one is cancelled.
    #[default]
    CancelMaker,
    /// The incoming one is cancelled.
    CancelTaker,
    /// Both are.
    CancelBoth,
}

impl SelfMatch {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::CancelMaker => "CancelMaker",
            Self::CancelTaker => "CancelTaker",
            Self::CancelBoth => "CancelBoth",
        }
    }
}

/// Templates for every instrument, and the counter that makes each request id unique.
#[derive(Clone, Debug)]
pub struct Encoder {
    rows: Vec<[Template; 3]>,
    tries: u64,
}

impl Encoder {
    /// Builds the templates. `run` keeps request ids unique across restarts.
    #[must_use]
    pub fn new(instruments: &Instruments, self_match: SelfMatch, run: u32) -> Self {
        let ops = [Op::New, Op::Amend, Op::Cancel];
        let rows = instruments.rows().iter().map(|row| ops.map(|op| Template::new(row, op, self_match)));
        Self { rows: rows.collect(), tries: u64::from(run) << 32 }
    }

    /// Writes the frame that asks the venue for `order`; returns its length.
    pub fn encode(
        &mut self,
        now: Wall,
        order: &Recorded<Approved>,
        out: &mut [u8; MAX_FRAME],
    ) -> Result<usize, EncodeError> {
        self.encode_order(now, order.what().as_ref(), out)
    }

    pub(crate) fn encode_order(
        &mut self,
        now: Wall,
        order: &Order,
        out: &mut [u8; MAX_FRAME],
    ) -> Result<usize, EncodeError> {
        let len = self.write(now, order, self.tries + 1, out)?;
        self.tries += 1;
        Ok(len)
    }

    /// Writes a frame nobody sends: see [`keel_core::engine::Engine::rehearse`].
    pub(crate) fn rehearse(&self, now: Wall, order: &Order, out: &mut [u8; MAX_FRAME]) {
        core::hint::black_box(self.write(now, order, 0, out).is_ok());
    }

    fn write(&self, now: Wall, order: &Order, attempt: u64, out: &mut [u8; MAX_FRAME]) -> Result<usize, EncodeError> {
        let templates = self.rows.get(order.instrument.index()).ok_or(EncodeError::UnknownInstrument)?;
        check(order)?;
        let template = &templates[template_index(order.op)];
        let mut frame = Cursor::new(out);
        frame.put(&template.head);
        match order.op {
            Op::New => write_new(&mut frame, order),
            Op::Amend => write_change(&mut frame, order),
            Op::Cancel => {}
        }
        frame.put(b"}]}");
        let len = frame.len();
        digits_into(&mut out[TIME], now.millis()).ok_or(EncodeError::Clock)?;
        let link = order.client.link();
        out[template.link..][..ClientId::LINK_LEN].copy_from_slice(&link);
        RequestId { client: order.client, op: order.op, attempt }.write(&mut out[ID]);
        Ok(len)
    }
}

pub(crate) const fn template_index(op: Op) -> usize {
    match op {
        Op::New => 0,
        Op::Amend => 1,
        Op::Cancel => 2,
    }
}

pub(crate) fn check(order: &Order) -> Result<(), EncodeError> {
    if order.client == ClientId::NONE {
        return Err(EncodeError::NoClient);
    }
    if order.op == Op::Cancel {
        return Ok(());
    }
    if order.qty <= Qty::ZERO {
        return Err(EncodeError::Qty);
    }
    if order.px <= Px::ZERO && order.kind == OrderKind::Limit {
        return Err(EncodeError::Price);
    }
    Ok(())
}

pub(crate) fn write_new(frame: &mut Cursor<'_>, order: &Order) {
    frame.put(match order.side {
        Side::Buy => br#","side":"Buy""#.as_slice(),
        Side::Sell => br#","side":"Sell""#,
    });
    frame.put(match order.kind {
        OrderKind::Limit => br#","orderType":"Limit""#.as_slice(),
        OrderKind::Market => br#","orderType":"Market""#,
    });
    frame.put(match order.tif {
        TimeInForce::Gtc => br#","timeInForce":"GTC""#.as_slice(),
        TimeInForce::Ioc => br#","timeInForce":"IOC""#,
        TimeInForce::Fok => br#","timeInForce":"FOK""#,
        TimeInForce::PostOnly => br#","timeInForce":"PostOnly""#,
    });
    frame.put(match order.reduce_only.is_set() {
        true => br#","reduceOnly":true"#.as_slice(),
        false => br#","reduceOnly":false"#,
    });
    match order.kind {
        OrderKind::Limit => write_change(frame, order),
        OrderKind::Market => write_qty(frame, order),
    }
}

pub(crate) fn write_change(frame: &mut Cursor<'_>, order: &Order) {
    write_qty(frame, order);
    frame.put(br#","price":""#);
    frame.decimal(order.px.raw());
    frame.put(b"\"");
}

fn write_qty(frame: &mut Cursor<'_>, order: &Order) {
    frame.put(br#","qty":""#);
    frame.decimal(order.qty.raw());
    frame.put(b"\"");
}

const ID: Range<usize> = 10..10 + RequestId::LEN;
const TIME: Range<usize> = 77..90;

/// The longest tail: every word at its longest and two decimals of 20 characters.
const MAX_TAIL: usize = r#","side":"Sell","orderType":"Market","timeInForce":"PostOnly","reduceOnly":false"#.len()
    + r#","qty":"","price":""}]}"#.len()
    + 2 * 20;

/// What is the same for every order of one kind on one instrument.
#[derive(Clone, Debug)]
struct Template {
    head: Box<[u8]>,
    link: usize,
}

impl Template {
    fn new(instrument: &Instrument, op: Op, self_match: SelfMatch) -> Self {
        let blank_id = "0".repeat(RequestId::LEN);
        let word = match op {
            Op::New => "create",
            Op::Amend => "amend",
            Op::Cancel => "cancel",
        };
        let symbol = instrument.symbol.as_str();
        let mut head = format!(
            r#"{{"reqId":"{blank_id}","header":{{"X-BAPI-TIMESTAMP":"{:013}","X-BAPI-RECV-WINDOW":"{RECV_WINDOW_MS}"}},"op":"order.{word}","args":[{{"category":"linear","symbol":"{symbol}""#,
            0
        );
        if op == Op::New {
            head.push_str(&format!(r#","positionIdx":0,"smpType":"{}""#, self_match.word()));
        }
        head.push_str(r#","orderLinkId":""#);
        let link = head.len();
        head.push_str("k00000000-00000000\"");
        assert!(head[ID] == blank_id && head[TIME] == *"0000000000000", "the patched fields moved");
        assert!(head.len() + MAX_TAIL <= MAX_FRAME, "a frame may outgrow its buffer");
        Self { head: head.into_bytes().into_boxed_slice(), link }
    }
}

/// The venue's `reqId`: it comes back with the answer and says whose, what, and which try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// Which order.
    pub client: ClientId,
    /// What was asked.
    pub op: Op,
    /// Unique per request, also across runs: the venue refuses an id it has seen.
    pub attempt: u64,
}

impl RequestId {
    /// Length of its text; the venue takes up to 36.
    pub const LEN: usize = ClientId::LINK_LEN + 1 + 16;

    /// Its text into exactly [`Self::LEN`] bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let (link, rest) = out.split_at_mut(ClientId::LINK_LEN);
        link.copy_from_slice(&self.client.link());
        rest[0] = match self.op {
            Op::New => b'n',
            Op::Amend => b'a',
            Op::Cancel => b'c',
        };
        hex_into(&mut rest[1..], self.attempt);
    }

    /// The inverse; `None` for anything we did not write.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LEN {
            return None;
        }
        let (link, rest) = text.split_at(ClientId::LINK_LEN);
        let op = match rest[0] {
            b'n' => Op::New,
            b'a' => Op::Amend,
            b'c' => Op::Cancel,
            _ => return None,
        };
        let digits = rest[1..].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let attempt = core::str::from_utf8(&rest[1..]).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok())?;
        digits.then_some(Self { client: ClientId::from_link(link)?, op, attempt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{instruments, now};
    use keel_core::event::Flag;
    use keel_core::ids::InstrumentId;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// The slow twin: the same frame as a person would build it.
    fn naive(order: &Order, symbol: &str, now: Wall, req_id: &str) -> Value {
        let link = order.client.to_string();
        let mut body = json!({"category": "linear", "symbol": symbol, "orderLinkId": link});
        let word = match order.op {
            Op::New => "create",
            Op::Amend => "amend",
            Op::Cancel => "cancel",
        };
        if order.op == Op::New {
            body["positionIdx"] = json!(0);
            body["smpType"] = json!("CancelMaker");
            body["side"] = json!(format!("{:?}", order.side));
            body["orderType"] = json!(format!("{:?}", order.kind));
            body["reduceOnly"] = json!(order.reduce_only.is_set());
            body["timeInForce"] = json!(["", "GTC", "IOC", "FOK", "PostOnly"][order.tif as usize]);
        }
        if order.op != Op::Cancel {
            body["qty"] = json!(order.qty.to_string());
            if order.kind == OrderKind::Limit || order.op == Op::Amend {
                body["price"] = json!(order.px.to_string());
            }
        }
        json!({
            "reqId": req_id,
            "header": {"X-BAPI-TIMESTAMP": now.millis().to_string(), "X-BAPI-RECV-WINDOW": "5000"},
            "op": format!("order.{word}"),
            "args": [body],
        })
    }

    fn orders() -> impl Strategy<Value = Order> {
        let words = (0usize..3, 0usize..2, 0usize..2, 0usize..4, any::<bool>(), 0u16..2);
        (words, 1..=Px::MAX.raw(), 1..=Qty::MAX.raw(), 1u32.., 1u32..).prop_map(|(words, px, qty, run, count)| {
            let (op, side, kind, tif, reduce, instrument) = words;
            Order {
                client: ClientId::new(run, count),
                px: Px::from_raw(px),
                qty: Qty::from_raw(qty),
                instrument: InstrumentId(instrument),
                op: [Op::New, Op::Amend, Op::Cancel][op],
                side: [Side::Buy, Side::Sell][side],
                kind: [OrderKind::Limit, OrderKind::Market][kind],
                tif: [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::PostOnly][tif],
                reduce_only: Flag::from(reduce),
                ..Order::default()
            }
        })
    }

    proptest! {
        #[test]
        fn equals_the_naive_twin(orders in prop::collection::vec(orders(), 1..20), millis in 1_000_000_000_000u64..10_000_000_000_000) {
            let table = instruments();
            let mut encoder = Encoder::new(&table, SelfMatch::CancelMaker, 7);
            let mut out = [0u8; MAX_FRAME];
            for (at, order) in orders.iter().enumerate() {
                let now = Wall::from_millis(millis);
                let len = encoder.encode_order(now, order, &mut out).unwrap();
                let have: Value = serde_json::from_slice(&out[..len]).unwrap();
                let id = RequestId { client: order.client, op: order.op, attempt: (7 << 32) + at as u64 + 1 };
                prop_assert_eq!(RequestId::parse(have["reqId"].as_str().unwrap().as_bytes()), Some(id));
                let symbol = table.get(order.instrument).unwrap().symbol;
                prop_assert_eq!(&have, &naive(order, symbol.as_str(), now, have["reqId"].as_str().unwrap()));
                prop_assert!(!out[..len].contains(&b' '), "compact");
            }
        }

        #[test]
        fn request_ids_of_strangers_are_refused(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let parsed = RequestId::parse(&text);
            let mut back = [0u8; RequestId::LEN];
            if let Some(id) = parsed {
                id.write(&mut back);
                prop_assert_eq!(&back[..], &text[..]);
            }
        }
    }

    #[test]
    fn an_order_that_cannot_be_said_is_refused_by_name() {
        let good = Order { client: ClientId::new(1, 1), px: Px::whole(1), qty: Qty::whole(1), ..Order::default() };
        let rows: [(Order, Wall, EncodeError); 6] = [
            (Order { instrument: InstrumentId(9), ..good }, now().wall, EncodeError::UnknownInstrument),
            (Order { client: ClientId::NONE, ..good }, now().wall, EncodeError::NoClient),
            (Order { px: Px::ZERO, ..good }, now().wall, EncodeError::Price),
            (Order { qty: Qty::whole(-1), ..good }, now().wall, EncodeError::Qty),
            (good, Wall::from_millis(999_999_999_999), EncodeError::Clock),
            (good, Wall::from_millis(10_000_000_000_000), EncodeError::Clock),
        ];
        let mut encoder = Encoder::new(&instruments(), SelfMatch::CancelMaker, 1);
        for (order, at, why) in rows {
            assert_eq!(encoder.encode_order(at, &order, &mut [0; MAX_FRAME]), Err(why));
        }
    }
}

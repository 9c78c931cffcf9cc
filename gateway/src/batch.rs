//! Several recorded orders of one kind in one frame of the trade WebSocket.
//!
//! In: `Recorded<Approved>` orders, all new, all amends or all cancels, and the time. Out: one frame. Never: an order
//! without both stamps, an allocation, a frame for some of them when one cannot be said.
//!
//! ```text
//!  {"reqId":"..","header":{..},"op":"order.cancel-batch","args":[{"category":"linear","request":[
//!     {"symbol":"BTCUSDT","orderLinkId":"k0000001a-000000ff"} , {..} , ..  ]}]}       one block copied an order
//! ```
//!
//! The venue counts a batch per order, on quotas of their own beside those of single requests: a sweep that uses both
//! ends twice as many orders a second.

use crate::encode::{EncodeError, RequestId, SelfMatch, check, template_index, write_change, write_new};
use crate::sign::RECV_WINDOW_MS;
use crate::text::{Cursor, digits_into};
use core::ops::Range;
use keel_core::event::{Op, Order};
use keel_core::ids::ClientId;
use keel_core::instrument::Instruments;
use keel_core::units::Wall;

/// Orders one frame may carry: the smaller of the two numbers the venue's pages give.
pub const MAX_BATCH: usize = 10;
/// Room for the longest frame, asserted for every template when it is built.
pub const MAX_BATCH_FRAME: usize = 4096;
/// Attempts of batches count from here, so that no request id is one of a single request.
const ATTEMPTS: u64 = 1 << 31;

const ID: Range<usize> = 10..10 + RequestId::LEN;
const TIME: Range<usize> = 77..90;
/// The longest tail of an item: every word at its longest and two decimals of 20 characters.
const MAX_TAIL: usize = 160;

#[derive(Clone, Debug)]
struct Item {
    text: Box<[u8]>,
    link: usize,
}

/// Templates for every instrument and kind.
#[derive(Clone, Debug)]
pub struct BatchEncoder {
    heads: [Box<[u8]>; 3],
    items: Vec<[Item; 3]>,
    tries: u64,
}

impl BatchEncoder {
    /// Builds the templates. `run` keeps request ids unique across restarts.
    #[must_use]
    pub fn new(instruments: &Instruments, self_match: SelfMatch, run: u32) -> Self {
        let heads = ["create", "amend", "cancel"].map(head);
        let items = instruments.rows().iter().map(|row| {
            [Op::New, Op::Amend, Op::Cancel].map(|op| {
                let mut text = format!(r#"{{"symbol":"{}""#, row.symbol);
                if op == Op::New {
                    text.push_str(&format!(r#","positionIdx":0,"smpType":"{}""#, self_match.word()));
                }
                text.push_str(r#","orderLinkId":""#);
                let link = text.len();
                text.push_str("k00000000-00000000\"");
                let longest = heads[0].len() + MAX_BATCH * (text.len() + MAX_TAIL);
                assert!(longest <= MAX_BATCH_FRAME, "a batch may outgrow its buffer");
                Item { text: text.into_bytes().into_boxed_slice(), link }
            })
        });
        Self { items: items.collect(), heads, tries: u64::from(run) << 32 | ATTEMPTS }
    }

    /// Writes the frame that asks for all of `orders`, which are of one kind and at most [`MAX_BATCH`]; returns its length.
    pub(crate) fn encode<'a>(
        &mut self,
        now: Wall,
        orders: impl ExactSizeIterator<Item = &'a Order> + Clone,
        out: &mut [u8; MAX_BATCH_FRAME],
    ) -> Result<usize, EncodeError> {
        let first = *orders.clone().next().ok_or(EncodeError::NoClient)?;
        assert!(orders.len() <= MAX_BATCH && orders.clone().all(|order| order.op == first.op), "one kind, one frame");
        for order in orders.clone() {
            check(order)?;
        }
        let at = template_index(first.op);
        let mut frame = Cursor::new(out);
        frame.put(&self.heads[at]);
        let mut links = [(0, ClientId::NONE); MAX_BATCH];
        for ((order, slot), nth) in orders.zip(&mut links).zip(0..) {
            let item = &self.items.get(order.instrument.index()).ok_or(EncodeError::UnknownInstrument)?[at];
            if nth > 0 {
                frame.put(b",");
            }
            *slot = (frame.len() + item.link, order.client);
            frame.put(&item.text);
            match order.op {
                Op::New => write_new(&mut frame, order),
                Op::Amend => write_change(&mut frame, order),
                Op::Cancel => {}
            }
            frame.put(b"}");
        }
        frame.put(b"]}]}");
        let len = frame.len();
        digits_into(&mut out[TIME], now.millis()).ok_or(EncodeError::Clock)?;
        for (link, client) in links.into_iter().filter(|(link, _)| *link > 0) {
            out[link..][..ClientId::LINK_LEN].copy_from_slice(&client.link());
        }
        self.tries += 1;
        RequestId { client: first.client, op: first.op, attempt: self.tries }.write(&mut out[ID]);
        Ok(len)
    }
}

fn head(word: &str) -> Box<[u8]> {
    let blank_id = "0".repeat(RequestId::LEN);
    let head = format!(
        r#"{{"reqId":"{blank_id}","header":{{"X-BAPI-TIMESTAMP":"{:013}","X-BAPI-RECV-WINDOW":"{RECV_WINDOW_MS}"}},"op":"order.{word}-batch","args":[{{"category":"linear","request":["#,
        0
    );
    assert!(head[ID] == blank_id && head[TIME] == *"0000000000000", "the patched fields moved");
    head.into_bytes().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Encoder, MAX_FRAME};
    use crate::testing::{instruments, now};
    use keel_core::event::{Flag, OrderKind, Side, TimeInForce};
    use keel_core::ids::InstrumentId;
    use keel_core::units::{Px, Qty};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn orders() -> impl Strategy<Value = Vec<Order>> {
        let one = (0u16..2, 1..=Px::MAX.raw(), 1..=Qty::MAX.raw(), 1u32.., any::<[bool; 3]>());
        (0usize..3, prop::collection::vec(one, 1..=MAX_BATCH)).prop_map(|(op, rows)| {
            let order = |(instrument, px, qty, count, [sell, ioc, reduce]): (u16, i64, i64, u32, [bool; 3])| Order {
                client: ClientId::new(7, count),
                px: Px::from_raw(px),
                qty: Qty::from_raw(qty),
                instrument: InstrumentId(instrument),
                op: [Op::New, Op::Amend, Op::Cancel][op],
                side: if sell { Side::Sell } else { Side::Buy },
                kind: OrderKind::Limit,
                tif: if ioc { TimeInForce::Ioc } else { TimeInForce::PostOnly },
                reduce_only: Flag::from(reduce),
                ..Order::default()
            };
            rows.into_iter().map(order).collect()
        })
    }

    proptest! {
        /// The slow twin: what the single requests would say, in a list.
        #[test]
        fn a_batch_says_of_each_order_what_a_single_request_would(orders in orders()) {
            let (table, at) = (instruments(), now().wall);
            let mut out = [0u8; MAX_BATCH_FRAME];
            let len = BatchEncoder::new(&table, SelfMatch::CancelMaker, 7).encode(at, orders.iter(), &mut out).unwrap();
            let frame: Value = serde_json::from_slice(&out[..len]).unwrap();
            let mut single = Encoder::new(&table, SelfMatch::CancelMaker, 7);
            let bodies: Vec<Value> = orders.iter().map(|order| {
                let mut out = [0u8; MAX_FRAME];
                let len = single.encode_order(at, order, &mut out).unwrap();
                let mut body = serde_json::from_slice::<Value>(&out[..len]).unwrap()["args"][0].clone();
                body.as_object_mut().unwrap().remove("category");
                body
            }).collect();
            let word = ["create", "amend", "cancel"][template_index(orders[0].op)];
            prop_assert_eq!(&frame["op"], &json!(format!("order.{word}-batch")));
            prop_assert_eq!(&frame["args"], &json!([{"category": "linear", "request": bodies}]));
            prop_assert_eq!(&frame["header"]["X-BAPI-TIMESTAMP"], &json!(at.millis().to_string()));
            let id = RequestId::parse(frame["reqId"].as_str().unwrap().as_bytes()).unwrap();
            prop_assert_eq!((id.client, id.attempt), (orders[0].client, (7 << 32) + ATTEMPTS + 1));
        }
    }

    #[test]
    fn one_order_that_cannot_be_said_stops_the_frame() {
        let mut encoder = BatchEncoder::new(&instruments(), SelfMatch::CancelMaker, 1);
        let good = Order { client: ClientId::new(1, 1), op: Op::Cancel, ..Order::default() };
        let mut out = [0u8; MAX_BATCH_FRAME];
        for (bad, why) in [
            (Order { client: ClientId::NONE, ..good }, EncodeError::NoClient),
            (Order { instrument: InstrumentId(9), ..good }, EncodeError::UnknownInstrument),
        ] {
            assert_eq!(encoder.encode(now().wall, [good, bad].iter(), &mut out), Err(why));
        }
        assert_eq!(encoder.encode(now().wall, [].iter(), &mut out), Err(EncodeError::NoClient));
    }
}

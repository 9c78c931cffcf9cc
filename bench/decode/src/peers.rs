//! Parsers and engines people use, called as their authors call them.
//!
//! The typed parsers borrow every price and quantity as text: none of them has parsed a number of a level yet. barter
//! checks the sequence; nautilus does not. simd-json needs a mutable copy, which is part of its cost.

use crate::{Contestant, End, contestant};
use serde::Deserialize;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[allow(dead_code, reason = "parsed as users parse it, not read")]
    topic: &'a str,
    #[serde(rename = "type")]
    #[allow(dead_code, reason = "parsed as users parse it, not read")]
    kind: &'a str,
    ts: u64,
    #[serde(borrow)]
    data: Data<'a>,
    cts: u64,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[allow(dead_code, reason = "parsed as users parse it, not read")]
    s: &'a str,
    #[serde(borrow)]
    b: Vec<[&'a str; 2]>,
    #[serde(borrow)]
    a: Vec<[&'a str; 2]>,
    u: u64,
    seq: u64,
}

impl Envelope<'_> {
    fn digest(&self) -> u64 {
        let Data { b, a, u, seq, .. } = &self.data;
        u.wrapping_add(*seq).wrapping_add(self.ts ^ self.cts).wrapping_add((b.len() + a.len()) as u64)
    }
}

fn fold(messages: &[Vec<u8>], mut one: impl FnMut(&[u8]) -> u64) -> End {
    End::Digest(messages.iter().fold(0, |sum: u64, message| sum.wrapping_add(one(message))))
}

pub fn all() -> Vec<Contestant> {
    let mut copy = Vec::with_capacity(1 << 16);
    let mut buffers = simd_json::Buffers::new(1 << 16);
    #[allow(unused_mut, reason = "the peers behind features are pushed onto it")]
    let mut all = vec![
        contestant("serde_json typed", "borrowed text, no numbers of levels", |messages| {
            fold(messages, |message| serde_json::from_slice::<Envelope<'_>>(message).expect("JSON").digest())
        }),
        contestant("sonic-rs typed", "borrowed text, no numbers of levels", |messages| {
            fold(messages, |message| sonic_rs::from_slice::<Envelope<'_>>(message).expect("JSON").digest())
        }),
        contestant("simd-json typed", "borrowed text, no numbers of levels", move |messages| {
            fold(messages, |message| {
                copy.clear();
                copy.extend_from_slice(message);
                let envelope: Envelope<'_> =
                    simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("JSON");
                envelope.digest()
            })
        }),
    ];
    #[cfg(feature = "barter")]
    all.push(contestant("barter-data", "decode, gap check, apply", barter::round));
    #[cfg(feature = "nautilus")]
    {
        all.push(contestant("nautilus production", "decode, apply, no gap check", |m| nautilus::round(m, false)));
        all.push(contestant("nautilus typed", "decode, apply, no gap check", |m| nautilus::round(m, true)));
    }
    all
}

#[cfg(feature = "barter")]
mod barter {
    use crate::End;
    use barter_data::Identifier;
    use barter_data::books::OrderBook;
    use barter_data::exchange::bybit::book::BybitOrderBookMessage;
    use barter_data::exchange::bybit::book::l2::BybitOrderBooksL2Transformer;
    use barter_data::exchange::bybit::futures::BybitPerpetualsUsd;
    use barter_data::subscription::Map;
    use barter_data::subscription::book::OrderBooksL2;
    use barter_data::transformer::ExchangeTransformer;
    use barter_integration::Transformer;

    pub fn round(messages: &[Vec<u8>]) -> End {
        let first: BybitOrderBookMessage = serde_json::from_slice(&messages[0]).expect("JSON");
        let map: Map<u32> = [(first.id().expect("an id"), 0u32)].into_iter().collect();
        let (tx, _rx) = tokio::sync::mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let init =
            <BybitOrderBooksL2Transformer<u32> as ExchangeTransformer<BybitPerpetualsUsd, u32, OrderBooksL2>>::init(
                map,
                &[],
                tx,
            );
        let mut transformer = runtime.block_on(init).expect("a transformer");
        let mut book = OrderBook::default();
        for message in messages {
            let message: BybitOrderBookMessage = serde_json::from_slice(message).expect("JSON");
            for event in transformer.transform(message) {
                book.update(&event.expect("in sequence").kind);
            }
        }
        End::Book(Box::new(move || {
            let raw = |text: String| keel_core::units::parse_decimal(text.as_bytes()).expect("a number");
            [book.bids().levels(), book.asks().levels()].map(|levels| {
                levels.iter().map(|level| (raw(level.price.to_string()), raw(level.amount.to_string()))).collect()
            })
        }))
    }
}

#[cfg(feature = "nautilus")]
mod nautilus {
    use crate::End;
    use nautilus_bybit::websocket::messages::{BybitWsFrame, BybitWsOrderbookDepthMsg};
    use nautilus_bybit::websocket::parse::{parse_bybit_ws_frame, parse_orderbook_deltas};
    use nautilus_core::UnixNanos;
    use nautilus_model::enums::BookType;
    use nautilus_model::instruments::{Instrument, InstrumentAny, stubs::crypto_perpetual_ethusdt};
    use nautilus_model::orderbook::OrderBook;

    pub fn round(messages: &[Vec<u8>], typed: bool) -> End {
        let instrument = InstrumentAny::CryptoPerpetual(crypto_perpetual_ethusdt());
        let mut book = OrderBook::new(instrument.id(), BookType::L2_MBP);
        for message in messages {
            let text = std::str::from_utf8(message).expect("text");
            let message: BybitWsOrderbookDepthMsg = if typed {
                serde_json::from_str(text).expect("JSON")
            } else {
                let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
                let BybitWsFrame::Orderbook(message) = parse_bybit_ws_frame(value) else { panic!("no book") };
                message
            };
            let deltas = parse_orderbook_deltas(&message, &instrument, UnixNanos::from(1)).expect("deltas");
            book.apply_deltas(&deltas).expect("applied");
        }
        End::Book(Box::new(move || {
            let raw = |text: String| keel_core::units::parse_decimal(text.as_bytes()).expect("a number");
            [book.bids_as_map(None), book.asks_as_map(None)]
                .map(|levels| levels.into_iter().map(|(px, qty)| (raw(px.to_string()), raw(qty.to_string()))).collect())
        }))
    }
}

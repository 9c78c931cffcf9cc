//! keel: the decoder alone, with the depth rules and their book, and with the facts and the engine's book behind it.

use crate::{Contestant, End, contestant};
use keel_core::book::Book;
use keel_core::event::{BookUpdate, MarketEvent, Origin};
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Notional, Px, Qty};
use keel_feed::decode::{Arrival, Decoder, Message};
use keel_feed::depth::{Step, Stream};

fn instruments() -> Instruments {
    let row = |symbol: &str| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).expect("a symbol"),
        tick: Px::from_raw(1_000_000),
        min_px: Px::from_raw(1_000_000),
        max_px: Px::whole(1_999_999),
        step: Qty::from_raw(100_000),
        min_qty: Qty::from_raw(100_000),
        max_qty: Qty::whole(1190),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        max_leverage: 10_000,
        ..Instrument::default()
    };
    Instruments::new([row("BTCUSDT"), row("ETHUSDT")]).expect("a table")
}

fn touch(book: &Book) -> End {
    book.touch().map_or(End::Digest(0), |touch| End::Touch(touch.bid.px.raw(), touch.ask.px.raw()))
}

pub fn all() -> Vec<Contestant> {
    let mut alone = Decoder::new(&instruments());
    let mut ruled = Decoder::new(&instruments());
    let mut whole = Decoder::new(&instruments());
    let mut replay = Book::new(50);
    let mut updates: Vec<BookUpdate> = Vec::new();
    vec![
        contestant("keel decode", "every field validated, numbers exact", move |messages| {
            let mut digest = 0u64;
            for message in messages {
                if let Ok(Message::Book(head)) = alone.parse(message) {
                    digest = digest.wrapping_add(head.u + u64::from(head.bids));
                }
            }
            assert_eq!(alone.fallbacks(), 0, "the known path");
            End::Digest(digest)
        }),
        contestant("keel decode+gap+apply", "decode, gap check, sanity, apply to a book", move |messages| {
            let mut stream = Stream::new(&instruments().rows()[row(messages)], 50);
            for message in messages {
                let Ok(Message::Book(mut head)) = ruled.parse(message) else { panic!("no book message") };
                let whole = head;
                let step = stream.on_message(&mut head, ruled.bids(&whole), ruled.asks(&whole));
                assert!(matches!(step, Step::Forward(_)), "{step:?}");
            }
            touch(stream.book())
        }),
        contestant("keel feed to engine's book", "the same, facts cut, second apply behind them", move |messages| {
            let mut stream = Stream::new(&instruments().rows()[row(messages)], 50);
            let mut book = Book::new(50);
            for message in messages {
                let Ok(Message::Book(mut head)) = whole.parse(message) else { panic!("no book message") };
                let seen = head;
                let step = stream.on_message(&mut head, whole.bids(&seen), whole.asks(&seen));
                assert!(matches!(step, Step::Forward(_)), "{step:?}");
                whole.emit(&Message::Book(head), Arrival::default(), &mut |event| {
                    if let MarketEvent::Book(part) = event {
                        book.apply(&part).expect("a sound book");
                    }
                });
            }
            touch(&book)
        }),
        contestant("keel apply alone", "apply of ready updates", move |messages| {
            if updates.is_empty() {
                let mut decoder = Decoder::new(&instruments());
                for message in messages {
                    let keep = &mut |event| {
                        if let MarketEvent::Book(part) = event {
                            updates.push(part)
                        }
                    };
                    decoder.decode(message, Arrival::default(), keep).expect("a book message");
                }
            }
            for update in &updates {
                replay.apply(update).expect("a sound book");
            }
            assert_eq!(updates[0].origin.recv, Origin::default().recv);
            touch(&replay)
        }),
    ]
}

fn row(messages: &[Vec<u8>]) -> usize {
    usize::from(messages[0].windows(7).any(|window| window == b"ETHUSDT"))
}

//! keel: the decoder alone, with the depth rules and their book, and with the facts and the engine's book behind it.

use crate::{Contestant, End, Levels, contestant, sorted};
use keel_core::book::Book;
use keel_core::desk::DEEP_LEVELS;
use keel_core::event::{BookUpdate, Level, MarketEvent, Origin, Side};
use keel_core::ids::Symbol;
use keel_core::instrument::{Instrument, Instruments};
use keel_core::units::{Notional, Px, Qty};
use keel_feed::decode::{Arrival, Decoder, Message};
use keel_feed::depth::{Step, Stream};

const SYMBOLS: [(&str, Px); 2] = [("BTCUSDT", Px::from_raw(10_000_000)), ("ETHUSDT", Px::from_raw(1_000_000))];

/// Of the tape's instrument.
pub fn tick(messages: &[Vec<u8>]) -> Px {
    SYMBOLS[row(messages)].1
}

fn instruments() -> Instruments {
    let row = |(symbol, tick): (&str, Px)| Instrument {
        symbol: Symbol::new(symbol.as_bytes()).expect("a symbol"),
        tick,
        min_px: tick,
        max_px: Px::whole(1_999_999),
        step: Qty::from_raw(100_000),
        min_qty: Qty::from_raw(100_000),
        max_qty: Qty::whole(1190),
        max_market_qty: Qty::whole(500),
        min_notional: Notional::whole(5),
        max_leverage: 10_000,
        ..Instrument::default()
    };
    Instruments::new(SYMBOLS.map(row)).expect("a table")
}

fn levels(book: &Book) -> Levels {
    [Side::Buy, Side::Sell].map(|side| book.levels(side).map(|level| (level.px.raw(), level.qty.raw())).collect())
}

/// One message, ready to apply.
struct Ready {
    snapshot: bool,
    u: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

fn ready(messages: &[Vec<u8>]) -> Vec<Ready> {
    let mut decoder = Decoder::new(&instruments());
    let one = |message: &Vec<u8>| {
        let Ok(Message::Book(head)) = decoder.parse(message) else { panic!("no book message") };
        let (bids, asks) = (decoder.bids(&head).to_vec(), decoder.asks(&head).to_vec());
        Ready { snapshot: head.snapshot, u: head.u, bids, asks }
    };
    messages.iter().map(one).collect()
}

pub fn all() -> Vec<Contestant> {
    let mut alone = Decoder::new(&instruments());
    let mut ruled = Decoder::new(&instruments());
    let mut whole = Decoder::new(&instruments());
    let (mut now, mut before) = (Vec::new(), Vec::new());
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
            End::Book(Box::new(move || levels(stream.book())))
        }),
        contestant("keel feed to engine's book", "the same, facts cut, second apply behind them", move |messages| {
            let mut stream = Stream::new(&instruments().rows()[row(messages)], 50);
            let mut book = Book::new(tick(messages), 50);
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
            End::Book(Box::new(move || levels(&book)))
        }),
        contestant(
            "keel apply of facts",
            "apply of ready facts of twelve levels, to the engine's book",
            move |messages| {
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
                let mut book = Book::new(tick(messages), DEEP_LEVELS);
                for update in &updates {
                    book.apply(update).expect("a sound book");
                }
                assert_eq!(updates[0].origin.recv, Origin::default().recv);
                End::Book(Box::new(move || levels(&book)))
            },
        ),
        contestant("keel apply", "apply of ready messages", move |messages| {
            if now.is_empty() {
                now = ready(messages);
            }
            let mut book = Book::new(tick(messages), 50);
            for message in &now {
                book.apply_message(message.snapshot, message.u, &message.bids, &message.asks).expect("a sound book");
            }
            End::Book(Box::new(move || levels(&book)))
        }),
        contestant("keel apply, as it was", "apply of ready messages, sorted array", move |messages| {
            if before.is_empty() {
                before = ready(messages);
            }
            let mut book = sorted::Book::new(50);
            for message in &before {
                book.apply_message(message.snapshot, message.u, &message.bids, &message.asks).expect("a sound book");
            }
            End::Book(Box::new(move || {
                [Side::Buy, Side::Sell].map(|s| book.levels(s).iter().map(|l| (l.px.raw(), l.qty.raw())).collect())
            }))
        }),
    ]
}

fn row(messages: &[Vec<u8>]) -> usize {
    usize::from(messages[0].windows(7).any(|window| window == b"ETHUSDT"))
}

//! Questions over real sockets: to the exchange, and to a venue that lists years of days and lies where told.

use super::*;
use crate::exchange::{self, Market, Options};
use keel_feed::bars::Fault;
use keel_feed::bars::table::Table;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

const DAY: u64 = 86_400_000;
/// The day the little venue believes it is.
const TODAY: u64 = 20_000;

fn name(text: &str) -> Symbol {
    Symbol::new(text.as_bytes()).unwrap()
}

fn with<T>(base: &str, ask: impl FnOnce(&Inquiry<'_>) -> T) -> T {
    let client = Client::new(base, None).unwrap();
    let (signer, pace) = (Signer::new("demo-key", b"demo-secret"), Pace::Real);
    ask(&Inquiry { client: &client, signer: &signer, pace: &pace })
}

/// Answers requests on a loopback port, each on a connection of its own, until a connection says nothing.
struct LittleVenue {
    address: SocketAddr,
    thread: JoinHandle<Vec<String>>,
}

impl LittleVenue {
    fn new(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                let Some(path) = head.split(' ').nth(1) else { return seen };
                let (path, body) = (path.to_owned(), answer(path));
                seen.push(path);
                let length = body.len();
                write!(socket, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
                    .unwrap();
            }
        });
        Self { address, thread }
    }

    fn ask<T>(&self, ask: impl FnOnce(&Inquiry<'_>) -> T) -> T {
        with(&format!("http://{}", self.address), ask)
    }

    /// The paths that were asked for.
    fn finish(self) -> Vec<String> {
        drop(TcpStream::connect(self.address).unwrap());
        self.thread.join().unwrap()
    }
}

fn arg<'a>(path: &'a str, key: &str) -> Option<&'a str> {
    path.split(['?', '&']).find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// Days `first..=last`, newest first, at most 1000 up to `end`; a page begins with the day the last one ended with, as
/// recorded pages do.
fn page(path: &str, first: u64, last: u64) -> String {
    let symbol = arg(path, "symbol").unwrap();
    let end = arg(path, "end").map_or(last, |end| end.parse::<u64>().unwrap() / DAY + 1).min(last);
    let rows: Vec<String> = (first..=end)
        .rev()
        .take(1000)
        .map(|day| {
            let close = 100 + day % 7;
            format!(r#"["{}","{close}","{close}","{close}","{close}","1","{close}"]"#, day * DAY)
        })
        .collect();
    let (rows, now) = (rows.join(","), TODAY * DAY + 3_600_000);
    format!(r#"{{"retCode":0,"result":{{"category":"linear","symbol":"{symbol}","list":[{rows}]}},"time":{now}}}"#)
}

#[test]
fn closed_days_are_fetched_page_by_page_and_make_a_table_of_returns() {
    let (old, new) = (name("OLDUSDT"), name("NEWUSDT"));
    let venue =
        LittleVenue::new(|path| page(path, if path.contains("NEWUSDT") { TODAY - 9 } else { TODAY - 1_999 }, TODAY));
    let found = venue.ask(|inquiry| inquiry.daily_closes(&[old, new], 1_500)).unwrap();
    let paths = venue.finish();
    assert_eq!(paths.len(), 3, "{paths:?}");
    assert!(!paths[0].contains("end=") && paths[1].ends_with(&format!("end={}", (TODAY - 999) * DAY - 1)), "{paths:?}");
    let series = &found[0].1;
    assert_eq!((series.candles().len(), series.holes(), series.quarantine().len()), (1_501, 0, 0));
    assert_eq!(series.count(Fault::Unconfirmed), 1, "today is not over");
    assert_eq!(series.count(Fault::Duplicate), 1, "the seam repeats a day");
    assert_eq!(series.last().unwrap().start.millis(), (TODAY - 1) * DAY);
    let all: Vec<(Symbol, &Series)> = found.iter().map(|(symbol, series)| (*symbol, series)).collect();
    let table = Table::align(&all, 500, 1_500);
    assert_eq!((table.days().len(), table.columns().len()), (1_500, 1));
    assert_eq!(table.left_out(), [(new, 8)]);
}

#[test]
fn an_instrument_whose_days_ended_has_no_history() {
    for (last, closed) in [(TODAY - 1, 11), (TODAY - 3, 11), (TODAY - 4, 0)] {
        let venue = LittleVenue::new(move |path| page(path, TODAY - 50, last));
        let found = venue.ask(|inquiry| inquiry.daily_closes(&[name("OLDUSDT")], 10)).unwrap();
        venue.finish();
        assert_eq!(found[0].1.candles().len(), closed, "{last}");
    }
}

#[test]
fn a_venue_that_refuses_or_answers_about_another_symbol_is_one_sentence() {
    for (body, sentence) in [
        (r#"{"retCode":10006,"retMsg":"Too many visits","result":{}}"#, "Venue(10006)"),
        (r#"{"retCode":0,"result":{"symbol":"XYZUSDT","list":[]},"time":1}"#, "Contradiction"),
        ("<html>", "NotJson"),
    ] {
        let venue = LittleVenue::new(|_| body.to_owned());
        let error = venue.ask(|inquiry| inquiry.daily_closes(&[name("ABCUSDT")], 10)).unwrap_err();
        venue.finish();
        let text = format!("{error:#}");
        assert!(text.contains(sentence) && text.contains("ABCUSDT") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn a_list_of_instruments_that_never_ends_is_refused() {
    let venue = LittleVenue::new(|path| {
        let next = arg(path, "cursor").map_or(1, |at| at.parse::<u64>().unwrap() + 1);
        format!(r#"{{"retCode":0,"result":{{"list":[],"nextPageCursor":"{next}"}},"time":1}}"#)
    });
    let error = venue.ask(|inquiry| inquiry.listed(&[name("ABCUSDT")])).unwrap_err();
    assert!(format!("{error}").contains("does not end"), "{error}");
    assert_eq!(venue.finish().len(), MAX_PAGES);
}

#[test]
fn the_exchange_tells_its_instruments_and_a_day_that_is_not_over() {
    let running = exchange::spawn(Options::default(), Market::generated(), exchange::Pace::Real).unwrap();
    let base = format!("http://{}", running.address);
    let symbols = [name("BTCUSDT"), name("ETHUSDT")];
    let table = with(&base, |inquiry| inquiry.instruments(&symbols)).unwrap();
    assert_eq!(table.rows().iter().map(|row| row.symbol).collect::<Vec<_>>(), symbols);
    assert!(table.rows().iter().all(|row| row.trading.is_set() && row.taker_fee > 0));
    let unknown = with(&base, |inquiry| inquiry.instruments(&[name("NOPEUSDT")])).unwrap_err();
    assert!(format!("{unknown:#}").contains("does not list NOPEUSDT"), "{unknown:#}");
    let days = with(&base, |inquiry| inquiry.daily_closes(&symbols, 500)).unwrap();
    for (symbol, series) in days {
        assert_eq!((series.candles().len(), series.quarantine().len()), (0, 0), "{symbol}: no day is over");
    }
    running.join().unwrap();
}

//! The report of a case with everything behind it, in a directory of its own.
//!
//! ```text
//!   case.json       every field of the report; the alerts; every record of the trading journal behind them, with the
//!                   hash of its leaf and, where it lies under a seal, the proof that it stands in that journal
//!   case.md         the same for a reader
//!   evidence/...    the files that were put to the case, by their digest
//!   SHA256SUMS      the digest of each of these, for `sha256sum -c`
//! ```
//!
//! In: the ledger, the trading journal. Out: the same bytes for the same journals. Never: a file another user may read, a
//! record that is not the one that was put to the case.

use super::desk::{Desk, evidence, make_private, write_private};
use super::show;
use crate::cases::show::of;
use crate::fact::{Symbols, fields, hex};
use crate::moment::utc;
use anyhow::{Context, Result, bail, ensure};
use keel_core::book::Book;
use keel_core::event::{Ack, BookUpdate, Fill, Flow, Kind, NotSized, OrderUpdate, Sent, Side, Ticker, read};
use keel_core::ids::{ClientId, InstrumentId, Seq};
use keel_core::instrument::Instrument;
use keel_core::units::Wall;
use keel_journal::acts::Acts;
use keel_journal::history::leaf;
use keel_journal::inclusion::{Inclusion, MAX_LEAVES};
use keel_journal::retain::{Policy, survey};
use keel_journal::{Entry, Reader, segment};
use keel_risk::cases::ledger::digest;
use keel_risk::cases::{About, Case, Piece};
use keel_risk::decision::Decision;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Version of the layout of `case.json`.
const SCHEMA: u32 = 1;
/// Records of one report, at most.
const MAX_RECORDS: usize = 100_000;
/// Levels of a book shown.
const LEVELS: usize = 5;
/// Levels of a book kept.
const DEPTH: usize = 500;

/// Writes it.
pub(super) fn run(desk: &Desk, id: u64, out: &Path) -> Result<()> {
    let case = desk.ledger.case(id).with_context(|| format!("there is no case {id}"))?;
    ensure!(!out.exists(), "{} is there already: a report goes into a new directory", out.display());
    let behind = Behind::gather(desk, case)?;
    let files = files(desk, case)?;
    let page = show::markdown(&desk.ledger, case) + &behind.markdown();
    let root = digest_of_compliance(desk)?;
    let whole = json!({
        "schema": SCHEMA,
        "case": show::as_value(&desk.ledger, case),
        "trading_journal": behind.journal,
        "journal_of_cases": { "records": desk.records, "root_sha256": root },
        "records": behind.rows,
        "missing_records": behind.missing,
        "market_context": behind.context,
        "origin": behind.start,
    });
    make_private(out)?;
    let mut sums = String::new();
    let mut put = |name: &str, bytes: &[u8]| {
        sums += &format!("{}  {name}\n", hex(&digest(bytes)));
        write_private(&out.join(name), bytes)
    };
    put("case.json", &serde_json::to_vec_pretty(&whole)?)?;
    put("case.md", page.as_bytes())?;
    if !files.is_empty() {
        make_private(&out.join("evidence"))?;
    }
    for (name, bytes) in &files {
        put(&format!("evidence/{name}"), bytes)?;
    }
    write_private(&out.join("SHA256SUMS"), sums.as_bytes())?;
    println!("case {id}: {} records, {} files in {}", behind.rows.len(), files.len(), out.display());
    Ok(())
}

/// The files of a case, each compared with its digest.
fn files(desk: &Desk, case: &Case) -> Result<BTreeMap<String, Vec<u8>>> {
    let files = case.pieces.iter().filter_map(|piece| match piece {
        Piece::File { sha256, .. } => Some(sha256),
        Piece::Record { .. } => None,
    });
    let read = |sha256: &[u8; 32]| {
        let name = hex(sha256);
        let bytes =
            fs::read(evidence(&desk.data).join(&name)).with_context(|| format!("the evidence {name} is gone"))?;
        ensure!(digest(&bytes) == *sha256, "the evidence {name} was changed");
        Ok((name, bytes))
    };
    files.map(read).collect()
}

fn digest_of_compliance(desk: &Desk) -> Result<Option<String>> {
    let dir = super::desk::cases(&desk.data);
    let fits = desk.records <= MAX_LEAVES;
    Ok(if fits { Some(hex(&Inclusion::read(&dir, desk.records)?.root())) } else { None })
}

/// The order a record is about.
fn client(entry: &Entry<'_>) -> Option<ClientId> {
    let bytes = entry.payload;
    let client = match entry.kind? {
        Kind::Approved | Kind::Refused => read::<Decision>(bytes)?.order.client,
        Kind::NotSized => read::<NotSized>(bytes)?.order.client,
        Kind::Sent => read::<Sent>(bytes)?.client,
        Kind::Ack => read::<Ack>(bytes)?.client,
        Kind::OrderUpdate => read::<OrderUpdate>(bytes)?.client,
        Kind::Fill => read::<Fill>(bytes)?.client,
        _ => return None,
    };
    (client != ClientId::NONE).then_some(client)
}

/// Everything of the trading journal behind a case.
#[derive(Default)]
struct Behind {
    wanted: BTreeMap<u64, Option<[u8; 32]>>,
    clients: BTreeSet<ClientId>,
    accounts: BTreeSet<String>,
    window: (u64, u64),
    rows: Vec<Value>,
    missing: Vec<u64>,
    context: Vec<Value>,
    start: Value,
    journal: Value,
}

impl Behind {
    fn gather(desk: &Desk, case: &Case) -> Result<Self> {
        let mut behind = Self { window: (u64::MAX, 0), ..Self::default() };
        for alert in case.alerts.iter().filter_map(|seq| desk.ledger.alerts().get(seq)) {
            behind.wanted.extend(alert.evidence.iter().filter(|seq| seq.0 > 0).map(|seq| (seq.0, None)));
            behind.accounts.insert(alert.subject.as_str().to_owned());
            let (since, until) = behind.window;
            let at = alert.at.nanos();
            behind.window = (since.min(at.saturating_sub(alert.window)), until.max(at));
        }
        behind.accounts.extend(of(case, About::Account).into_iter().map(str::to_owned));
        for piece in &case.pieces {
            if let Piece::Record { leaf, seq, .. } = piece {
                behind.wanted.insert(*seq, Some(*leaf));
            }
        }
        let mut reader = Reader::open(&desk.data)?;
        while let Some(entry) = reader.poll()? {
            if behind.wanted.contains_key(&entry.seq.0) {
                behind.clients.extend(client(&entry));
            }
        }
        behind.collect(&desk.data)?;
        Ok(behind)
    }

    fn collect(&mut self, data: &Path) -> Result<()> {
        let (sealed, tree) = tree(data)?;
        self.journal = json!({
            "id": journal_id(data)?,
            "sealed_records": sealed,
            "tree_size": tree.as_ref().map(Inclusion::size),
            "root_sha256": tree.as_ref().map(|tree| hex(&tree.root())),
        });
        let (mut symbols, mut market) = (Symbols::default(), Market::default());
        let mut left: BTreeSet<u64> = self.wanted.keys().copied().collect();
        let mut shown = BTreeSet::new();
        let mut reader = Reader::open(data)?;
        while let Some(entry) = reader.poll()? {
            symbols.learn(&entry);
            market.learn(&entry);
            if entry.kind == Some(Kind::Start) && self.rows.is_empty() {
                self.start = row(&entry, &symbols, None);
            }
            if !self.belongs(&entry) {
                continue;
            }
            left.remove(&entry.seq.0);
            ensure!(self.rows.len() < MAX_RECORDS, "more than {MAX_RECORDS} records stand behind this case: split it");
            if let Some(Some(known)) = self.wanted.get(&entry.seq.0) {
                let same = *known == leaf(entry.bytes);
                ensure!(same, "record {} of the trading journal is not the one put to the case", entry.seq.0);
            }
            self.rows.push(row(&entry, &symbols, tree.as_ref()));
            if let Some(client) = client(&entry).filter(|client| shown.insert(*client)) {
                self.context.extend(market.before(&entry, client, &symbols));
            }
        }
        self.missing = left.into_iter().collect();
        Ok(())
    }

    fn belongs(&self, entry: &Entry<'_>) -> bool {
        if self.wanted.contains_key(&entry.seq.0) {
            return true;
        }
        match entry.kind {
            Some(Kind::Flow) => read::<Flow>(entry.payload).is_some_and(|flow| {
                let within = (self.window.0..=self.window.1).contains(&flow.ts.nanos());
                within && self.accounts.contains(flow.account.as_str())
            }),
            _ => client(entry).is_some_and(|client| self.clients.contains(&client)),
        }
    }

    fn markdown(&self) -> String {
        let mut page = "\n## Records of the trading journal\n\n".to_owned();
        for row in &self.rows {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            page += &format!("- {} {} {} leaf {}", row["seq"], word("time"), word("kind"), word("leaf_sha256"));
            page += if row["proof"].is_null() { "\n" } else { ", proven\n" };
            let facts = row["fact"].as_object().into_iter().flatten().filter(|(_, value)| !value.is_object());
            let facts: Vec<String> = facts.map(|(name, value)| format!("{name} {}", plain(value))).collect();
            page += &format!("  {}\n", facts.join(", "));
        }
        if !self.missing.is_empty() {
            page += &format!("\nNot in the journal any more: {:?}\n", self.missing);
        }
        let size = &self.journal["tree_size"];
        page += &format!(
            "\nProofs are those of RFC 6962 over {size} records, root {}.\n",
            plain(&self.journal["root_sha256"])
        );
        page
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn row(entry: &Entry<'_>, symbols: &Symbols, tree: Option<&Inclusion>) -> Value {
    let kind = entry.kind.map_or_else(|| format!("?{}", entry.code), |kind| format!("{kind:?}"));
    let fact: serde_json::Map<String, Value> = fields(entry)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.json(symbols)))
        .collect();
    let proof = tree.and_then(|tree| tree.path(entry.seq)).map(|(_, path)| {
        json!({ "index": entry.seq.0 - 1, "path_sha256": path.iter().map(|hash| hex(hash)).collect::<Vec<_>>() })
    });
    json!({ "seq": entry.seq.0, "kind": kind, "time": utc(entry.wall), "cause": entry.cause.0,
        "clock_error_ns": entry.clock_error, "leaf_sha256": hex(&leaf(entry.bytes)), "proof": proof, "fact": fact })
}

/// Records under a seal, and the tree over them where it can be made.
fn tree(data: &Path) -> Result<(u64, Option<Inclusion>)> {
    let policy = Policy { hot: u64::MAX, keep: None };
    let pieces = survey(data, policy, &[], &Acts::default(), Wall::from_nanos(u64::MAX), None)?;
    let (mut sealed, first) = (0, pieces.first().and_then(|piece| piece.seal).map(|(first, ..)| first));
    for piece in &pieces {
        let Some((_, last, ..)) = piece.seal else { break };
        sealed = last.0;
    }
    let whole = first == Some(Seq(1)) && sealed <= MAX_LEAVES;
    Ok((sealed, if whole { Some(Inclusion::read(data, sealed)?) } else { None }))
}

fn journal_id(data: &Path) -> Result<Option<String>> {
    let Some(newest) = segment::list_plain(data)?.into_iter().next_back() else { return Ok(None) };
    let mut page = vec![0; segment::FIRST];
    fs::File::open(segment::path(data, newest))?.read_exact_at(&mut page, 0)?;
    match segment::Head::read(&page) {
        Ok((head, _)) => Ok(Some(hex(&head.journal))),
        Err(why) => bail!("the newest segment of the trading journal cannot be read: {why:?}"),
    }
}

/// What the market showed last.
#[derive(Default)]
struct Market {
    books: BTreeMap<InstrumentId, (u64, Book)>,
    tickers: BTreeMap<InstrumentId, (u64, Ticker)>,
}

impl Market {
    fn learn(&mut self, entry: &Entry<'_>) {
        match entry.kind {
            Some(Kind::Instrument) => {
                if let Some(instrument) = read::<Instrument>(entry.payload).filter(|known| known.tick.raw() > 0) {
                    self.books.insert(instrument.id, (0, Book::new(instrument.tick, DEPTH)));
                }
            }
            Some(Kind::Book) => {
                let Some(update) = BookUpdate::read(entry.payload) else { return };
                let Some((seq, book)) = self.books.get_mut(&update.instrument) else { return };
                // a book that fell out of step says nothing until the next snapshot
                if *seq > 0 || update.has(BookUpdate::SNAPSHOT) {
                    *seq = if book.apply(&update).is_ok() { entry.seq.0 } else { 0 };
                }
            }
            Some(Kind::Ticker) => {
                if let Some(ticker) = read::<Ticker>(entry.payload) {
                    self.tickers.insert(ticker.instrument, (entry.seq.0, ticker));
                }
            }
            _ => {}
        }
    }

    /// What it was when an order began.
    fn before(&self, entry: &Entry<'_>, client: ClientId, symbols: &Symbols) -> Option<Value> {
        let order = match entry.kind? {
            Kind::Approved | Kind::Refused => read::<Decision>(entry.payload)?.order,
            Kind::NotSized => read::<NotSized>(entry.payload)?.order,
            _ => return None,
        };
        let ticker = self.tickers.get(&order.instrument).map(|(seq, ticker)| {
            json!({ "seq": seq, "last": ticker.last.to_string(), "mark": ticker.mark.to_string(),
                "index": ticker.index.to_string(), "bid": ticker.bid.px.to_string(), "ask": ticker.ask.px.to_string(),
                "volume_24h": ticker.volume_24h.to_string() })
        });
        let side = |book: &Book, side| -> Vec<Value> {
            let levels = book.levels(side).take(LEVELS);
            levels.map(|level| json!([level.px.to_string(), level.qty.to_string()])).collect()
        };
        let book =
            self.books.get(&order.instrument).filter(|(seq, _)| *seq > 0).map(
                |(seq, book)| json!({ "seq": seq, "bids": side(book, Side::Buy), "asks": side(book, Side::Sell) }),
            );
        Some(json!({ "order": client.to_string(), "before_seq": entry.seq.0, "time": utc(entry.wall),
            "instrument": symbols.name(order.instrument), "strategy": order.strategy.0, "model": order.model,
            "ticker": ticker, "book": book }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::Start;

    #[test]
    fn a_start_is_no_order_and_a_fill_is_one() {
        let of = |record: &dyn keel_core::event::Record| {
            let bytes = record.bytes();
            let entry = Entry {
                seq: Seq(1),
                code: record.kind().code(),
                kind: Some(record.kind()),
                cause: Seq::NONE,
                mono: Default::default(),
                wall: Default::default(),
                clock_error: 0,
                payload: bytes,
                bytes,
            };
            client(&entry)
        };
        let id = ClientId::new(1, 2);
        assert_eq!(of(&Start::default()), None);
        assert_eq!(of(&Fill { client: id, ..Fill::default() }), Some(id));
        assert_eq!(of(&Sent { client: id, ..Sent::default() }), Some(id));
        assert_eq!(of(&Fill::default()), None, "a fill of nobody's order");
    }
}

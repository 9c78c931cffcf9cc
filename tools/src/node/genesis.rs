//! What an engine is made from, as facts at the start of its run; and the engine made from it, today or in a replay.
//!
//! ```text
//!   Start 104 | Instrument 136 ... | Document Limits ... | Document Scenarios ... | Document Strategy ...
//!    run        the venue's table     risk::register text    f64 bits as hex          name, parameters, sizing
//! ```
//!
//! In: what the node was configured with, or the documents of a journal. Out: an [`Engine`], the same from both. Never: a
//! number in another form than the one it has in memory, a text that is read with anything missing, doubled or unknown:
//! what is read must be what writing it again gives.

use crate::fact::hex;
use anyhow::{Context, Result, anyhow, bail, ensure};
use keel_core::engine::Engine;
use keel_core::event::{Document, DocumentKind};
use keel_core::ids::{Seq, StrategyId, Symbol, Text};
use keel_core::instrument::Instruments;
use keel_core::permit::{Log, LogFault};
use keel_core::sizing::Sizing;
use keel_core::strategy::{Quoter, QuoterParams, Strategy};
use keel_core::units::{Notional, Now};
use keel_risk::consent::{Name, People};
use keel_risk::kyc::KycPolicy;
use keel_risk::latch::Latch;
use keel_risk::limits::Limits;
use keel_risk::register::Unreadable;
use keel_risk::{Gate, Scenarios, consent, register};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Everything the engine is made from but its instruments and its run number, which are facts of their own.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// What no order may exceed.
    pub limits: Limits,
    /// What value at risk is taken over, where there is a limit on it.
    pub scenarios: Option<Scenarios>,
    /// Who may release the brake and change limits.
    pub people: Vec<(Name, [u8; 32])>,
    /// What the account has to be, where there is a registry.
    pub kyc: Option<KycPolicy>,
    /// What trades, and how it is cut.
    pub character: Character,
}

/// What trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Character {
    /// Its row in the limits.
    pub id: StrategyId,
    /// The quoter, the one that ships.
    pub quoter: QuoterParams,
    /// What its wishes are cut to.
    pub sizing: Sizing,
}

impl Genesis {
    /// The engine of run `run`, with the brake as earlier runs left it.
    pub fn engine<S: Strategy, L: Log>(
        &self,
        instruments: &Instruments,
        run: u32,
        latch: &Latch,
        strategy: S,
        log: L,
    ) -> Result<Engine<S, Gate, L>> {
        let gate = self.gate(instruments, latch)?;
        Ok(Engine::new(instruments, run, strategy, self.character.sizing, gate, log))
    }

    /// The gate, halted, under the limits people last agreed to.
    pub fn gate(&self, instruments: &Instruments, latch: &Latch) -> Result<Gate> {
        let people = People::new(&self.people)
            .map_err(|why| anyhow!("people: {why:?}: each name and each key stands once, and is a key"))?;
        let gate = Gate::new(self.limits.clone(), instruments, self.scenarios.clone())
            .map_err(|why| anyhow!("limits: {why:?} does not fit; see the ranges in the documentation of Limits"))?;
        let mut gate = gate.trusting(people).knowing(self.kyc.clone());
        gate.resume(latch);
        Ok(gate)
    }

    /// Appends it as documents caused by the run's first record.
    pub fn record(&self, log: &mut impl Log, now: Now, cause: Seq, instruments: &Instruments) -> Result<(), LogFault> {
        let author = Text::new(b"node").unwrap_or_default();
        for (kind, text) in self.documents(instruments) {
            for part in Document::cut(now.mono, author, kind, text.as_bytes()).into_iter().flatten() {
                log.fact(now, cause, &part)?;
            }
        }
        Ok(())
    }

    /// It as texts.
    #[must_use]
    pub fn documents(&self, instruments: &Instruments) -> Vec<(DocumentKind, String)> {
        let mut all = vec![(DocumentKind::Limits, register::text(&self.limits))];
        if let Some(scenarios) = &self.scenarios {
            all.push((DocumentKind::Scenarios, scenarios_text(scenarios, instruments)));
        }
        if !self.people.is_empty() {
            all.push((DocumentKind::People, people_text(&self.people)));
        }
        if let Some(kyc) = &self.kyc {
            all.push((DocumentKind::Kyc, kyc.text()));
        }
        all.push((DocumentKind::Strategy, self.strategy_text()));
        all
    }

    /// Back from the texts of one run, in any order.
    pub fn read(documents: &[(DocumentKind, String)], instruments: &Instruments) -> Result<Self> {
        let one = |kind| {
            let mut of = documents.iter().filter(|(have, _)| *have == kind).map(|(_, text)| text.as_str());
            let first = of.next();
            ensure!(of.next().is_none(), "two documents of kind {kind:?} at the start of one run");
            Ok(first)
        };
        let limits = limits(one(DocumentKind::Limits)?.context("no document says what the limits were")?)?;
        let scenarios = one(DocumentKind::Scenarios)?.map(|text| scenarios(text, instruments)).transpose()?;
        let people = one(DocumentKind::People)?.map_or(Ok(Vec::new()), people)?;
        let kyc = |text| KycPolicy::read(text).context("what the account has to be: not as it was written");
        let kyc = one(DocumentKind::Kyc)?.map(kyc).transpose()?;
        let text = one(DocumentKind::Strategy)?.context("no document says what strategy ran")?;
        let character = strategy(text).context("the strategy")?;
        Ok(Self { limits, scenarios, people, kyc, character })
    }

    fn strategy_text(&self) -> String {
        let Character { id, quoter, sizing } = self.character;
        let mut text = String::from("strategy = quoter\n");
        for (name, value) in [
            ("id", i128::from(id.0)),
            ("inventory", quoter.inventory.raw().into()),
            ("tolerance", quoter.tolerance.into()),
            ("patience", quoter.patience.into()),
            ("penance", quoter.penance.into()),
            ("alarm", quoter.alarm.into()),
            ("sizing.clip", sizing.clip.raw().into()),
            ("sizing.position", sizing.position.raw().into()),
            ("sizing.participation", sizing.participation.into()),
        ] {
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }
}

impl Character {
    /// It, having seen nothing.
    #[must_use]
    pub fn strategy(&self) -> Quoter {
        Quoter::new(self.id, self.quoter)
    }

    /// The same with some of its numbers changed: lines `name = value` in the units of the recorded document.
    pub fn changed(&self, patch: &str) -> Result<Self> {
        let (limits, people) = (Limits::demo(), Vec::new());
        let whole = Genesis { limits, scenarios: None, people, kyc: None, character: *self };
        strategy(&patched(&whole.strategy_text(), patch)?)
    }
}

/// Lines `name = value`, each name once; taken out one by one until none is left.
struct Lines<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Self> {
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(" = ").with_context(|| format!("{line:?} is not `name = value`"))?;
            ensure!(lines.insert(name, value).is_none(), "{name} stands there twice");
        }
        Ok(Self(lines))
    }

    fn word(&mut self, name: &str) -> Result<&'a str> {
        self.0.remove(name).with_context(|| format!("{name} is missing"))
    }

    fn number<T: TryFrom<i128>>(&mut self, name: &str) -> Result<T> {
        let word = self.word(name)?;
        let number = word.parse::<i128>().ok().and_then(|number| T::try_from(number).ok());
        number.with_context(|| format!("{name} = {word}: not a number this limit can hold"))
    }

    fn money(&mut self, name: &str) -> Result<Notional> {
        self.number(name).map(Notional::from_raw)
    }

    fn end(self) -> Result<()> {
        self.0.keys().next().map_or(Ok(()), |name| bail!("{name}: there is no such thing"))
    }
}

/// A text with some of its lines replaced. Names that are not there are refused; `#` begins a remark.
pub fn patched(text: &str, patch: &str) -> Result<String> {
    let spoken = patch.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let patch = spoken.collect::<Vec<_>>().join("\n");
    let mut changes = Lines::new(&patch)?.0;
    let mut whole = String::with_capacity(text.len());
    for line in text.lines() {
        let name = line.split_once(" = ").map_or(line, |(name, _)| name);
        let _ = match changes.remove(name) {
            Some(value) => writeln!(whole, "{name} = {}", value.trim()),
            None => writeln!(whole, "{line}"),
        };
    }
    Lines(changes).end()?;
    Ok(whole)
}

/// The text of [`register::text`] back into limits; every one of them must be there, in its range.
pub fn limits(text: &str) -> Result<Limits> {
    let limits = register::read(text).map_err(unreadable)?;
    limits.check().map_err(|why| anyhow!("the limits: {why:?} is out of its range"))?;
    Ok(limits)
}

fn unreadable(why: Unreadable) -> anyhow::Error {
    match why {
        Unreadable::Line(line) => anyhow!("the limits: {line:?}: there is no such limit, or it stands there twice"),
        Unreadable::Number(name) => anyhow!("the limits: {name} is missing, or its number does not fit it"),
        Unreadable::Form => anyhow!("the limits: lines out of their order, or a number not in its plain form"),
    }
}

fn strategy(text: &str) -> Result<Character> {
    let mut lines = Lines::new(text)?;
    let name = lines.word("strategy")?;
    ensure!(name == "quoter", "this version knows the strategy `quoter`, not `{name}`");
    let character = Character {
        id: StrategyId(lines.number("id")?),
        quoter: QuoterParams {
            inventory: lines.money("inventory")?,
            tolerance: lines.number("tolerance")?,
            patience: lines.number("patience")?,
            penance: lines.number("penance")?,
            alarm: lines.number("alarm")?,
        },
        sizing: Sizing {
            clip: lines.money("sizing.clip")?,
            position: lines.money("sizing.position")?,
            participation: lines.number("sizing.participation")?,
        },
    };
    lines.end()?;
    Ok(character)
}

/// One line a person: name, and public key as hex digits.
fn people_text(people: &[(Name, [u8; 32])]) -> String {
    people.iter().map(|(name, key)| format!("{name} {}\n", hex(key))).collect()
}

fn people(text: &str) -> Result<Vec<(Name, [u8; 32])>> {
    let row = |line: &str| {
        let (name, key) = line.split_once(' ')?;
        Some((Name::new(name.as_bytes())?, consent::hex(key)?))
    };
    let rows: Option<Vec<_>> = text.lines().map(row).collect();
    let rows = rows.filter(|rows| people_text(rows) == text);
    rows.context("people: lines of a name and a key of 64 hexadecimal digits are expected")
}

/// One line an instrument that has returns: its symbol, and the bits of each return.
fn scenarios_text(scenarios: &Scenarios, instruments: &Instruments) -> String {
    let mut text = String::new();
    for row in instruments.rows().iter().filter(|row| scenarios.covers(row.id)) {
        let _ = write!(text, "{}", row.symbol);
        for at in 0..scenarios.count() {
            let _ = write!(text, " {:016x}", scenarios.at(row.id, at).to_bits());
        }
        text.push('\n');
    }
    text
}

fn scenarios(text: &str, instruments: &Instruments) -> Result<Scenarios> {
    let mut series: Vec<(Symbol, Vec<f64>)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let symbol = words.next().and_then(|name| Symbol::new(name.as_bytes())).context("scenarios: no symbol")?;
        let bits = words.map(|word| u64::from_str_radix(word, 16).map(f64::from_bits));
        series.push((symbol, bits.collect::<Result<_, _>>().context("scenarios: not the bits of a number")?));
    }
    let borrowed: Vec<_> = series.iter().map(|(symbol, returns)| (*symbol, returns.as_slice())).collect();
    let read = Scenarios::new(instruments, &borrowed).map_err(|why| anyhow!("scenarios: {why:?}"))?;
    ensure!(scenarios_text(&read, instruments) == text, "scenarios: not as they were written");
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::{Flag, Kind, Parts, read};
    use keel_core::instrument::Instrument;
    use keel_core::units::{Px, Qty, SCALE, Wall};
    use keel_journal::Writer;
    use keel_risk::limits::InstrumentLimits;

    fn instruments() -> Instruments {
        let row = |name: &str| Instrument {
            symbol: Symbol::new(name.as_bytes()).unwrap(),
            tick: Px::from_raw(SCALE / 10),
            min_px: Px::from_raw(SCALE / 10),
            max_px: Px::whole(1_999_999),
            step: Qty::from_raw(SCALE / 1000),
            min_qty: Qty::from_raw(SCALE / 1000),
            max_qty: Qty::whole(1190),
            max_market_qty: Qty::whole(500),
            min_notional: Notional::whole(5),
            max_leverage: 10_000,
            trading: Flag::Yes,
            ..Instrument::default()
        };
        Instruments::new([row("BTCUSDT"), row("ETHUSDT"), row("1000PEPEUSDT")]).unwrap()
    }

    fn genesis() -> Genesis {
        let table = instruments();
        let mut limits = Limits::demo();
        let symbol = |name: &str| Symbol::new(name.as_bytes()).unwrap();
        limits.overrides = vec![(symbol("ETHUSDT"), InstrumentLimits { collar: 17, ..limits.instrument })];
        limits.strategies[1].symbols = Some(vec![symbol("ETHUSDT"), symbol("BTCUSDT")]);
        limits.strategies[2].symbols = Some(vec![]);
        let returns = [0.1, -0.0, 1.0 / 3.0, f64::MIN_POSITIVE, -0.999];
        let long: Vec<f64> = (0..1000).map(|at| returns[at % returns.len()]).collect();
        let series = [(symbol("BTCUSDT"), long.as_slice()), (symbol("1000PEPEUSDT"), long.as_slice())];
        let scenarios = Some(Scenarios::new(&table, &series).unwrap());
        let character = Character { id: StrategyId(3), quoter: QuoterParams::default(), sizing: Sizing::default() };
        let people = keel_risk::throwaway::Throwaway::new(1).rows();
        let kyc = KycPolicy {
            uid: "7".to_owned(),
            level: "LEVEL_1".to_owned(),
            region: "MYS".to_owned(),
            permissions: 1,
            bound: true,
            addresses: vec!["203.0.113.9".to_owned()],
            key_days: 14,
            review: Wall::from_millis(1),
        };
        Genesis { limits, scenarios, people, kyc: Some(kyc), character }
    }

    #[test]
    fn an_engine_comes_back_from_its_journal_bit_for_bit() {
        let (table, first) = (instruments(), genesis());
        let mut writer = Writer::in_memory(1 << 20).unwrap();
        first.record(&mut writer, Now::default(), Seq(1), &table).unwrap();
        let mut parts = Parts::default();
        let mut documents = Vec::new();
        for entry in writer.records() {
            assert_eq!((entry.kind, entry.cause), (Some(Kind::Document), Seq(1)));
            let part: Document = read(entry.payload).unwrap();
            documents.extend(parts.take(&part).map(|text| (part.kind, String::from_utf8(text).unwrap())));
        }
        assert_eq!(documents.len(), 5);
        let again = Genesis::read(&documents, &table).unwrap();
        assert_eq!((&again.limits, again.character), (&first.limits, first.character));
        let bits = |genesis: &Genesis| {
            let scenarios = genesis.scenarios.clone().unwrap();
            let of = |row: &Instrument| (0..scenarios.count()).map(|at| scenarios.at(row.id, at).to_bits()).collect();
            table.rows().iter().map(of).collect::<Vec<Vec<u64>>>()
        };
        assert_eq!(bits(&again), bits(&first));
        assert_eq!((&again.people, &again.kyc), (&first.people, &first.kyc));
        assert!(again.gate(&table, &Latch::default()).is_ok());
    }

    #[test]
    fn what_is_missing_doubled_unknown_or_out_of_range_is_named() {
        let text = register::text(&Limits::demo());
        let without = |name: &str| text.lines().filter(|l| !l.starts_with(name)).map(|l| format!("{l}\n")).collect();
        let rows: [(String, &str); 8] = [
            (without("max_net"), "max_net is missing"),
            (without("strategy.1."), "strategy.2"),
            (format!("{text}max_net = 1\n"), "max_net = 1"),
            (format!("{text}max_fun = 1\n"), "max_fun"),
            (format!("{text}max_fun\n"), "max_fun"),
            (text.replace("max_gross = ", "max_gross = 0"), "plain form"),
            (text.replace("margin_rate = 1000", "margin_rate = 0"), "margin_rate"),
            (text.replace("message_rate = 8", "message_rate = -8"), "message_rate is missing, or its number"),
        ];
        for (spoilt, word) in rows {
            let why = format!("{:#}", limits(&spoilt).unwrap_err());
            assert!(why.contains(word), "{why} does not name {word}");
        }
        assert_eq!(limits(&text).unwrap(), Limits::demo());
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let text = register::text(&Limits::demo());
        let patched_text = patched(&text, "# tighter\n\nmax_gross = 100\n").unwrap();
        assert_eq!(patched_text.replace("max_gross = 100\n", "max_gross = 20000000000000\n"), text);
        assert!(patched(&text, "max_fun = 1").is_err());
        let character = genesis().character;
        let bolder = character.changed("tolerance = 9").unwrap();
        assert_eq!(bolder.quoter, QuoterParams { tolerance: 9, ..character.quoter });
    }
}

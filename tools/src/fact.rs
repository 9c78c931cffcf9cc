//! A record as a person reads it: every field of every fact by name.
//!
//! In: an entry of the journal. Out: names and values in the order of the layout. Never: a number rounded, a field left
//! out (a test compares with the struct itself), a panic on bytes that do not fit.

use keel_core::event::{
    Ack, Alert, Bar, BookUpdate, Carried, CaseAct, CaseState, Channel, Command, CommandKind, Constraint, Deed,
    Difference, DifferenceKind, Document, DocumentKind, ExecKind, Fill, Flag, Flow, FlowKind, FlowState, Gravity,
    Health, HealthReason, HealthState, Holding, Kind, Level, Link, LinkState, Liquidation, NotSized, Op, Order,
    OrderKind, OrderStatus, OrderUpdate, PriceLimit, Reconciliation, Resolution, Resumed, Rule, Seen, Sent,
    SentOutcome, Side, Standing, Start, Stop, Ticker, TimeInForce, Timer, Trade, VenuePosition, VenueStatus, Wallet,
    Worth, read,
};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId, Text};
use keel_core::instrument::Instrument;
use keel_core::units::{DecimalText, Mono, Notional, Px, Qty, Wall};
use keel_journal::Entry;
use keel_risk::decision::{Class, Decision};
use keel_risk::notice::{Answer, Fortune, Trip, Unwind};
use keel_risk::refusal::{Refusal, Slot};
use serde_json::json;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words, ids, hashes.
    Text(String),
    /// A count, a code, nanoseconds of a stopwatch.
    Int(i128),
    /// A count or a code that may be below zero.
    Signed(i64),
    /// Steps of 1e-8.
    Decimal(i64),
    /// Yes or no.
    Flag(bool),
    /// Nanoseconds since 1970 UTC; zero is "none".
    Time(Wall),
    /// A row of the instrument table.
    Instrument(InstrumentId),
    /// Price and quantity.
    Levels(Vec<Level>),
    /// Measured, and the most it may be.
    Measure(Box<Value>, Box<Value>),
}

/// Names and values.
pub type Fields = Vec<(&'static str, Value)>;

impl Value {
    /// Zero, empty, no: left out of the short form.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty() || text == "-",
            Self::Int(number) => *number == 0,
            Self::Signed(number) => *number == 0,
            Self::Decimal(raw) => *raw == 0,
            Self::Flag(set) => !set,
            Self::Time(wall) => wall.nanos() == 0,
            Self::Instrument(_) => false,
            Self::Levels(levels) => levels.is_empty(),
            Self::Measure(value, limit) => value.is_nothing() && limit.is_nothing(),
        }
    }

    /// As text. `symbols` is the instrument table seen so far.
    #[must_use]
    pub fn text(&self, symbols: &Symbols) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Decimal(raw) => decimal(*raw),
            Self::Flag(set) => if *set { "yes" } else { "no" }.to_owned(),
            Self::Time(wall) if wall.nanos() == 0 => "-".to_owned(),
            Self::Time(wall) => crate::moment::utc(*wall),
            Self::Instrument(id) => symbols.name(*id),
            Self::Levels(levels) => {
                let each = levels.iter().map(|level| format!("{}@{}", level.qty, level.px));
                each.collect::<Vec<_>>().join(",")
            }
            Self::Measure(value, limit) => format!("{}/{}", value.text(symbols), limit.text(symbols)),
        }
    }

    /// As JSON: exact decimals are strings, counts are numbers.
    #[must_use]
    pub fn json(&self, symbols: &Symbols) -> serde_json::Value {
        match self {
            Self::Int(number) => i64::try_from(*number)
                .map(|small| json!(small))
                .or_else(|_| u64::try_from(*number).map(|large| json!(large)))
                .unwrap_or_else(|_| json!(number.to_string())),
            Self::Signed(number) => json!(number),
            Self::Flag(set) => json!(set),
            Self::Time(wall) if wall.nanos() == 0 => serde_json::Value::Null,
            Self::Levels(levels) => levels.iter().map(|l| json!([l.px.to_string(), l.qty.to_string()])).collect(),
            Self::Measure(value, limit) => json!({ "value": value.json(symbols), "limit": limit.json(symbols) }),
            _ => json!(self.text(symbols)),
        }
    }
}

fn decimal(raw: i64) -> String {
    DecimalText::new().write(raw).to_owned()
}

/// The instrument table as far as the journal has shown it.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    names: Vec<Option<String>>,
}

impl Symbols {
    /// Learns from an entry that is an instrument.
    pub fn learn(&mut self, entry: &Entry<'_>) {
        if entry.kind != Some(Kind::Instrument) {
            return;
        }
        if let Some(instrument) = read::<Instrument>(entry.payload) {
            let at = instrument.id.index();
            if at < keel_core::ids::MAX_INSTRUMENTS {
                self.names.resize(self.names.len().max(at + 1), None);
                self.names[at] = Some(instrument.symbol.to_string());
            }
        }
    }

    /// The symbols as another process saw them.
    #[must_use]
    pub fn from_names(names: Vec<Option<String>>) -> Self {
        Self { names }
    }

    /// The symbols seen so far, by row of the instrument table.
    #[must_use]
    pub fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// The symbol, or `#3` while it is not known.
    #[must_use]
    pub fn name(&self, id: InstrumentId) -> String {
        self.names.get(id.index()).cloned().flatten().unwrap_or_else(|| format!("#{}", id.0))
    }
}

trait Show {
    fn show(&self) -> Value;
}

macro_rules! show {
    ($($type:ty: |$value:ident| $shown:expr;)*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                let $value = self;
                $shown
            }
        }
    )*};
}

macro_rules! words {
    ($($type:ty),* $(,)?) => { show! { $($type: |word| Value::Text(format!("{word:?}"));)* } };
}

show! {
    u16: |n| Value::Int(i128::from(*n));
    u32: |n| Value::Int(i128::from(*n));
    u64: |n| Value::Int(i128::from(*n));
    i32: |n| Value::Signed(i64::from(*n));
    u8: |n| Value::Int(i128::from(*n));
    i64: |n| Value::Signed(*n);
    Seq: |seq| Value::Int(i128::from(seq.0));
    StrategyId: |id| Value::Int(i128::from(id.0));
    InstrumentId: |id| Value::Instrument(*id);
    Px: |px| Value::Decimal(px.raw());
    Qty: |qty| Value::Decimal(qty.raw());
    Notional: |value| Value::Decimal(value.raw());
    Mono: |mono| Value::Int(i128::from(mono.nanos()));
    Wall: |wall| Value::Time(*wall);
    Flag: |flag| Value::Flag(flag.is_set());
    ClientId: |id| Value::Text(id.to_string());
    Level: |level| Value::Levels(vec![*level]);
    [Level]: |levels| Value::Levels(levels.to_vec());
    [Seq]: |all| Value::Text(places(all));
    [u8; 32]: |hash| Value::Text(hex(hash));
    [Rule]: |all| Value::Text(rules(all));
}

words! {
    Side, Op, OrderKind, TimeInForce, Constraint, HealthState, HealthReason, Channel, OrderStatus, ExecKind, LinkState,
    SentOutcome, FlowKind, FlowState, Rule, Gravity, CaseState, Deed, CommandKind, DocumentKind, DifferenceKind, Resolution, Refusal, Class, keel_risk::brake::State,
    keel_risk::brake::Reason, keel_risk::notice::ScopeKind, keel_risk::notice::Stage, keel_risk::consent::Doubt,
    keel_core::orders::State,
}

impl<const N: usize> Show for Text<N> {
    fn show(&self) -> Value {
        Value::Text(self.as_str().to_owned())
    }
}

/// Places in a journal, without the empty ones.
fn places(all: &[Seq]) -> String {
    let each = all.iter().filter(|seq| **seq != Seq::NONE).map(|seq| seq.0.to_string());
    each.collect::<Vec<_>>().join(",")
}

/// Rules, without the empty ones.
fn rules(all: &[Rule]) -> String {
    let each = all.iter().filter(|rule| **rule != Rule::None).map(|rule| format!("{rule:?}"));
    each.collect::<Vec<_>>().join(",")
}

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

macro_rules! fields {
    ($fact:expr; $($name:ident)*) => {
        vec![$((stringify!($name), $fact.$name.show())),*]
    };
}

/// Steps of 1e-8 that stand in a plain integer: fees, rates, ratios.
fn rates<const N: usize>(fields: &mut Fields, rates: [(&'static str, i64); N]) {
    fields.extend(rates.map(|(name, raw)| (name, Value::Decimal(raw))));
}

/// Puts the origin of a market fact before its own fields.
fn market(origin: &keel_core::event::Origin, own: Fields) -> Fields {
    let mut all = fields!(origin; recv ticks ts cts seq);
    all.extend(own);
    all
}

fn order(order: &Order) -> Fields {
    fields!(order; client cause px qty instrument strategy op side kind tif reduce_only bound model signal_age)
}

/// A decision's fields: what was asked, every check with its value and limit.
#[must_use]
pub fn decision_fields(decision: &Decision) -> Fields {
    let mut all = order(&decision.order);
    let failures: Vec<_> = decision.failures().map(Refusal::name).collect();
    all.push(("failing", Value::Text(failures.join(","))));
    all.extend(fields!(decision; mark equity limits first brake class));
    for code in Refusal::ALL {
        let Some(pair) = decision.measure(code) else { continue };
        let count = |n: i64| Box::new(Value::Signed(n));
        let money = |n: i64| Box::new(Value::Decimal(n));
        let plain = matches!(code.slot(), Slot::Count(_)) || code == Refusal::StaleBook;
        let (value, limit) =
            if plain { (count(pair.value), count(pair.limit)) } else { (money(pair.value), money(pair.limit)) };
        all.push((code.name(), Value::Measure(value, limit)));
    }
    all
}

fn carried(fact: &Carried) -> Fields {
    let mut all = order(&fact.order);
    all.extend(
        fields!(fact; age updated target_px target_qty amended_px amended_qty filled reported venue amends state
        ending asked open_questions),
    );
    all
}

fn book(book: &BookUpdate) -> Fields {
    let flag = |bit| Value::Flag(book.has(bit));
    let mut own = fields!(book; u instrument depth);
    own.push(("snapshot", flag(BookUpdate::SNAPSHOT)));
    own.push(("first", flag(BookUpdate::FIRST)));
    own.push(("last", flag(BookUpdate::LAST)));
    own.push(("bids", book.bid_levels().show()));
    own.push(("asks", book.ask_levels().show()));
    market(&book.origin, own)
}

fn ticker(fact: &Ticker) -> Fields {
    let mut own = fields!(fact; last mark index bid ask);
    rates(&mut own, [("funding_rate", fact.funding_rate)]);
    own.extend(fields!(fact; next_funding open_interest volume_24h high_24h low_24h instrument));
    market(&fact.origin, own)
}

fn document(fact: &Document) -> Fields {
    let mut all = fields!(fact; recv author kind part parts len);
    all.push(("bytes", Value::Text(String::from_utf8_lossy(fact.text()).into_owned())));
    all
}

fn instrument(fact: &Instrument) -> Fields {
    let mut all = fields!(fact; id symbol tick min_px max_px step min_qty max_qty max_market_qty min_notional);
    let Instrument { band_x, band_y, taker_fee, maker_fee, .. } = *fact;
    rates(&mut all, [("band_x", band_x), ("band_y", band_y), ("taker_fee", taker_fee), ("maker_fee", maker_fee)]);
    all.extend(fields!(fact; funding_minutes max_leverage trading));
    all
}

/// The fields of an entry; `None` when its bytes do not fit the layout of its kind, or the kind is not known.
#[must_use]
pub fn fields(entry: &Entry<'_>) -> Option<Fields> {
    let bytes = entry.payload;
    macro_rules! plain {
        ($type:ty; $($name:ident)*) => { read::<$type>(bytes).map(|fact| fields!(fact; $($name)*)) };
    }
    macro_rules! market {
        ($type:ty; $($name:ident)*) => {
            read::<$type>(bytes).map(|fact| market(&fact.origin, fields!(fact; $($name)*)))
        };
    }
    match entry.kind? {
        Kind::Book => BookUpdate::read(bytes).as_ref().map(book),
        Kind::Trade => market!(Trade; px qty instrument side block rpi last),
        Kind::Ticker => read(bytes).as_ref().map(ticker),
        Kind::Bar => market!(Bar; start end open high low close volume turnover instrument minutes confirmed),
        Kind::Liquidation => market!(Liquidation; px qty instrument side),
        Kind::PriceLimit => market!(PriceLimit; buy_max sell_min instrument),
        Kind::Health => market!(Health; u instrument state reason),
        Kind::VenueStatus => market!(VenueStatus; begin end ongoing derivatives),
        Kind::Ack => plain!(Ack; client recv ticks ts limit_reset venue code limit remaining op channel
            batch),
        Kind::OrderUpdate => plain!(OrderUpdate; client recv ticks updated px qty filled leaves avg_px venue reason
            instrument side status tif reduce_only queried),
        Kind::Fill => {
            plain!(Fill; client recv ticks ts seq px qty leaves closed fee pnl mark exec venue instrument side
            kind maker queried)
        }
        Kind::VenuePosition => plain!(VenuePosition; recv updated seq size entry mark liquidation unrealised realised
            initial_margin maintenance_margin instrument distressed queried),
        Kind::Wallet => plain!(Wallet; recv ts equity balance available initial_margin maintenance_margin unrealised
            queried),
        Kind::Link => plain!(Link; at channel state),
        Kind::Sent => plain!(Sent; client at took op outcome),
        Kind::Reconciliation => plain!(Reconciliation; at orders fills positions complete periodic),
        Kind::Difference => plain!(Difference; at client ours theirs venue instrument kind resolution),
        Kind::Flow => plain!(Flow; recv ts kind state amount usd fee coin chain account party address tx id),
        Kind::Standing => plain!(Standing; recv at uid parent kyc_level kyc_region ips permissions read_only expires
            changed amiss digest),
        Kind::Command => plain!(Command; recv author kind authenticated),
        Kind::Timer => plain!(Timer; due),
        Kind::Document => read(bytes).as_ref().map(document),
        Kind::Approved | Kind::Refused => read(bytes).as_ref().map(decision_fields),
        Kind::NotSized => read::<NotSized>(bytes).map(|fact| order(&fact.order)),
        Kind::Trip => plain!(Trip; version measured limit limits id scope before after reason author at),
        Kind::Answer => plain!(Answer; version limits document doubt author),
        Kind::Fortune => read::<Fortune>(bytes).map(|fact| {
            let mut all = Vec::new();
            rates(&mut all, [("unit_value", fact.unit_value), ("highest", fact.highest)]);
            all.extend(fields!(fact; day));
            rates(&mut all, [("day_value", fact.day_value)]);
            all.extend(fields!(fact; equity));
            all
        }),
        Kind::Unwind => plain!(Unwind; position theirs px mark mid since instrument stage reason bound),
        Kind::Start => plain!(Start; mono wall seed run pid config build),
        Kind::Instrument => read(bytes).as_ref().map(instrument),
        Kind::Stop => plain!(Stop; mono wall open_orders unrecorded),
        Kind::Worth => {
            plain!(Worth; at equity balance moved high drawdown initial_margin maintenance_margin)
        }
        Kind::Carried => read(bytes).as_ref().map(carried),
        Kind::Holding => plain!(Holding; size cost realised fees funding life seq base instrument lived),
        Kind::Seen => plain!(Seen; ts exec),
        Kind::Resumed => plain!(Resumed; last_fill balance moved high run holdings orders seen known clean),
        Kind::Alert => {
            plain!(Alert; at mono rule version gravity synthetic subject key instrument measured limit amount
            count window evidence parameters list list_digest)
        }
        Kind::CaseAct => {
            plain!(CaseAct; at case actor deed from to deadline follow_up retain_until score suspect alerts
            typologies pieces evidence narrative words before)
        }
        Kind::Seal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::Record;
    use keel_core::permit::Log;
    use keel_journal::Writer;

    /// Names of the fields of a struct, read from its debug text, one level of nesting flattened.
    fn declared(debug: &str) -> Vec<String> {
        let words: Vec<&str> = debug.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).collect();
        let names = words.iter().filter_map(|word| word.strip_suffix(':'));
        names.filter(|name| !name.is_empty() && *name != "pad").map(str::to_owned).collect()
    }

    fn check(fact: &impl Record, debug: &str, nested: &[&str]) {
        let mut writer = Writer::in_memory(4096).unwrap();
        writer.fact(Default::default(), Seq::NONE, fact).unwrap();
        let entry = writer.records().next().unwrap();
        let shown = fields(&entry).unwrap_or_else(|| panic!("{:?} cannot be read", fact.kind()));
        let shown: Vec<_> = shown.iter().map(|(name, _)| *name).collect();
        for name in declared(debug) {
            assert!(
                shown.contains(&name.as_str()) || nested.contains(&name.as_str()),
                "{:?} does not show {name}: {shown:?}",
                fact.kind()
            );
        }
    }

    #[test]
    fn every_field_of_every_fact_is_shown() {
        macro_rules! facts {
            ($($type:ty),* $(,)?) => {$(
                let fact = <$type>::default();
                check(&fact, &format!("{fact:?}"), &["origin", "order"]);
            )*};
        }
        facts!(
            Health,
            VenueStatus,
            Ack,
            OrderUpdate,
            Fill,
            VenuePosition,
            Wallet,
            Link,
            Sent,
            Reconciliation,
            Command,
            Timer,
            NotSized,
            Start,
            Stop,
            Instrument,
            Trip,
            Answer,
            Fortune,
            Unwind,
            Worth,
            Carried,
            Holding,
            Seen,
            Resumed,
            Flow,
            Standing,
            Alert,
            CaseAct
        );
        let ticker = Ticker::default();
        check(&ticker, &format!("{ticker:?}"), &["origin", "px", "qty"]);
        let (origin, instrument, side, no) = (Default::default(), InstrumentId(1), Side::Buy, Flag::No);
        let (px, qty, wall) = (Px::ZERO, Qty::ZERO, Wall::from_nanos(1));
        let book = BookUpdate::empty(instrument, 50, origin, 1);
        check(&book, &format!("{book:?}"), &["origin", "flags", "levels", "px", "qty"]);
        let trade = Trade { origin, px, qty, instrument, side, block: no, rpi: no, last: no, pad: [0; 2] };
        check(&trade, &format!("{trade:?}"), &["origin"]);
        let turnover = Notional::ZERO;
        let (start, end, open, high, low, close, volume) = (wall, wall, px, px, px, px, qty);
        let (minutes, confirmed, pad) = (1, no, [0; 3]);
        let bar =
            Bar { origin, start, end, open, high, low, close, volume, turnover, instrument, minutes, confirmed, pad };
        check(&bar, &format!("{bar:?}"), &["origin"]);
        let liquidation = Liquidation { origin, px, qty, instrument, side, pad: [0; 5] };
        check(&liquidation, &format!("{liquidation:?}"), &["origin"]);
        let limit = PriceLimit { origin, buy_max: px, sell_min: px, instrument, pad: [0; 6] };
        check(&limit, &format!("{limit:?}"), &["origin"]);
    }

    #[test]
    fn a_decision_shows_its_order_its_checks_and_what_they_measured() {
        struct Raw(Decision);
        impl Record for Raw {
            fn kind(&self) -> Kind {
                Kind::Refused
            }
            fn bytes(&self) -> &[u8] {
                zerocopy::IntoBytes::as_bytes(&self.0)
            }
        }
        let failing = Refusal::Position.bit() | Refusal::Collar.bit();
        let refused = Raw(Decision { failing, first: Refusal::Collar, ..Decision::default() });
        check(&refused, &format!("{:?}", refused.0.order), &[]);
        let mut writer = Writer::in_memory(4096).unwrap();
        writer.fact(Default::default(), Seq::NONE, &refused).unwrap();
        let shown = fields(&writer.records().next().unwrap()).unwrap();
        let text = |name| shown.iter().find(|(n, _)| *n == name).map(|(_, v)| v.text(&Symbols::default()));
        assert_eq!(text("failing").as_deref(), Some("Collar,Position"));
        assert_eq!(text("first").as_deref(), Some("Collar"));
        assert_eq!(text("Position").as_deref(), Some("0/0"));
    }

    #[test]
    fn bytes_that_do_not_fit_are_no_fact() {
        let mut bytes = [0xffu8; 300];
        for kind in Kind::ALL {
            for len in [0, 1, 8, 47, 64, 184, 256, 300] {
                bytes[0] = bytes[0].wrapping_add(1);
                let entry = Entry {
                    seq: Seq(1),
                    code: kind.code(),
                    kind: Some(kind),
                    cause: Seq::NONE,
                    mono: Mono::default(),
                    wall: Wall::default(),
                    clock_error: 0,
                    payload: &bytes[..len],
                    bytes: &bytes[..len],
                };
                let _ = fields(&entry);
            }
        }
    }
}

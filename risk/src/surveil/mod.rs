//! Surveillance: rules about money through the door (TM1 to TM12) and about orders and trades, folded over the journal.
//!
//! In: records in the order of the journal, parameters, what people declared, lists. Out: [`Alert`]s. Never: a clock, a
//! window of its own, an order held up; the same records with the same parameters giving another answer; a rule that is
//! silent because its data is missing and does not say so ([`Surveil::health`]).
//!
//! ```text
//!   journal --record--> [ parse ] --fact--> [ scene ] --fact--> rule rule rule ... --finding--> [ once ] --> Alert
//!                                    books, own orders,                              the same finding is told
//!                                    positions, links                                again only after its window
//! ```
//!
//! Time is the event's: the venue's stamp for money, the record's for orders and trades. Money is in USD at the event, in
//! steps of 1e-8. Every memory has a bound; at the bound the oldest goes, and [`Surveil::dropped`] counts it.
//!
//! | rule | file | needs |
//! |---|---|---|
//! | TM1 structuring, TM8 repeated | `amounts` | money |
//! | TM2 pass-through, TM7 chain hop, TM10 loss-indifferent | `passing` | money; fills; conversions |
//! | TM3 velocity, TM4 burst | `pace` | money; declared accounts |
//! | TM5 counterparty, TM11 third party, TM12 maze | `parties` | money; declared addresses and accounts |
//! | TM6 sanctioned, TM9 geography | `lists` | money, standing; lists, declared accounts, scores |
//! | wash, painting | `prints` | fills |
//! | spoofing, layering | `resting` | orders, fills, books |
//! | stuffing, pinging | `messages` | orders |
//! | ignition, marking, cross-product | `pushes` | fills, public trades; funding stamps; related instruments |
//! | front-running, insider | `knowing` | client strategies; news |

mod amounts;
mod knowing;
mod lists;
mod messages;
mod pace;
pub mod parameters;
mod parties;
mod passing;
mod prints;
mod pushes;
pub mod registry;
mod resting;
mod scene;
pub mod screen;
pub mod script;
#[cfg(test)]
mod tests;
mod window;

use crate::decision::Decision;
use keel_core::event::{
    Alert, BookUpdate, EVIDENCE, Fill, Gravity, Holding, Kind, Order, OrderUpdate, Rule, Standing, Ticker, Trade, read,
};
use keel_core::ids::{InstrumentId, Seq, Text};
use keel_core::instrument::Instrument;
use keel_core::units::{Mono, Notional, Wall};
use parameters::Parameters;
use registry::Registry;
use scene::{Money, Scene};
use screen::{Hit, Lists};
use std::collections::VecDeque;
use std::sync::Arc;
use window::{Keyed, MINUTE};

/// Every rule, in code order.
pub const RULES: [Rule; 23] = [
    Rule::Structuring,
    Rule::PassThrough,
    Rule::Velocity,
    Rule::Burst,
    Rule::Counterparty,
    Rule::Sanctioned,
    Rule::ChainHop,
    Rule::Repeated,
    Rule::Geography,
    Rule::LossIndifferent,
    Rule::ThirdParty,
    Rule::Maze,
    Rule::Wash,
    Rule::Spoofing,
    Rule::Layering,
    Rule::Stuffing,
    Rule::Ignition,
    Rule::Marking,
    Rule::Painting,
    Rule::CrossProduct,
    Rule::FrontRunning,
    Rule::Pinging,
    Rule::Insider,
];

/// Findings remembered so that each is told once.
const TOLD: usize = 16_384;
/// Nanoseconds of the journal's time without a market fact after which a market feed counts as dead.
const SILENT: u64 = 10 * MINUTE;

/// One record, as whoever reads the journal hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its place.
    pub seq: Seq,
    /// Its stopwatch.
    pub mono: Mono,
    /// Its time.
    pub wall: Wall,
    /// What it is; `None` for kinds this program does not know.
    pub kind: Option<Kind>,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Where a rule's data comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Input {
    Money = 0,
    Standing = 1,
    Orders = 2,
    Fills = 3,
    Trades = 4,
    Books = 5,
    Funding = 6,
    Conversions = 7,
    Lists = 8,
    Accounts = 9,
    Addresses = 10,
    Scores = 11,
    Clients = 12,
    Related = 13,
    News = 14,
    Prices = 15,
}

impl Input {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Money,
        Self::Standing,
        Self::Orders,
        Self::Fills,
        Self::Trades,
        Self::Books,
        Self::Funding,
        Self::Conversions,
        Self::Lists,
        Self::Accounts,
        Self::Addresses,
        Self::Scores,
        Self::Clients,
        Self::Related,
        Self::News,
        Self::Prices,
    ];

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What a rule cannot do without, and what it only sees less without.
#[must_use]
pub const fn needs(rule: Rule) -> (&'static [Input], &'static [Input]) {
    use Input::{
        Accounts, Addresses, Books, Clients, Conversions, Fills, Funding, Lists, Money, News, Orders, Prices, Related,
        Scores, Standing, Trades,
    };
    match rule {
        Rule::None => (&[], &[]),
        Rule::Structuring | Rule::Repeated | Rule::Velocity | Rule::Maze => (&[Money], &[Prices]),
        Rule::PassThrough | Rule::LossIndifferent => (&[Money, Fills], &[Prices]),
        Rule::Burst => (&[Money], &[Accounts, Prices]),
        Rule::Counterparty => (&[Money], &[Addresses, Prices]),
        Rule::Sanctioned => (&[Money, Lists], &[Accounts, Scores]),
        Rule::ChainHop => (&[Money, Conversions], &[Prices]),
        Rule::Geography => (&[Standing, Accounts], &[Addresses]),
        Rule::ThirdParty => (&[Money, Accounts], &[]),
        Rule::Wash => (&[Fills], &[]),
        Rule::Painting => (&[Fills, Orders], &[]),
        Rule::Spoofing => (&[Orders, Fills, Books], &[]),
        Rule::Layering => (&[Orders, Fills], &[]),
        Rule::Stuffing | Rule::Pinging => (&[Orders], &[]),
        Rule::Ignition => (&[Fills, Trades], &[]),
        Rule::Marking => (&[Fills, Trades, Funding], &[]),
        Rule::CrossProduct => (&[Fills, Trades, Related], &[]),
        Rule::FrontRunning => (&[Orders, Clients], &[]),
        Rule::Insider => (&[Fills, News], &[]),
    }
}

/// How a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which.
    pub rule: Rule,
    /// Its version.
    pub version: u16,
    /// Without these it cannot fire: it is without data.
    pub missing: Vec<Input>,
    /// Without these it sees less.
    pub partly: Vec<Input>,
}

impl Health {
    /// It can fire.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.missing.is_empty()
    }
}

/// A record, understood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    Money(&'a Money),
    Standing(&'a Standing),
    /// An order that left.
    Order(&'a Order),
    Fill(&'a Fill),
    Update(&'a OrderUpdate),
    /// Something else happened: time passed.
    Time,
}

/// A record, its time, its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fact<'a> {
    pub(crate) at: Wall,
    pub(crate) seq: Seq,
    mono: Mono,
    pub(crate) what: What<'a>,
}

/// The newest records behind a finding, and how many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    seqs: Vec<Seq>,
    count: u64,
}

impl Evidence {
    pub(crate) fn of(seqs: impl IntoIterator<Item = Seq>) -> Self {
        let mut evidence = Self::default();
        for seq in seqs {
            evidence.count += 1;
            let place = evidence.seqs.partition_point(|have| *have > seq);
            evidence.seqs.insert(place, seq);
            evidence.seqs.truncate(EVIDENCE);
        }
        evidence
    }
}

/// What a rule found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Finding {
    pub(crate) subject: Text<31>,
    pub(crate) key: String,
    pub(crate) instrument: InstrumentId,
    pub(crate) measured: i64,
    pub(crate) limit: i64,
    pub(crate) amount: i64,
    pub(crate) window: u64,
    pub(crate) gravity: Gravity,
    pub(crate) evidence: Evidence,
    pub(crate) hit: Option<Hit>,
}

/// Where rules put what they found.
#[derive(Debug)]
pub(crate) struct Out {
    queue: VecDeque<Alert>,
    told: Keyed<(u16, Text<31>, Text<127>, u16), Wall>,
    digest: [u8; 32],
    now: (Wall, Mono),
}

impl Out {
    /// Tells it, unless the same was told less than `quiet` ago.
    pub(crate) fn raise(&mut self, rule: Rule, version: u16, quiet: u64, found: Finding) {
        let (at, mono) = self.now;
        let key: String = found.key.chars().filter(char::is_ascii_graphic).take(127).collect();
        let key = Text::new(key.as_bytes()).unwrap_or_default();
        let name = (rule as u16, found.subject, key, found.instrument.0);
        let until = self.told.of(&name, Wall::default);
        if at < *until {
            return;
        }
        *until = at.after(quiet.max(1));
        let mut evidence = [Seq::NONE; EVIDENCE];
        evidence[..found.evidence.seqs.len()].copy_from_slice(&found.evidence.seqs);
        let (list, list_digest) = found.hit.map_or((Text::EMPTY, [0; 32]), |hit| (hit.entry, hit.digest));
        self.queue.push_back(Alert {
            at,
            mono,
            window: found.window,
            measured: found.measured,
            limit: found.limit,
            amount: Notional::from_raw(found.amount),
            count: found.evidence.count,
            evidence,
            parameters: self.digest,
            list_digest,
            list,
            subject: found.subject,
            key,
            rule,
            version,
            instrument: found.instrument,
            gravity: found.gravity,
            ..Alert::default()
        });
    }
}

/// A rule, or a family of them that share a memory.
pub(crate) trait Watch: Send + core::fmt::Debug {
    /// Looks at a fact; the scene already stands after it.
    fn see(&mut self, all: &Parameters, scene: &Scene, fact: &Fact<'_>, out: &mut Out);
    /// What went for want of room.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Everything the fold is made from.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// What rules are held against.
    pub parameters: Parameters,
    /// What people declared.
    pub registry: Registry,
    /// Sanctions lists.
    pub lists: Arc<Lists>,
    /// SHA-256 of parameters, declarations and lists, for the alerts.
    pub digest: [u8; 32],
}

/// The fold.
#[derive(Debug)]
pub struct Surveil {
    parameters: Parameters,
    scene: Scene,
    watches: Vec<Box<dyn Watch>>,
    out: Out,
    given: u32,
    seen: [Wall; 16],
    now: Wall,
    unpriced: u64,
    records: u64,
}

impl Surveil {
    /// A fold that has seen nothing.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let Terms { parameters, registry, lists, digest } = terms;
        let declared = [
            (!lists.is_empty(), Input::Lists),
            (!registry.accounts.is_empty(), Input::Accounts),
            (!registry.addresses.is_empty(), Input::Addresses),
            (registry.scored, Input::Scores),
            (!registry.clients.is_empty(), Input::Clients),
            (!registry.related.is_empty(), Input::Related),
            (!registry.news.is_empty(), Input::News),
        ];
        let given = declared.iter().filter(|(is, _)| *is).map(|(_, input)| input.bit()).sum();
        Self {
            scene: Scene::new(registry),
            watches: vec![
                Box::new(amounts::Amounts::default()),
                Box::new(passing::Passing::default()),
                Box::new(pace::Pace::default()),
                Box::new(parties::Parties::default()),
                Box::new(lists::Screening::new(lists)),
                Box::new(prints::Prints::default()),
                Box::new(resting::Resting::default()),
                Box::new(messages::Messages::default()),
                Box::new(pushes::Pushes::default()),
                Box::new(knowing::Knowing::default()),
            ],
            out: Out {
                queue: VecDeque::new(),
                told: Keyed::new(TOLD),
                digest,
                now: (Wall::default(), Mono::default()),
            },
            parameters,
            given,
            seen: [Wall::default(); 16],
            now: Wall::default(),
            unpriced: 0,
            records: 0,
        }
    }

    /// Takes in one record. [`Self::poll`] must have been drained.
    pub fn handle(&mut self, record: &Seen<'_>) {
        assert!(self.out.queue.is_empty(), "drain poll before the next handle");
        self.records += 1;
        self.now = record.wall;
        match record.kind {
            Some(Kind::Instrument) => {
                if let Some(instrument) = read::<Instrument>(record.payload) {
                    self.scene.instrument(&instrument);
                }
                self.show(record, record.wall, What::Time);
            }
            Some(Kind::Book) => {
                if let Some(update) = BookUpdate::read(record.payload) {
                    self.note(Input::Books);
                    self.scene.book(&update);
                }
            }
            Some(Kind::Ticker) => {
                if let Some(ticker) = read::<Ticker>(record.payload) {
                    self.note(Input::Prices);
                    if ticker.next_funding > Wall::default() {
                        self.note(Input::Funding);
                    }
                    self.scene.ticker(&ticker);
                }
                self.show(record, record.wall, What::Time);
            }
            Some(Kind::Trade) => {
                if let Some(trade) = read::<Trade>(record.payload) {
                    self.note(Input::Trades);
                    self.scene.trade(record.wall, &trade);
                    self.show(record, record.wall, What::Time);
                }
            }
            Some(Kind::Fill) => self.fill(record),
            Some(Kind::Approved) => {
                if let Some(decision) = read::<Decision>(record.payload) {
                    self.note(Input::Orders);
                    self.scene.order(record.wall, record.seq, &decision.order);
                    self.show(record, record.wall, What::Order(&decision.order));
                }
            }
            Some(Kind::OrderUpdate) => {
                if let Some(update) = read::<OrderUpdate>(record.payload) {
                    self.scene.update(record.wall, &update);
                    self.show(record, record.wall, What::Update(&update));
                }
            }
            Some(Kind::Holding) => {
                if let Some(holding) = read::<Holding>(record.payload) {
                    self.scene.holding(holding.instrument, holding.size);
                }
            }
            Some(Kind::Flow) => self.flow(record),
            Some(Kind::Standing) => {
                if let Some(standing) = read::<Standing>(record.payload) {
                    self.note(Input::Standing);
                    self.scene.standing(&standing);
                    self.show(record, record.wall, What::Standing(&standing));
                }
            }
            _ => self.show(record, record.wall, What::Time),
        }
    }

    fn fill(&mut self, record: &Seen<'_>) {
        let Some(fill) = read::<Fill>(record.payload) else { return };
        if fill.kind != keel_core::event::ExecKind::Trade || fill.qty.raw() <= 0 || fill.px.raw() <= 0 {
            return;
        }
        self.note(Input::Fills);
        self.scene.fill(record.wall, record.seq, &fill);
        self.show(record, record.wall, What::Fill(&fill));
    }

    fn flow(&mut self, record: &Seen<'_>) {
        let Some(flow) = read(record.payload) else { return };
        self.note(Input::Money);
        let money = self.scene.money(record.wall, &flow);
        if matches!(flow.kind, keel_core::event::FlowKind::ConvertIn | keel_core::event::FlowKind::ConvertOut) {
            self.note(Input::Conversions);
        }
        self.unpriced += u64::from(money.done && !money.priced);
        self.show(record, money.at, What::Money(&money));
    }

    fn note(&mut self, input: Input) {
        self.given |= input.bit();
        self.seen[input as usize] = self.now;
    }

    fn show(&mut self, record: &Seen<'_>, at: Wall, what: What<'_>) {
        let fact = Fact { at, seq: record.seq, mono: record.mono, what };
        self.out.now = (at, fact.mono);
        for watch in &mut self.watches {
            watch.see(&self.parameters, &self.scene, &fact, &mut self.out);
        }
    }

    /// The next alert.
    pub fn poll(&mut self) -> Option<Alert> {
        self.out.queue.pop_front()
    }

    /// How every rule is.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        let lacks = |input: &&Input| {
            let market = matches!(input, Input::Trades | Input::Books | Input::Prices);
            let silent = market && self.now.since(self.seen[**input as usize]) > SILENT;
            self.given & input.bit() == 0 || silent || (**input == Input::Prices && self.unpriced > 0)
        };
        let of = |inputs: &[Input]| inputs.iter().filter(lacks).copied().collect::<Vec<_>>();
        RULES
            .into_iter()
            .map(|rule| {
                let (musts, cans) = needs(rule);
                Health { rule, version: self.parameters.version(rule), missing: of(musts), partly: of(cans) }
            })
            .collect()
    }

    /// Records taken in.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Movements of money nobody could price.
    #[must_use]
    pub const fn unpriced(&self) -> u64 {
        self.unpriced
    }

    /// What was forgotten for want of room: more than zero is an alarm.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.watches.iter().map(|watch| watch.dropped()).sum::<u64>() + self.scene.lost() + self.out.told.dropped()
    }
}

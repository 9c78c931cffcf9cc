//! What would have been decided otherwise: other limits, or another strategy, asked at every recorded moment.
//!
//! The answer is of first order, and says so. The recorded engine runs as it ran; beside it stand a second gate and, when
//! asked for, a second strategy, which see the same market, the same answers of the venue, the same orders and positions,
//! and are asked the same question at the same moment. What they say has no consequences: the next question is again
//! about what really was. So each change listed is a change the new numbers make by themselves, and none is the echo of
//! an earlier one.
//!
//! ```text
//!   wish --> recorded gate --> decision ----> recorded state --> next wish
//!       \--> other gate ----> other decision     |
//!                ^-------- the same state -------+
//! ```
//!
//! Profit follows one stated model: an order that would not have been placed as it was has no fills; an order that was
//! not placed gets none. Never: a fill that nobody made.

use super::follow::{Followed, Witness};
use super::page::{Compare, Page};
use super::story::{Opening, Taken};
use crate::fact::Symbols;
use crate::moment::utc;
use crate::node::genesis::{Character, limits, patched};
use anyhow::{Context as _, Result};
use keel_core::desk::View;
use keel_core::engine::Engine;
use keel_core::event::{Constraint, ExecEvent, Kind, NotSized, Op, Order, Side, read};
use keel_core::ids::{ClientId, InstrumentId, Seq, StrategyId};
use keel_core::permit::{Context, LogHealth};
use keel_core::position::Position;
use keel_core::sizing::Sizing;
use keel_core::strategy::{MAX_WISHES, Quoter, Strategy, Wish, Wishes};
use keel_core::units::{Notional, Wall};
use keel_risk::{Decision, Gate, register};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

mod gates;

/// What is to be different.
#[derive(Clone, Debug)]
pub struct Change {
    limits: Option<String>,
    strategy: Option<String>,
}

impl Change {
    /// The texts of two files; `None` when neither is given.
    pub fn read(limits: Option<&Path>, strategy: Option<&Path>) -> Result<Option<Self>> {
        let text = |path: Option<&Path>| {
            path.map(|path| std::fs::read_to_string(path).with_context(|| path.display().to_string())).transpose()
        };
        let change = Self { limits: text(limits)?, strategy: text(strategy)? };
        Ok((change.limits.is_some() || change.strategy.is_some()).then_some(change))
    }
}

/// An answer, with what was measured.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are the largest")]
pub enum Verdict {
    /// Permitted or refused.
    Judged(Decision),
    /// Sized to nothing.
    NotSized(Order),
    /// Not wished for.
    Nothing,
}

/// One wish that would have been answered otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Changed {
    /// The record that caused it.
    pub cause: Seq,
    /// The decision in the journal; none when there was no wish.
    pub seq: Seq,
    /// When.
    pub wall: Wall,
    /// What was said.
    pub before: Verdict,
    /// What would have been said.
    pub after: Verdict,
}

/// The second gate and the second strategy, and what they were asked.
#[derive(Debug)]
struct Shadow {
    gate: Gate,
    quoter: Option<(Quoter, Sizing)>,
    wishes: Wishes,
    /// In the order the recorded gate was asked.
    judged: Vec<Decision>,
    /// Wishes the recorded strategy had in this turn.
    own: usize,
    /// What the other strategy wished in this turn, and the answer.
    other: Vec<Verdict>,
}

/// The recorded gate, and beside it the other one.
#[derive(Debug)]
pub struct Gates {
    own: Gate,
    shadow: Rc<RefCell<Shadow>>,
}

/// The recorded strategy, and beside it the other one.
#[derive(Debug)]
pub struct Minds {
    own: Quoter,
    shadow: Rc<RefCell<Shadow>>,
}

impl Strategy for Minds {
    fn id(&self) -> StrategyId {
        self.own.id()
    }

    fn think(&mut self, view: &View<'_>, instrument: InstrumentId, wishes: &mut Wishes) {
        self.own.think(view, instrument, wishes);
        let mut shadow = self.shadow.borrow_mut();
        shadow.own = (0..MAX_WISHES).take_while(|at| wishes.get(*at).is_some()).count();
        shadow.think(view, instrument);
    }

    fn refused(&mut self, view: &View<'_>, instrument: InstrumentId, wish: &Wish) {
        self.own.refused(view, instrument, wish);
    }
}

impl Shadow {
    fn think(&mut self, view: &View<'_>, instrument: InstrumentId) {
        let Some((mut quoter, sizing)) = self.quoter.take() else { return };
        self.wishes.clear();
        quoter.think(view, instrument, &mut self.wishes);
        for at in 0..MAX_WISHES {
            let Some(wish) = self.wishes.get(at) else { break };
            let verdict = self.ask(view, instrument, &wish, &sizing, quoter.id());
            if !verdict.is_approved() {
                quoter.refused(view, instrument, &wish);
            }
            self.other.push(verdict);
        }
        self.quoter = Some((quoter, sizing));
    }

    fn ask(&mut self, view: &View<'_>, on: InstrumentId, wish: &Wish, sizing: &Sizing, id: StrategyId) -> Verdict {
        let Some(seat) = view.desk.seat(on) else { return Verdict::Nothing };
        let working = match wish {
            Wish::Reprice { order, .. } | Wish::Cancel { order } => view.desk.orders.get(*order),
            Wish::Rest { .. } | Wish::Take { .. } => None,
        };
        match sizing.size(wish, seat, working) {
            Err((order, bound)) => Verdict::NotSized(Order { bound, ..order }),
            Ok(order) => {
                let client = if order.op == Op::New { view.desk.orders.next_id() } else { order.client };
                let order = Order { strategy: id, client, ..order };
                let context = Context { touch: seat.touch(), working, log: LogHealth::Sound };
                Verdict::Judged(self.gate.weigh(view.now, &order, &context))
            }
        }
    }
}

impl Verdict {
    const fn is_approved(&self) -> bool {
        matches!(self, Self::Judged(decision) if decision.failing == 0)
    }

    const fn order(&self) -> Option<&Order> {
        match self {
            Self::Judged(decision) => Some(&decision.order),
            Self::NotSized(order) => Some(order),
            Self::Nothing => None,
        }
    }

    /// Is it about the same thing?
    fn is_for(&self, other: &Self) -> bool {
        let of = |order: &Order| (order.op, order.side, order.instrument);
        self.order().map(of) == other.order().map(of)
    }

    /// Does it ask for the same?
    fn asks_as(&self, other: &Self) -> bool {
        let of = |order: &Order| (order.op, order.side, order.instrument, order.px, order.qty, order.tif, order.kind);
        let sized = matches!(self, Self::NotSized(_)) == matches!(other, Self::NotSized(_));
        sized && self.order().map(of) == other.order().map(of)
    }

    /// Is it the same answer?
    fn says_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Judged(a), Self::Judged(b)) => a.failing == b.failing,
            (Self::NotSized(a), Self::NotSized(b)) => a.bound == b.bound,
            (a, b) => matches!((a, b), (Self::Nothing, Self::Nothing)),
        }
    }

    /// One word.
    fn word(&self) -> String {
        match self {
            Self::Judged(decision) if decision.failing == 0 => "Approved".to_owned(),
            Self::Judged(_) => "Refused".to_owned(),
            Self::NotSized(_) => "NotSized".to_owned(),
            Self::Nothing => "Nothing".to_owned(),
        }
    }

    /// The reason with its numbers.
    fn reason(&self) -> String {
        match self {
            Self::Judged(decision) => {
                let shown = crate::fact::decision_fields(decision);
                let one = |code: keel_risk::Refusal| {
                    let found = shown.iter().find(|(name, value)| *name == code.name() && !value.is_nothing());
                    found.map_or_else(
                        || code.name().to_owned(),
                        |(name, value)| format!("{name} {}", value.text(&Symbols::default()).replace('/', " > ")),
                    )
                };
                decision.failures().map(one).collect::<Vec<_>>().join(", ")
            }
            Self::NotSized(Order { bound: Constraint::None, .. }) | Self::Nothing => String::new(),
            Self::NotSized(order) => format!("{:?}", order.bound),
        }
    }

    fn text(&self) -> String {
        let (word, reason) = (self.word(), self.reason());
        if reason.is_empty() { word } else { format!("{word} ({reason})") }
    }
}

/// What the comparison found.
#[derive(Debug)]
pub struct Whatif {
    shadow: Rc<RefCell<Shadow>>,
    stated: Vec<String>,
    moves: bool,
    /// Decisions that would have been the same.
    pub same: u64,
    /// Those that would not.
    pub changed: Vec<Changed>,
    /// Orders that would not have been placed, or not as they were.
    without: BTreeSet<ClientId>,
    fills: (u64, u64),
    /// By instrument: all fills, and those that would have been.
    positions: Vec<(Position, Position)>,
    counted: u64,
    overflow: bool,
}

type Twin = Engine<Minds, Gates, Compare>;

impl Whatif {
    /// The recorded engine with its shadow.
    pub fn new(opening: &Opening, change: &Change, log: Compare) -> Result<(Twin, Self)> {
        let (genesis, table) = (&opening.genesis, &opening.instruments);
        let mut other = genesis.clone();
        let mut stated = Vec::new();
        if let Some(patch) = &change.limits {
            other.limits = limits(&patched(&register::text(&genesis.limits), patch)?)?;
            let number = |value: Option<i128>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
            for difference in register::differences(&genesis.limits, &other.limits) {
                let way = if difference.loosens { ", looser" } else { "" };
                stated.push(format!(
                    "{} {} -> {}{way}",
                    difference.name,
                    number(difference.before),
                    number(difference.after)
                ));
            }
        }
        if let Some(patch) = &change.strategy {
            other.character = genesis.character.changed(patch).context("the changed strategy")?;
            stated.extend(
                patch.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned),
            );
        }
        let Character { sizing, .. } = other.character;
        let quoter = change.strategy.as_ref().map(|_| (other.character.strategy(), sizing));
        let moves = quoter.is_some();
        let gate = other.gate(table, &opening.latch)?;
        let (judged, other) = (Vec::new(), Vec::new());
        let shadow = Rc::new(RefCell::new(Shadow { gate, quoter, wishes: Wishes::default(), judged, own: 0, other }));
        let minds = Minds { own: genesis.character.strategy(), shadow: Rc::clone(&shadow) };
        let gates = Gates { own: genesis.gate(table, &opening.latch)?, shadow: Rc::clone(&shadow) };
        let engine = Engine::new(table, opening.start.run, minds, genesis.character.sizing, gates, log);
        let engine = engine.resumed(opening.begun, opening.desk.clone());
        let positions = engine.desk().seats().iter().map(|seat| (seat.position, seat.position)).collect();
        let whatif = Self {
            shadow,
            stated,
            moves,
            same: 0,
            changed: Vec::new(),
            without: BTreeSet::new(),
            fills: (0, 0),
            positions,
            counted: 0,
            overflow: false,
        };
        Ok((engine, whatif))
    }

    /// The turn's decisions beside what the shadow said of each.
    fn decisions(&mut self, page: &Page) {
        let mut shadow = self.shadow.borrow_mut();
        let mut judged = shadow.judged.drain(..);
        let mut pairs: Vec<(Seq, Verdict, Verdict)> = Vec::new();
        for fact in &page.facts()[1..] {
            let bytes = page.payload(fact);
            let (before, after) = match fact.kind {
                Kind::Approved | Kind::Refused => {
                    let (Some(before), Some(after)) = (read::<Decision>(bytes), judged.next()) else { continue };
                    (Verdict::Judged(before), Verdict::Judged(after))
                }
                Kind::NotSized => {
                    let Some(fact) = read::<NotSized>(bytes) else { continue };
                    (Verdict::NotSized(fact.order), Verdict::NotSized(fact.order))
                }
                _ => continue,
            };
            pairs.push((fact.seq, before, after));
        }
        drop(judged);
        let wished = std::mem::take(&mut shadow.own).min(pairs.len());
        let mut others = std::mem::take(&mut shadow.other);
        drop(shadow);
        let Some(first) = page.first() else { return };
        let mut note = |seq, before: Verdict, after: Verdict| {
            if before.asks_as(&after) && before.says_as(&after) {
                self.same += 1;
            } else {
                self.changed.push(Changed { cause: first.seq, seq, wall: first.wall, before, after });
            }
        };
        for (at, (seq, before, after)) in pairs.into_iter().enumerate() {
            if !self.moves || at >= wished {
                note(seq, before, after);
                continue;
            }
            match others.iter().position(|other| other.is_for(&before)) {
                // the same question: the gate beside the recorded one heard it at its very moment
                Some(found) if others[found].asks_as(&before) => {
                    others.remove(found);
                    note(seq, before, after);
                }
                Some(found) => note(seq, before, others.remove(found)),
                None => note(seq, before, Verdict::Nothing),
            }
        }
        others.into_iter().for_each(|other| note(Seq::NONE, Verdict::Nothing, other));
    }

    /// Orders whose fills are not to be counted from here on.
    fn strike(&mut self, from: usize) {
        for changed in &self.changed[from..] {
            let Some(order) = changed.before.order().filter(|_| changed.before.is_approved()) else { continue };
            if order.op != Op::Cancel {
                self.without.insert(order.client);
            }
        }
    }

    fn filled(&mut self, taken: &Taken, fills: u64) {
        let Taken::Exec(ExecEvent::Fill(fill)) = taken else { return };
        if fills == self.counted {
            return;
        }
        self.counted = fills;
        let kept = !self.without.contains(&fill.client);
        self.fills = (self.fills.0 + 1, self.fills.1 + u64::from(!kept));
        let Some((all, some)) = self.positions.get_mut(fill.instrument.index()) else { return };
        match (all.after(fill), if kept { some.after(fill) } else { Some(*some) }) {
            (Some(next_all), Some(next_some)) => (*all, *some) = (next_all, next_some),
            _ => self.overflow = true,
        }
    }

    /// Profit less than recorded, at the marks of the end; `None` when a sum does not fit.
    fn lost(&self, followed: &Followed) -> Option<Notional> {
        let mut lost = 0i64;
        for ((all, some), seat) in self.positions.iter().zip(&followed.seats) {
            lost = lost.checked_add(all.net(seat.mark)?.raw().checked_sub(some.net(seat.mark)?.raw())?)?;
        }
        (!self.overflow).then_some(Notional::from_raw(lost))
    }

    fn kinds(&self) -> BTreeMap<String, u64> {
        let mut kinds = BTreeMap::new();
        for Changed { before, after, .. } in &self.changed {
            let why = |verdict: &Verdict| match verdict {
                Verdict::Judged(decision) => decision.failures().map(|code| code.name()).collect::<Vec<_>>().join("+"),
                Verdict::NotSized(order) => format!("{:?}", order.bound),
                Verdict::Nothing => String::new(),
            };
            let said = |verdict: &Verdict| format!("{} {}", verdict.word(), why(verdict)).trim().to_owned();
            *kinds.entry(format!("{} -> {}", said(before), said(after))).or_default() += 1;
        }
        kinds
    }

    fn placed(&self, of: impl Fn(&Changed) -> &Verdict) -> usize {
        self.changed
            .iter()
            .filter(|changed| of(changed).is_approved() && of(changed).order().is_some_and(|o| o.op == Op::New))
            .count()
    }

    pub(super) fn print(
        &self,
        followed: &Followed,
        symbols: &Symbols,
        lines: usize,
        out: &mut impl Write,
    ) -> Result<()> {
        writeln!(out, "  what if    {}", self.stated.join("\n             "))?;
        writeln!(out, "  decisions  {} the same, {} otherwise", self.same, self.changed.len())?;
        for (kind, count) in self.kinds() {
            writeln!(out, "             {count} {kind}")?;
        }
        let (gone, new) = (self.placed(|changed| &changed.before), self.placed(|changed| &changed.after));
        writeln!(out, "  orders     {} placed; {gone} of them not, or not so; {new} others", followed.counts.placed)?;
        let (all, removed) = self.fills;
        writeln!(out, "  fills      {all}; {removed} of them belong to orders that would not have been so")?;
        match self.lost(followed) {
            Some(lost) => {
                let recorded: Notional = followed.seats.iter().map(|seat| seat.net.unwrap_or_default()).sum();
                writeln!(out, "  profit     {recorded} USDT; without these fills {} USDT", recorded - lost)?;
            }
            None => writeln!(out, "  profit     does not fit its numbers")?,
        }
        writeln!(
            out,
            "  model      first order: each wish asked again at its moment, with everything else as recorded;"
        )?;
        writeln!(out, "             changed orders lose the fills they had, new ones get none")?;
        for changed in self.changed.iter().take(lines) {
            writeln!(out, "  {}", changed.line(symbols))?;
        }
        if self.changed.len() > lines {
            writeln!(out, "  and {} more: --lines, or --json", self.changed.len() - lines)?;
        }
        Ok(())
    }

    pub(super) fn json(&self, followed: &Followed, symbols: &Symbols) -> Value {
        let recorded: Notional = followed.seats.iter().map(|seat| seat.net.unwrap_or_default()).sum();
        json!({
            "model": "first order: recorded state, changed orders lose their fills, new orders get none",
            "changes": self.stated,
            "same": self.same,
            "changed": self.changed.iter().map(|changed| changed.json(symbols)).collect::<Vec<_>>(),
            "kinds": self.kinds(),
            "orders": {
                "placed": followed.counts.placed,
                "gone": self.placed(|changed| &changed.before),
                "new": self.placed(|changed| &changed.after),
            },
            "fills": { "all": self.fills.0, "gone": self.fills.1 },
            "profit_usdt": {
                "recorded": recorded.to_string(),
                "without": self.lost(followed).map(|lost| (recorded - lost).to_string()),
            },
        })
    }
}

impl Witness<Minds, Gates> for Whatif {
    fn turn(&mut self, page: &Page, taken: &Taken, engine: &Twin) {
        let from = self.changed.len();
        self.decisions(page);
        self.strike(from);
        self.filled(taken, engine.counts().fills);
    }
}

impl Changed {
    fn order(&self) -> Order {
        self.before.order().or(self.after.order()).copied().unwrap_or_default()
    }

    fn line(&self, symbols: &Symbols) -> String {
        let Order { client, op, side, qty, px, instrument, .. } = self.order();
        let place = if self.seq == Seq::NONE { format!("after {}", self.cause.0) } else { self.seq.0.to_string() };
        let asked = self
            .after
            .order()
            .filter(|other| self.before.order().is_some_and(|own| own.px != other.px || own.qty != other.qty));
        let asked = asked.map_or_else(String::new, |other| format!(" {}@{}", other.qty, other.px));
        let side = if side == Side::Buy { "buy" } else { "sell" };
        let (when, symbol) = (utc(self.wall), symbols.name(instrument));
        let (before, after) = (self.before.text(), self.after.text());
        format!("{place} {when} {client} {op:?} {side} {symbol} {qty}@{px}: {before} ->{asked} {after}")
    }

    fn json(&self, symbols: &Symbols) -> Value {
        let order = self.order();
        let verdict = |verdict: &Verdict| {
            let measured = match verdict {
                Verdict::Judged(decision) => decision
                    .failures()
                    .map(|code| {
                        let pair = decision.measure(code);
                        json!({ "check": code.name(), "value": pair.map(|p| p.value), "limit": pair.map(|p| p.limit) })
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let order = verdict.order().map(|o| json!({ "px": o.px.to_string(), "qty": o.qty.to_string() }));
            json!({ "verdict": verdict.word(), "failing": measured, "order": order })
        };
        json!({
            "seq": (self.seq != Seq::NONE).then_some(self.seq.0),
            "cause": self.cause.0,
            "time": utc(self.wall),
            "client": order.client.to_string(),
            "op": format!("{:?}", order.op),
            "side": format!("{:?}", order.side),
            "instrument": symbols.name(order.instrument),
            "recorded": verdict(&self.before),
            "otherwise": verdict(&self.after),
        })
    }
}

//! The chain as a page and as JSON.

use super::scene::{Moved, Scene};
use super::{Chain, Step, Subject};
use crate::fact::{Fields, Symbols, fields, hex};
use crate::moment::utc;
use anyhow::Result;
use keel_core::event::{Constraint, Fill, Kind, Level, NotSized, Order, Sent, SentOutcome, read};
use keel_core::ids::ClientId;
use keel_core::position::Position;
use keel_core::units::{Notional, Px};
use keel_risk::{Decision, Refusal};
use serde_json::{Map, Value, json};
use std::io::Write;

/// What an order or a turn earned, as far as the journal goes.
#[derive(Clone, Copy, Debug, Default)]
struct Earned {
    fills: u64,
    realised: Notional,
    fees: Notional,
}

fn earned(chain: &Chain) -> Earned {
    let mut earned = Earned::default();
    for step in chain.steps.iter().filter(|step| step.record.fact.kind == Kind::Fill) {
        let (Some(moved), Some(fill)) = (&step.moved, read::<Fill>(&step.record.payload)) else { continue };
        if moved.after == moved.before {
            continue;
        }
        earned.fills += 1;
        earned.realised += moved.after.realised - moved.before.realised;
        earned.fees += fill.fee;
    }
    earned
}

/// A page.
pub(super) fn page(chain: &Chain, out: &mut impl Write) -> Result<()> {
    match chain.subject {
        Subject::Order(order) => writeln!(out, "order {order}")?,
        Subject::Turn(seq) => writeln!(out, "record {} and what it caused", seq.0)?,
    }
    let start = &chain.start;
    let (build, config) = (start.build, hex(&start.config[..8]));
    writeln!(out, "run {}, seed {}, keel {build}, configuration {config}.., pid {}", start.run, start.seed, start.pid)?;
    if let Some(strategy) = &chain.strategy {
        writeln!(out, "strategy: {}", strategy.lines().collect::<Vec<_>>().join("; "))?;
    }
    for step in &chain.steps {
        one(step, &chain.symbols, out)?;
    }
    let earned = earned(chain);
    if earned.fills > 0 {
        let Earned { fills, realised, fees } = earned;
        writeln!(out, "\n{fills} fills: realised {realised}, fees {fees}, together {} USDT", realised - fees)?;
    }
    if let Some(blind) = &chain.blind {
        writeln!(out, "\nno picture of the book: {blind}")?;
    }
    Ok(())
}

fn one(step: &Step, symbols: &Symbols, out: &mut impl Write) -> Result<()> {
    let record = &step.record;
    let fact = &record.fact;
    writeln!(out, "\n{} {} {}", fact.seq.0, utc(fact.wall), title(step, symbols))?;
    let fields = fields(&record.entry()).unwrap_or_default();
    let judged = matches!(fact.kind, Kind::Approved | Kind::Refused);
    if let Some(decision) = read::<Decision>(&record.payload).filter(|_| judged) {
        checks(&decision, &fields, symbols, out)?;
    } else if fact.kind != Kind::NotSized {
        writeln!(out, "  {}", pairs(&fields, symbols))?;
    }
    if let Some(scene) = &step.scene {
        book(scene, out)?;
    }
    if let Some(Moved { before, after, mid }) = &step.moved {
        let mid = mid.map_or_else(|| "-".to_owned(), |mid| mid.to_string());
        let realised = after.realised - before.realised;
        writeln!(out, "  position {} -> {}, realised {realised} USDT, mid {mid}", before.size, after.size)?;
    }
    for (name, nanos) in &step.took {
        writeln!(out, "  {:<22} {}", name.replace('_', " "), span(*nanos))?;
    }
    if fact.kind.code() / 100 == 4 {
        let bytes = record.payload.len();
        writeln!(out, "  recorded before it left: record {}, {bytes} bytes, because of {}", fact.seq.0, fact.cause.0)?;
    }
    Ok(())
}

/// What happened, in one line.
fn title(step: &Step, symbols: &Symbols) -> String {
    let (kind, bytes) = (step.record.fact.kind, &step.record.payload);
    let asked = |order: &Order| {
        let Order { op, side, qty, px, instrument, tif, bound, .. } = *order;
        let bound = if bound == Constraint::None { String::new() } else { format!(", its size set by {bound:?}") };
        format!("{op:?} {side:?} {} {qty} at {px} {tif:?}{bound}", symbols.name(instrument))
    };
    match kind {
        Kind::Approved | Kind::Refused => {
            let order = read::<Decision>(bytes).map(|decision| asked(&decision.order)).unwrap_or_default();
            format!("{kind:?}: {order}")
        }
        Kind::NotSized => format!("NotSized: {}", read::<NotSized>(bytes).map(|f| asked(&f.order)).unwrap_or_default()),
        Kind::Sent => match read::<Sent>(bytes) {
            Some(Sent { outcome: SentOutcome::Wire, op, .. }) => format!("Sent: the {op:?} is on the wire"),
            Some(Sent { outcome, op, .. }) => format!("Sent: the {op:?} never left ({outcome:?})"),
            None => "Sent".to_owned(),
        },
        kind => format!("{kind:?}"),
    }
}

fn pairs(fields: &Fields, symbols: &Symbols) -> String {
    let told = fields.iter().filter(|(name, value)| !value.is_nothing() && !["ticks", "recv", "cause"].contains(name));
    told.map(|(name, value)| format!("{name}={}", value.text(symbols))).collect::<Vec<_>>().join(" ")
}

/// Every check with its value and its limit; then those that only hold or fail.
fn checks(decision: &Decision, fields: &Fields, symbols: &Symbols, out: &mut impl Write) -> Result<()> {
    let Decision { mark, equity, limits, brake, class, order, .. } = *decision;
    let strategy = order.strategy.0;
    writeln!(out, "  {} strategy {strategy}, class {class:?}, brake {brake:?}, limits version {limits}", order.client)?;
    writeln!(out, "  mark {mark}, equity {equity} USDT")?;
    let mut plain = Vec::new();
    for code in Refusal::ALL {
        let failed = decision.failed(code);
        let shown = fields.iter().find(|(name, value)| *name == code.name() && !value.is_nothing());
        match shown {
            Some((name, value)) => {
                let text = value.text(symbols);
                let (value, limit) = text.split_once('/').unwrap_or((&text, ""));
                writeln!(out, "  {} {name:<16} {value:>20} of {limit}", if failed { "FAILED" } else { "held  " })?;
            }
            None if failed => writeln!(out, "  FAILED {:<16} {}", code.name(), code.meaning())?,
            None => plain.push(code.name()),
        }
    }
    writeln!(out, "  held, or no concern of this order: {}", plain.join(", "))?;
    Ok(())
}

fn book(scene: &Scene, out: &mut impl Write) -> Result<()> {
    let level = |level: Option<&Level>| level.map_or_else(String::new, |l| format!("{} @ {}", l.qty, l.px));
    writeln!(out, "  {:>28} | {:<28} update {}", "bid", "ask", scene.update)?;
    for at in 0..scene.bids.len().max(scene.asks.len()) {
        writeln!(out, "  {:>28} | {}", level(scene.bids.get(at)), level(scene.asks.get(at)))?;
    }
    let px = |px: Option<Px>| px.map_or_else(|| "-".to_owned(), |px| px.to_string());
    let mid = px(scene.touch.map(|touch| touch.mid()));
    let Scene { lean, mark, position, open, .. } = scene;
    writeln!(out, "  mid {mid}, micro-price {}, lean {lean} permille, mark {mark}", px(scene.micro))?;
    writeln!(out, "  position {}, {open} orders open on it afterwards", position.size)?;
    Ok(())
}

/// Nanoseconds for people.
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn span(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..10_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", nanos as f64 / 1e6),
        _ => format!("{:.1} s", nanos as f64 / 1e9),
    }
}

/// One object.
pub(super) fn json(chain: &Chain) -> Value {
    let (order, turn) = match chain.subject {
        Subject::Order(order) => (Some(order), None),
        Subject::Turn(seq) => (None, Some(seq.0)),
    };
    let Earned { fills, realised, fees } = earned(chain);
    let start = &chain.start;
    json!({
        "order": order.map(|order: ClientId| order.to_string()),
        "record": turn,
        "run": start.run,
        "lineage": {
            "seed": start.seed,
            "build": start.build.as_str(),
            "config_sha256": hex(&start.config),
            "strategy": chain.strategy.as_deref().map(lines),
        },
        "steps": chain.steps.iter().map(|step| json_step(step, &chain.symbols)).collect::<Vec<_>>(),
        "profit": {
            "fills": fills,
            "realised_usdt": realised.to_string(),
            "fees_usdt": fees.to_string(),
            "net_usdt": (realised - fees).to_string(),
        },
        "no_book": chain.blind,
    })
}

fn lines(text: &str) -> Map<String, Value> {
    text.lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

fn json_step(step: &Step, symbols: &Symbols) -> Value {
    let record = &step.record;
    let fact: Map<String, Value> = fields(&record.entry())
        .unwrap_or_default()
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.json(symbols)))
        .collect();
    let judged = matches!(record.fact.kind, Kind::Approved | Kind::Refused);
    let failing = read::<Decision>(&record.payload).filter(|_| judged);
    let failing = failing.map(|decision| decision.failures().map(Refusal::name).collect::<Vec<_>>());
    let took: Map<String, Value> = step.took.iter().map(|(name, nanos)| ((*name).to_owned(), json!(nanos))).collect();
    json!({
        "seq": record.fact.seq.0,
        "time": utc(record.fact.wall),
        "mono": record.fact.mono.nanos(),
        "kind": format!("{:?}", record.fact.kind),
        "cause": record.fact.cause.0,
        "bytes": record.payload.len(),
        "fact": fact,
        "failing": failing,
        "took_ns": took,
        "book": step.scene.as_ref().map(|scene| json_scene(scene, symbols)),
        "position": step.moved.as_ref().map(json_moved),
    })
}

fn json_scene(scene: &Scene, symbols: &Symbols) -> Value {
    let levels = |levels: &[Level]| -> Vec<Value> {
        levels.iter().map(|level| json!([level.px.to_string(), level.qty.to_string()])).collect()
    };
    json!({
        "instrument": symbols.name(scene.instrument),
        "bids": levels(&scene.bids),
        "asks": levels(&scene.asks),
        "update": scene.update,
        "mid": scene.touch.map(|touch| touch.mid().to_string()),
        "micro_price": scene.micro.map(|px| px.to_string()),
        "lean_permille": scene.lean,
        "mark": scene.mark.to_string(),
        "position": scene.position.size.to_string(),
    })
}

fn json_moved(moved: &Moved) -> Value {
    let held = |position: &Position| {
        json!({
            "size": position.size.to_string(),
            "realised_usdt": position.realised.to_string(),
            "fees_usdt": position.fees.to_string(),
        })
    };
    json!({ "before": held(&moved.before), "after": held(&moved.after), "mid": moved.mid.map(|mid| mid.to_string()) })
}

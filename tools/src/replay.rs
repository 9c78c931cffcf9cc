//! `keel replay`: the engine takes in a journal again, and every decision is held against the one that was recorded.
//!
//! ```text
//!   first records --> the same engine          inputs --> engine --> decisions
//!   (limits, scenarios, strategy, sizing)      at their recorded moments   = recorded, byte for byte?
//! ```
//!
//! In: a directory, live, closed or archived. Out: how much was the same, or the first record that was not, field by
//! field, with its cause. With `--limits` or `--strategy`: what would have been decided otherwise. Never: a write, a
//! clock the engine could see, a tolerance.

pub mod follow;
pub mod page;
mod refused;
pub mod story;
pub mod whatif;

use crate::fact::{Symbols, hex};
use crate::moment;
use crate::node::clock::{Stopwatch, core_nanos, system_wall};
use anyhow::{Context, Result, bail};
use follow::{Ended, Followed, Nobody, Span, follow};
use keel_core::ids::Seq;
use keel_core::units::{Notional, Wall};
use page::{Compare, Odd, Owned, Page};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use story::{Next, Opening, Story};
use whatif::{Change, Whatif};

/// What a person may say to `keel replay`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Only this run of the journal
    #[arg(long, value_name = "N")]
    pub run: Option<u32>,
    /// Count and show from this record or moment on (records before it are replayed all the same: they are its past)
    #[arg(long, value_name = "SEQ|TIME")]
    pub from: Option<String>,
    /// Replay up to this record, or until this moment
    #[arg(long, value_name = "SEQ|TIME")]
    pub to: Option<String>,
    /// What if these limits had been in force: lines `name = value` as in the recorded limits, any number of them
    #[arg(long, value_name = "FILE")]
    pub limits: Option<PathBuf>,
    /// What if the strategy or its sizing had been different: lines `name = value` as in the recorded strategy
    #[arg(long, value_name = "FILE")]
    pub strategy: Option<PathBuf>,
    /// Print the limits and the strategy the run was made from, and end
    #[arg(long)]
    pub genesis: bool,
    /// Changed decisions shown; all of them with --json
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub lines: usize,
    /// One JSON object instead of a page
    #[arg(long)]
    pub json: bool,
}

/// One run, replayed or not.
#[derive(Debug)]
struct Told {
    run: u32,
    outcome: Result<(Followed, Option<Whatif>)>,
    symbols: Symbols,
    spent: Spent,
}

/// `keel replay`.
pub fn run(args: &Args) -> Result<()> {
    unless_closed(tell(args, &mut std::io::stdout().lock()))
}

/// Who reads no further, `head` above all, is no failure.
pub fn unless_closed(told: Result<()>) -> Result<()> {
    match told {
        Err(why)
            if why.downcast_ref::<std::io::Error>().is_some_and(|why| why.kind() == std::io::ErrorKind::BrokenPipe) =>
        {
            Ok(())
        }
        told => told,
    }
}

/// Replays and tells `out`; an error when anything was not as recorded.
pub fn tell(args: &Args, out: &mut impl Write) -> Result<()> {
    let span = span(args)?;
    let change = Change::read(args.limits.as_deref(), args.strategy.as_deref())?;
    let runs = replay(args, &span, change.as_ref(), out)?;
    if args.genesis {
        return Ok(());
    }
    if args.json {
        writeln!(out, "{}", json!({ "runs": runs.iter().map(|told| told.json()).collect::<Vec<_>>() }))?;
    } else {
        runs.iter().try_for_each(|told| told.print(args, out))?;
    }
    match runs.iter().find_map(|told| Some((told.failure()?, told.run))) {
        Some((why, run)) => bail!("{why}{}", refused::because(&args.dir, run)?),
        None if runs.is_empty() => bail!("there is no run to replay"),
        None => Ok(()),
    }
}

fn span(args: &Args) -> Result<Span> {
    let mut span =
        Span { from: Seq::NONE, to: Seq(u64::MAX), since: Wall::from_nanos(0), until: Wall::from_nanos(u64::MAX) };
    let moment = |text: &str| {
        moment::parse(text, system_wall()).with_context(|| format!("{text}: neither a record nor a moment"))
    };
    match args.from.as_deref().map(|text| (text, text.parse::<u64>())) {
        Some((_, Ok(seq))) => span.from = Seq(seq),
        Some((text, Err(_))) => span.since = moment(text)?,
        None => {}
    }
    match args.to.as_deref().map(|text| (text, text.parse::<u64>())) {
        Some((_, Ok(seq))) => span.to = Seq(seq),
        Some((text, Err(_))) => span.until = moment(text)?,
        None => {}
    }
    Ok(span)
}

fn replay(args: &Args, span: &Span, change: Option<&Change>, out: &mut impl Write) -> Result<Vec<Told>> {
    let mut story = Story::open(&args.dir)?;
    let page = Rc::new(RefCell::new(Page::default()));
    let (watch, mut runs) = (Stopwatch::new(), Vec::new());
    let mut next = story.next(&mut page.borrow_mut())?;
    loop {
        match next {
            Next::End => return Ok(runs),
            Next::Turn { .. } | Next::Stop => next = story.next(&mut page.borrow_mut())?,
            Next::Opening => {
                let (symbols, number) = learn(&page.borrow());
                let wanted = args.run.is_none_or(|run| Some(run) == number);
                let opening = Opening::read(&page.borrow(), story.inherited());
                next = Next::Stop;
                if !wanted {
                    continue;
                }
                let (run, mut spent) = (number.unwrap_or_default(), Spent::default());
                let outcome = match opening {
                    Ok(opening) if args.genesis => {
                        for (kind, text) in opening.genesis.documents(&opening.instruments) {
                            writeln!(out, "# run {run}: {kind:?}\n{text}")?;
                        }
                        continue;
                    }
                    Ok(opening) => {
                        let mut clock = Clock { watch: &watch, spent: &mut spent };
                        one(&mut story, &page, &opening, span, change, &mut clock).map(|(followed, whatif, then)| {
                            next = then;
                            (followed, whatif)
                        })
                    }
                    Err(why) => Err(why),
                };
                let shown =
                    outcome.as_ref().map_or(true, |(f, _)| f.odd.is_some() || f.records.1 >= span.from && f.inputs > 0);
                if shown {
                    runs.push(Told { run, outcome, symbols, spent });
                }
            }
        }
    }
}

/// Symbols and run number, from the records a run begins with.
fn learn(page: &Page) -> (Symbols, Option<u32>) {
    let mut symbols = Symbols::default();
    for fact in page.facts() {
        symbols.learn(&page.owned(fact).entry());
    }
    let start = page.first().and_then(|fact| keel_core::event::read::<keel_core::event::Start>(page.payload(fact)));
    (symbols, start.map(|start| start.run))
}

fn one(
    story: &mut Story,
    page: &Rc<RefCell<Page>>,
    opening: &Opening,
    span: &Span,
    change: Option<&Change>,
    clock: &mut Clock<'_>,
) -> Result<(Followed, Option<Whatif>, Next)> {
    let log = Compare(Rc::clone(page));
    let Some(change) = change else {
        let engine = opening.engine(log)?;
        let (followed, next) = clock.time(|| follow(story, page, opening, engine, span, &mut Nobody))?;
        return Ok((followed, None, next));
    };
    let (engine, mut whatif) = Whatif::new(opening, change, log)?;
    let (followed, next) = clock.time(|| follow(story, page, opening, engine, span, &mut whatif))?;
    Ok((followed, Some(whatif), next))
}

/// What following a run took: nanoseconds, and those of them on a core. The making of its engine is not in it.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    nanos: u64,
    core_nanos: u64,
}

/// Takes the time of it.
struct Clock<'a> {
    watch: &'a Stopwatch,
    spent: &'a mut Spent,
}

impl Clock<'_> {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (from, core) = (self.watch.ticks(), core_nanos());
        let done = work();
        let (nanos, core_nanos) = (self.watch.nanos(from, self.watch.ticks()), core_nanos().saturating_sub(core));
        *self.spent = Spent { nanos, core_nanos };
        done
    }
}

impl Told {
    /// One sentence for the exit.
    fn failure(&self) -> Option<String> {
        let run = self.run;
        match &self.outcome {
            Err(why) => Some(format!("run {run} cannot be replayed: {why:#}")),
            Ok((Followed { odd: Some((odd, _)), .. }, _)) => Some(match odd.seq() {
                Some(seq) => format!("run {run} is not what was recorded: record {} is the first that differs", seq.0),
                None => format!("run {run} is not what was recorded"),
            }),
            Ok(_) => None,
        }
    }

    fn print(&self, args: &Args, out: &mut impl Write) -> Result<()> {
        let Ok((followed, whatif)) = &self.outcome else { return Ok(()) };
        let Followed { records: (first, last), inputs, decisions, ended, .. } = followed;
        let total: u64 = decisions.values().sum();
        let kinds: Vec<_> = decisions.iter().map(|(kind, count)| format!("{count} {kind:?}")).collect();
        writeln!(out, "run {}: records {} to {}, {}", self.run, first.0, last.0, said(*ended))?;
        writeln!(out, "  inputs     {inputs}, {:.0} a second", self.rate(*inputs))?;
        writeln!(out, "  decisions  {total} the same to the byte: {}", kinds.join(", "))?;
        writeln!(out, "  sha256     {}", hex(&followed.digest))?;
        if followed.unwritten > 0 {
            writeln!(out, "  unwritten  {} decisions at the very end had not reached the journal", followed.unwritten)?;
        }
        for seat in &followed.seats {
            let net = seat.net.map_or_else(|| "?".to_owned(), |net| net.to_string());
            writeln!(out, "  {:<10} position {}, net {net} USDT", seat.symbol, seat.position)?;
        }
        if let Some((odd, cause)) = &followed.odd {
            self.odd(odd, cause.as_ref(), out)?;
        }
        match whatif {
            Some(whatif) => whatif.print(followed, &self.symbols, args.lines, out),
            None => Ok(()),
        }
    }

    fn odd(&self, odd: &Odd, cause: Option<&Owned>, out: &mut impl Write) -> Result<()> {
        let place = odd.seq().map_or_else(String::new, |seq| format!(" at record {}", seq.0));
        writeln!(out, "  DIFFERENT{place}")?;
        writeln!(out, "    {:<20} {:<40} REPLAYED", "", "RECORDED")?;
        for (name, recorded, replayed) in odd.fields(&self.symbols) {
            writeln!(out, "    {name:<20} {recorded:<40} {replayed}")?;
        }
        if let Some(cause) = cause {
            writeln!(out, "    because of {}", cause.line(&self.symbols))?;
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, reason = "rates for people")]
    fn rate(&self, count: u64) -> f64 {
        count as f64 / (self.spent.nanos.max(1) as f64 / 1e9)
    }

    fn json(&self) -> Value {
        let (followed, whatif) = match &self.outcome {
            Ok(both) => both,
            Err(why) => return json!({ "run": self.run, "identical": false, "error": format!("{why:#}") }),
        };
        let decisions: serde_json::Map<String, Value> =
            followed.decisions.iter().map(|(kind, count)| (format!("{kind:?}"), json!(count))).collect();
        let seat = |seat: &crate::node::SeatReport| {
            let net = seat.net.map(|net: Notional| net.to_string());
            json!({ "symbol": seat.symbol, "position": seat.position.to_string(), "net_usdt": net })
        };
        let odd = followed.odd.as_ref().map(|(odd, cause)| {
            let fields = odd.fields(&self.symbols).into_iter();
            let fields: Vec<_> =
                fields.map(|(name, old, new)| json!({ "field": name, "recorded": old, "replayed": new })).collect();
            let cause = cause.as_ref().map(|cause| cause.line(&self.symbols));
            json!({ "seq": odd.seq().map(|seq| seq.0), "fields": fields, "cause": cause })
        });
        json!({
            "run": self.run,
            "identical": odd.is_none(),
            "records": [followed.records.0.0, followed.records.1.0],
            "ended": said(followed.ended),
            "inputs": followed.inputs,
            "decisions": decisions,
            "decisions_sha256": hex(&followed.digest),
            "unwritten": followed.unwritten,
            "difference": odd,
            "instruments": followed.seats.iter().map(seat).collect::<Vec<_>>(),
            "what_if": whatif.as_ref().map(|whatif| whatif.json(followed, &self.symbols)),
            "nanos": self.spent.nanos,
            "core_nanos": self.spent.core_nanos,
        })
    }
}

const fn said(ended: Ended) -> &'static str {
    match ended {
        Ended::Well => "ended in good order",
        Ended::Cut => "cut off where its records end",
        Ended::Asked => "as far as was asked",
        Ended::Odd => "stopped at the first difference",
    }
}

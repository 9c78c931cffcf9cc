//! `keel surveil`: the rules over a journal, live or closed, packed segments too; and the daily proof that they still see.
//!
//! In: a journal, parameters, lists. Out: alerts on standard output, and which rules are without data. The same journal
//! with the same files gives the same bytes. Never: a write, unless `--heartbeat` asks for synthetic alerts on file.

use super::stream::{self, Filed, Stream};
use super::terms::Files;
use crate::fact::{Symbols, fields};
use crate::moment;
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::{Alert, Flag, Rule};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Entry, Reader, Writer};
use keel_risk::surveil::script::{Script, script};
use keel_risk::surveil::{Health, RULES, Seen, Surveil, Terms};
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The scripts begin so long before they are played: they may span a year.
const SCRIPT_PAST: u64 = 400 * 86_400_000_000_000;
/// The file by which a running node is asked for a heartbeat.
pub const ASK_FILE: &str = "heartbeat.ask";
/// Milliseconds a running node may take to answer.
const PATIENCE_MS: u64 = 30_000;

/// What a person may say to `keel surveil`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    pub dir: PathBuf,
    /// Parameters and declarations [default: those of deploy/surveillance.toml]
    #[arg(long, value_name = "FILE")]
    pub parameters: Option<PathBuf>,
    /// Directory of the sanctions lists in force (keel sanctions load)
    #[arg(long, value_name = "DIR")]
    pub lists: Option<PathBuf>,
    /// Alerts at or after this time (2026-11-22 17:00, today, -5m, @unix), UTC
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Alerts before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Play a synthetic positive of every rule into the compliance journal, and say which arrived
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub heartbeat: bool,
}

/// An entry as the fold takes it.
#[must_use]
pub fn seen<'a>(entry: &Entry<'a>) -> Seen<'a> {
    Seen { seq: entry.seq, mono: entry.mono, wall: entry.wall, kind: entry.kind, payload: entry.payload }
}

/// Folds all there is of a journal.
pub fn fold(dir: &Path, terms: Terms, mut each: impl FnMut(Alert) -> Result<()>) -> Result<Surveil> {
    let mut fold = Surveil::new(terms);
    let mut reader = Reader::open(dir)?;
    while let Some(entry) = reader.poll()? {
        fold.handle(&seen(&entry));
        while let Some(alert) = fold.poll() {
            each(alert)?;
        }
    }
    Ok(fold)
}

/// Plays the script of a rule against a scratch fold; the alert marked synthetic, or nothing when the rule is blind.
#[must_use]
pub fn positive(rule: Rule, terms: &Terms, now: Now) -> Option<Alert> {
    let from = Wall::from_nanos(now.wall.nanos().saturating_sub(SCRIPT_PAST));
    let Script { terms: scene, rows } = script(rule, false, &terms.parameters, from);
    let mut fold = Surveil::new(Terms { digest: terms.digest, ..scene });
    let mut found = None;
    for (row, seq) in rows.iter().zip(1..) {
        let (kind, payload) = (keel_core::event::Record::kind(row), keel_core::event::Record::bytes(row));
        fold.handle(&Seen { seq: Seq(seq), mono: Mono::default(), wall: row.wall, kind: Some(kind), payload });
        while let Some(alert) = fold.poll() {
            found = found.or(Some(alert).filter(|alert| alert.rule == rule));
        }
    }
    found.map(|alert| Alert { at: now.wall, mono: now.mono, synthetic: Flag::Yes, ..alert })
}

/// Plays every script through the writer and reads back what arrived; the rules whose positive did not.
pub fn heartbeat(stream: &mut Stream, data: &Path, terms: &Terms, now: Now) -> Result<Vec<Rule>> {
    let before = stream.gauge().head();
    for rule in RULES {
        if let Some(alert) = positive(rule, terms, now) {
            stream.append(now, &alert)?;
        }
    }
    let arrived = stream::Alerts::from(data, Seq(before.0 + 1)).rest().context("reading the compliance journal")?;
    let came = |rule: &Rule| {
        let fits = |filed: &Filed| filed.alert.rule == *rule && filed.alert.synthetic.is_set() && filed.seq > before;
        arrived.iter().any(fits)
    };
    Ok(RULES.into_iter().filter(|rule| !came(rule)).collect())
}

/// `keel surveil`.
pub fn run(args: &Args) -> Result<()> {
    let files = Files { parameters: args.parameters.clone(), lists: args.lists.clone() };
    let terms = files.read()?.terms;
    let now = crate::node::clock::system_wall();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if args.heartbeat {
        return prove(&args.dir, &terms, Now { wall: now, mono: Mono::default() }, &mut out);
    }
    let time = |text: &Option<String>, name| match text {
        Some(text) => moment::parse(text, now).map(Some).with_context(|| format!("--{name} {text}: not a time")),
        None => Ok(None),
    };
    let (from, to) = (time(&args.from, "from")?, time(&args.to, "to")?);
    let mut count = 0u64;
    let fold = fold(&args.dir, terms, |alert| {
        if from.is_some_and(|from| alert.at < from) || to.is_some_and(|to| alert.at >= to) {
            return Ok(());
        }
        count += 1;
        Ok(writeln!(out, "{}", line(&alert, args.json)?)?)
    })?;
    let health = fold.health();
    if args.json {
        let rows: Vec<_> = health.iter().map(rule_json).collect();
        let (records, dropped, unpriced) = (fold.records(), fold.dropped(), fold.unpriced());
        let all = json!({"records": records, "alerts": count, "dropped": dropped, "unpriced": unpriced, "rules": rows});
        writeln!(out, "{all}")?;
    } else {
        page(&mut out, &fold, &health, count)?;
    }
    Ok(out.flush()?)
}

/// One alert as a line.
pub fn line(alert: &Alert, as_json: bool) -> Result<String> {
    let mut writer = Writer::in_memory(4096)?;
    writer.fact(Now::default(), Seq::NONE, alert).map_err(|why| anyhow::anyhow!("{why:?}"))?;
    let shown = writer.records().next().and_then(|entry| fields(&entry)).context("an alert that cannot be shown")?;
    let symbols = Symbols::default();
    if as_json {
        let row: serde_json::Map<String, serde_json::Value> =
            shown.iter().map(|(name, value)| ((*name).to_owned(), value.json(&symbols))).collect();
        return Ok(serde_json::Value::Object(row).to_string());
    }
    let row = shown.iter().filter(|(name, value)| *name != "parameters" && !value.is_nothing());
    Ok(row.map(|(name, value)| format!("{name}={}", value.text(&symbols))).collect::<Vec<_>>().join(" "))
}

fn rule_json(health: &Health) -> serde_json::Value {
    let words = |inputs: &[keel_risk::surveil::Input]| {
        inputs.iter().map(|input| format!("{input:?}").to_lowercase()).collect::<Vec<_>>()
    };
    json!({
        "rule": format!("{:?}", health.rule),
        "version": health.version,
        "alive": health.is_alive(),
        "missing": words(&health.missing),
        "partly": words(&health.partly),
    })
}

fn page(out: &mut impl Write, fold: &Surveil, health: &[Health], count: u64) -> Result<()> {
    let alive = health.iter().filter(|rule| rule.is_alive()).count();
    writeln!(out, "{count} alerts in {} records; {alive} of {} rules have data", fold.records(), health.len())?;
    for rule in health.iter().filter(|rule| !rule.is_alive() || !rule.partly.is_empty()) {
        let how = if rule.is_alive() { "sees less without" } else { "is without data:" };
        let lacks = if rule.is_alive() { &rule.partly } else { &rule.missing };
        let lacks: Vec<String> = lacks.iter().map(|input| format!("{input:?}").to_lowercase()).collect();
        writeln!(out, "  {:?} {how} {}", rule.rule, lacks.join(", "))?;
    }
    if fold.dropped() > 0 {
        writeln!(out, "  {} rows were forgotten for want of room: alerts may be missing", fold.dropped())?;
    }
    if fold.unpriced() > 0 {
        writeln!(out, "  {} movements of money nobody could price", fold.unpriced())?;
    }
    Ok(())
}

/// Plays the synthetic positives: by our own hand, or by the node that holds the compliance journal.
fn prove(dir: &Path, terms: &Terms, now: Now, out: &mut impl Write) -> Result<()> {
    ensure!(dir.is_dir(), "{} is no directory", dir.display());
    let blind = match Stream::open(dir) {
        Ok(mut stream) => {
            let blind = heartbeat(&mut stream, dir, terms, now)?;
            stream.finish()?;
            blind
        }
        Err(why) if why.to_string().contains("another process") => ask(dir, now)?,
        Err(why) => return Err(why),
    };
    for rule in RULES {
        writeln!(out, "{rule:?}: {}", if blind.contains(&rule) { "DID NOT ARRIVE" } else { "arrived" })?;
    }
    out.flush()?;
    ensure!(blind.is_empty(), "{} of {} rules are blind", blind.len(), RULES.len());
    Ok(())
}

/// Asks the node that runs.
fn ask(dir: &Path, now: Now) -> Result<Vec<Rule>> {
    let file = stream::path(dir).join(ASK_FILE);
    std::fs::write(&file, b"").with_context(|| format!("writing {}", file.display()))?;
    for _ in 0..PATIENCE_MS / 50 {
        crate::node::thread::nap(std::time::Duration::from_millis(50));
        if !file.exists() {
            let filed = stream::alerts(dir)?;
            let fresh = |filed: &&Filed| filed.alert.synthetic.is_set() && filed.wall >= now.wall;
            let came: Vec<Rule> = filed.iter().filter(fresh).map(|filed| filed.alert.rule).collect();
            return Ok(RULES.into_iter().filter(|rule| !came.contains(rule)).collect());
        }
    }
    let _ = std::fs::remove_file(&file);
    bail!("the node that holds the compliance journal of {} did not answer: look at its log", dir.display())
}

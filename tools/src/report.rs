//! `keel report`: what an operator must be able to show, made from the journal alone.
//!
//! ```text
//!   journal --one pass--> World --a Turn a record--> a Fold a report --rows--> Sheet --> csv, json, html
//!                                                                               '--> manifest.json: SHA-256 of each
//! ```
//!
//! In: directories of journals, live, compressed or copied, and a range of time: a day is UTC. Out: files, the same bytes
//! whenever and wherever they are made from the same journal; a manifest with their hashes and those of the records they
//! were made from. Exit code 1 when one of them is INCOMPLETE. Never: the time of now, the name of a host, a value the
//! journal does not hold, an empty report that does not say why.
//!
//! A report is a [`Spec`](sheet::Spec), tables of columns with type, unit and meaning, and a [`Fold`] that fills them. Totals
//! are found in two ways and held against each other; where they differ the report is INCOMPLETE.

mod cell;
mod html;
mod plot;
mod r1;
mod r10;
mod r11;
mod r12;
mod r13;
mod r2;
mod r3;
mod r4;
mod r5;
mod r6;
mod r7;
mod r8;
mod r9;
mod reading;
mod sheet;
mod state;
mod world;

use crate::checkpoint::public;
use crate::fact::hex;
use crate::moment;
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use keel_core::units::Wall;
use keel_journal::acts::Acts;
use keel_journal::proof::Checkpoint;
use keel_journal::retain::check_beginning;
use keel_journal::{Reader, anchor, segment};
use serde_json::{Value, json};
use sheet::{Heading, Sheet, Spec, Written};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use world::{DAY, Phase, Range, TAIL, Turn, World};

/// Version of the manifest's own layout.
const MANIFEST: u32 = 1;

/// What to report.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// r1 to r13, their names, `daily` (what is due each day) or `all` (everything but r11, which is restricted); several
    /// with commas
    #[arg(value_name = "NAME", value_parser = names)]
    pub names: Names,
    /// Directories of journals, live, compressed or copied
    #[arg(value_name = "DIR", required = true)]
    pub dirs: Vec<PathBuf>,
    /// The day, UTC: 2026-11-22, today, yesterday
    #[arg(long, value_name = "DAY", required_unless_present = "from", conflicts_with_all = ["from", "to"])]
    pub date: Option<String>,
    /// From this time on (2026-11-22 17:00, @unix), UTC
    #[arg(long, value_name = "TIME", requires = "to", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Up to, but without, this time
    #[arg(long, value_name = "TIME", requires = "from", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Forms of the files
    #[arg(short, long, value_enum, value_delimiter = ',', default_value = "csv,json,html")]
    pub format: Vec<Format>,
    /// Directory the files go to; made when missing, older files of the same names replaced
    #[arg(short, long, value_name = "PATH")]
    pub out: PathBuf,
    /// Put them into a directory below it that is named by the first day
    #[arg(long)]
    pub by_day: bool,
    /// The compliance journal r11 is made from [default: `compliance` in the first DIR]; with it `all` has r11 too
    #[arg(long, value_name = "DIR")]
    pub compliance: Option<PathBuf>,
    /// Checkpoints kept elsewhere, to hold the journal against in r13
    #[arg(long, value_name = "FILE", requires = "key")]
    pub anchors: Option<PathBuf>,
    /// Public key of the checkpoints: the text or its file
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// RFC 4180, a file a table
    Csv,
    /// One object, with the schema in it
    Json,
    /// A page that needs nothing else
    Html,
}

const SPECS: [Spec; 13] = [
    r1::SPEC,
    r2::SPEC,
    r3::SPEC,
    r4::SPEC,
    r5::SPEC,
    r6::SPEC,
    r7::SPEC,
    r8::SPEC,
    r9::SPEC,
    r10::SPEC,
    r11::SPEC,
    r12::SPEC,
    r13::SPEC,
];

/// What is due each day; the model inventory, the access log and the attestation are due more rarely.
const DAILY: [&str; 9] = ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r10"];

/// Names of reports as a person gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Vec<String>);

fn names(text: &str) -> Result<Names, String> {
    let known =
        |word: &str| matches!(word, "all" | "daily") || SPECS.iter().any(|spec| spec.code == word || spec.name == word);
    let words: Vec<String> = text.split(',').map(str::to_ascii_lowercase).collect();
    match words.iter().find(|word| !known(word)) {
        None => Ok(Names(words)),
        Some(word) => {
            let all: Vec<String> = SPECS.iter().map(|spec| format!("{} ({})", spec.code, spec.name)).collect();
            Err(format!("there is no report {word:?}; there are {}, daily, all", all.join(", ")))
        }
    }
}

impl Names {
    fn chosen(&self, restricted: bool) -> Vec<Spec> {
        let wanted = |spec: &&Spec| {
            self.0.iter().any(|word| match word.as_str() {
                "all" => !spec.restricted || restricted,
                "daily" => DAILY.contains(&spec.code),
                word => spec.code == word || spec.name == word,
            })
        };
        SPECS.iter().filter(wanted).copied().collect()
    }
}

/// What a report does with the records.
trait Fold {
    /// A new day of the journal, before its first record.
    fn day(&mut self, _: &World, _: u64) {}
    /// A record, after the world took it in.
    fn take(&mut self, world: &World, turn: &Turn<'_>, out: &mut Sheet) -> Result<()>;
    /// The range is over.
    fn close(&mut self, _: &World, _: &mut Sheet) -> Result<()> {
        Ok(())
    }
    /// The time after it is over too.
    fn end(&mut self, _: &World, _: &mut Sheet) -> Result<()> {
        Ok(())
    }
}

fn fold(spec: &Spec, dir: &Path, anchors: &[Checkpoint]) -> Option<Box<dyn Fold>> {
    Some(match spec.code {
        "r1" => Box::<r1::Blotter>::default(),
        "r2" => Box::<r2::Trail>::default(),
        "r3" => Box::<r3::Decisions>::default(),
        "r4" => Box::<r4::Register>::default(),
        "r5" => Box::<r5::Exceptions>::default(),
        "r6" => Box::<r6::Positions>::default(),
        "r7" => Box::<r7::Risk>::default(),
        "r8" => Box::<r8::Brake>::default(),
        "r9" => Box::<r9::Models>::default(),
        "r10" => Box::<r10::Cost>::default(),
        "r12" => Box::<r12::Access>::default(),
        "r13" => Box::new(r13::Records::new(dir, anchors)),
        _ => return None,
    })
}

/// What became of one report.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `r1`.
    pub code: &'static str,
    /// Why it is INCOMPLETE; empty when it is whole.
    pub incomplete: Vec<String>,
}

/// Writes the reports and says what on standard output; one that is INCOMPLETE is an error.
pub fn run(args: &Args) -> Result<()> {
    let outcomes = report(args, crate::node::clock::system_wall())?;
    let mut out = std::io::stdout().lock();
    for Outcome { code, incomplete } in &outcomes {
        writeln!(out, "{code:<4} {}", if incomplete.is_empty() { "complete" } else { "INCOMPLETE" })?;
        for why in incomplete {
            writeln!(out, "     {why}")?;
        }
    }
    let lacking: Vec<&str> = outcomes.iter().filter(|one| !one.incomplete.is_empty()).map(|one| one.code).collect();
    ensure!(lacking.is_empty(), "INCOMPLETE: {}", lacking.join(", "));
    Ok(())
}

/// Writes the reports. `now` is what `yesterday` is relative to, and nothing else.
pub fn report(args: &Args, now: Wall) -> Result<Vec<Outcome>> {
    let range = range(args, now)?;
    let chosen = args.names.chosen(args.compliance.is_some());
    let anchors = anchors(args)?;
    let first_day = moment::utc(range.from).get(..10).unwrap_or("").to_owned();
    let out = if args.by_day { args.out.join(first_day) } else { args.out.clone() };
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let mut sheets = chosen.iter().map(|spec| Sheet::new(*spec, &out, &args.format)).collect::<Result<Vec<_>>>()?;
    let mut journals = Vec::new();
    if chosen.iter().any(|spec| !spec.restricted) {
        for dir in &args.dirs {
            let told = journal(dir, range, args.dirs.len() > 1, &anchors, &mut sheets);
            journals.push(told.with_context(|| dir.display().to_string())?);
        }
    }
    if let Some(sheet) = sheets.iter_mut().find(|sheet| sheet.spec.restricted) {
        let beside = || args.dirs.first().map(|dir| dir.join("compliance"));
        let dir = args.compliance.clone().or_else(beside).context("which compliance journal?")?;
        r11::report(&dir, range, sheet)?;
    }
    let heading = Heading {
        build: env!("CARGO_PKG_VERSION"),
        from: moment::utc(range.from),
        to: moment::utc(range.to),
        journals,
    };
    let done = sheets.into_iter().map(|sheet| sheet.finish(&heading)).collect::<Result<Vec<_>>>()?;
    if args.format.contains(&Format::Html) {
        write_whole(&out, "index.html", &index(&heading, &done))?;
    }
    write_whole(&out, "manifest.json", &manifest(&heading, &done)?)?;
    fs::File::open(&out).and_then(|dir| dir.sync_all()).with_context(|| out.display().to_string())?;
    Ok(done.into_iter().map(|(spec, incomplete, _)| Outcome { code: spec.code, incomplete }).collect())
}

fn range(args: &Args, now: Wall) -> Result<Range> {
    let time =
        |text: &str, name: &str| moment::parse(text, now).with_context(|| format!("--{name} {text}: not a time"));
    let range = match (&args.date, &args.from, &args.to) {
        (Some(day), _, _) => {
            let from = time(day, "date")?;
            ensure!(from.nanos().is_multiple_of(DAY), "--date {day}: a day is expected, such as 2026-11-22");
            Range { from, to: from.after(DAY) }
        }
        (None, Some(from), Some(to)) => Range { from: time(from, "from")?, to: time(to, "to")? },
        _ => bail!("which day? --date DAY, or --from TIME --to TIME"),
    };
    ensure!(range.from < range.to, "the range ends before it begins");
    Ok(range)
}

fn anchors(args: &Args) -> Result<Vec<Checkpoint>> {
    let (Some(file), Some(key)) = (&args.anchors, &args.key) else { return Ok(Vec::new()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(anchor::read(&text, &public(key)?).with_context(|| file.display().to_string())?)
}

/// One pass over one journal, for every sheet that is made from it.
fn journal(dir: &Path, range: Range, several: bool, anchors: &[Checkpoint], sheets: &mut [Sheet]) -> Result<Value> {
    let mut folds: Vec<(Box<dyn Fold>, &mut Sheet)> =
        sheets.iter_mut().filter_map(|sheet| Some((fold(&sheet.spec, dir, anchors)?, sheet))).collect();
    let mut reasons = holes(dir);
    let mut world = World::new(range, several);
    let mut reader = Reader::open(dir)?;
    let (mut reached, mut day) = (false, None);
    loop {
        let entry = match reader.poll() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(damage) => {
                reasons.push(format!("the journal cannot be read beyond this: {damage}"));
                break;
            }
        };
        if entry.wall >= range.to.after(TAIL) {
            reached = true;
            break;
        }
        if world.before(entry.wall) {
            folds.iter_mut().try_for_each(|(fold, sheet)| fold.close(&world, sheet))?;
        }
        let today = entry.wall.nanos() / DAY;
        if day.replace(today) != Some(today) && range.phase(entry.wall) != Phase::After {
            folds.iter_mut().for_each(|(fold, _)| fold.day(&world, today));
        }
        let turn = world.take(&entry)?;
        folds.iter_mut().try_for_each(|(fold, sheet)| fold.take(&world, &turn, sheet))?;
    }
    if !world.is_closed() {
        world.close();
        folds.iter_mut().try_for_each(|(fold, sheet)| fold.close(&world, sheet))?;
    }
    folds.iter_mut().try_for_each(|(fold, sheet)| fold.end(&world, sheet))?;
    reasons.extend(doubts(&world, reached));
    for (_, sheet) in &mut folds {
        reasons.iter().for_each(|why| sheet.incomplete(format!("{}{why}", prefix(&world))));
    }
    Ok(told(&world))
}

/// Segments that are not there.
fn holes(dir: &Path) -> Vec<String> {
    let mut reasons = Vec::new();
    match segment::list(dir) {
        Ok(numbers) if numbers.is_empty() => reasons.push("there is no segment of a journal in it".to_owned()),
        Ok(numbers) => {
            let lacking = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
            reasons.extend(lacking.map(|pair| {
                format!(
                    "gap in the journal: after segment {} comes {}, what is between them is missing",
                    pair[0], pair[1]
                )
            }));
        }
        Err(why) => reasons.push(format!("the journal cannot be listed: {why}")),
    }
    match Acts::read(dir) {
        Ok(acts) => {
            reasons.extend(check_beginning(dir, &acts).err().map(|damage| format!("gap in the journal: {damage}")))
        }
        Err(why) => reasons.push(format!("the retention log: {why}")),
    }
    reasons
}

/// What the records themselves lack.
fn doubts(world: &World, reached: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut say = |when: bool, why: String| {
        if when {
            reasons.push(why);
        }
    };
    let end = moment::utc(world.last_wall);
    say(world.name.is_empty(), "the journal holds no records".to_owned());
    say(!world.name.is_empty() && world.records == 0, "the journal holds no record of the range".to_owned());
    say(
        !reached && !world.stopped,
        format!("the journal ends at {end} without a Stop record: its run was killed, or is still going on"),
    );
    let cut = world.history.is_none() && !world.name.is_empty() && world.began > world.range.from;
    say(cut, format!("the range begins before the oldest record that is kept, of {}", moment::utc(world.began)));
    for run in &world.unclean {
        say(
            true,
            format!("run {run} ended without a Stop record: it was killed, and what it had not committed is not here"),
        );
    }
    say(world.unreadable > 0, format!("{} records fit no layout this version knows", world.unreadable));
    say(world.strange > 0, format!("{} records are of kinds this version does not know", world.strange));
    say(world.unrecorded > 0, format!("{} facts and decisions were not taken by the journal", world.unrecorded));
    say(world.overflow, "a sum did not fit its numbers".to_owned());
    reasons
}

/// Which journal, where there are several.
fn prefix(world: &World) -> String {
    if world.several { format!("{}: ", world.name) } else { String::new() }
}

/// Cash by our count against the venue's word. `earned` is what fills, fees and funding of the range brought.
fn cash_check(world: &World, earned: i128, out: &mut Sheet) {
    let cash = &world.cash;
    let (Some(opening), Some(closing), Some(gap)) = (cash.opening, cash.closing, cash.gap) else {
        out.incomplete("the journal holds no wallet: the cash is not known");
        return;
    };
    let what =
        format!("{}cash at the start, realised, fees, funding and money moved = the venue's cash", prefix(world));
    let (ours, theirs) = (opening + earned + cash.transfers, closing + gap);
    out.check(what, ours, theirs, "USDT", 0);
    if ours == theirs && cash.flows == 0 {
        out.note("The journal holds no flows in the range, and the cash reconciles to the last unit without any: no money moved.");
    } else if cash.flows == 0 {
        let by = cell::decimal(theirs - ours);
        out.incomplete(format!("no flows: {by} USDT of the venue's cash are explained by no fill, fee or funding"));
    }
}

/// The journal as files and manifest name it.
fn told(world: &World) -> Value {
    let place = |of: Option<(keel_core::ids::Seq, Wall, [u8; 32])>| {
        of.map_or((Value::Null, Value::Null, Value::Null), |(seq, wall, leaf)| {
            (json!(seq.0), json!(moment::utc(wall)), json!(hex(&leaf)))
        })
    };
    let ((first_seq, first_time, first_leaf), (last_seq, last_time, last_leaf)) =
        (place(world.first), place(world.last));
    let history = world.history.as_ref();
    json!({
        "journal": world.name,
        "builds": world.builds,
        "records": world.records,
        "first_seq": first_seq, "first_time": first_time, "first_leaf": first_leaf,
        "last_seq": last_seq, "last_time": last_time, "last_leaf": last_leaf,
        "chain_head": history.map(|history| hex(history.chain())),
        "merkle_root": history.map(|history| hex(&history.root())),
        "tree_size": history.map(|history| history.last().0),
    })
}

type Done = (Spec, Vec<String>, Vec<Written>);

fn manifest(heading: &Heading, done: &[Done]) -> Result<String> {
    let reports: Vec<Value> = done
        .iter()
        .map(|(spec, incomplete, files)| {
            let files: Vec<Value> = files
                .iter()
                .map(|file| json!({ "file": file.file, "sha256": file.sha256, "bytes": file.bytes, "rows": file.rows }))
                .collect();
            json!({
                "report": spec.code, "name": spec.name, "schema": spec.schema, "restricted": spec.restricted,
                "status": if incomplete.is_empty() { "complete" } else { "INCOMPLETE" },
                "incomplete": incomplete, "files": files,
            })
        })
        .collect();
    let whole = json!({
        "manifest": MANIFEST, "build": heading.build, "from": heading.from, "to": heading.to,
        "journals": heading.journals, "reports": reports,
    });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

/// A page that leads to the others.
fn index(heading: &Heading, done: &[Done]) -> String {
    use std::fmt::Write as _;
    let whole = done.iter().all(|(_, incomplete, _)| incomplete.is_empty());
    let mut page = html::head("keel reports");
    let _ = write!(
        page,
        "<header><p class=over>keel &middot; reports</p><h1>Reports</h1><p class=span>{} <span class=dim>to</span> {} \
         <span class=dim>UTC</span></p>{}</header><main><section><div class=scroll><table><thead><tr><th>report</th>\
         <th>title</th><th>status</th><th>why not</th></tr></thead><tbody>",
        html::moment(&heading.from),
        html::moment(&heading.to),
        html::badge(whole)
    );
    for (spec, incomplete, _) in done {
        let (class, status) = if incomplete.is_empty() { ("good", "complete") } else { ("bad", "INCOMPLETE") };
        let _ = write!(
            page,
            "<tr><td>{}</td><td><a href=\"{}.html\">{}</a></td><td class={class}>{status}</td><td class=wide>{}</td></tr>",
            spec.code.to_uppercase(),
            spec.code,
            html::escaped(spec.title),
            html::escaped(&incomplete.join("; "))
        );
    }
    page.push_str("</tbody></table></div></section></main></body></html>\n");
    page
}

fn write_whole(out: &Path, name: &str, text: &str) -> Result<()> {
    let (half, whole) = (out.join(format!("{name}.tmp")), out.join(name));
    let write = || -> std::io::Result<()> {
        fs::write(&half, text)?;
        fs::File::open(&half)?.sync_all()?;
        fs::rename(&half, &whole)
    };
    write().with_context(|| whole.display().to_string())
}

#[cfg(test)]
mod tests;

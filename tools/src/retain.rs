//! `keel retain` and `keel hold`: how long a journal is kept, and what must not be deleted.
//!
//! `keel retain` is for a timer: it compresses what is no longer hot, copies it to where `--copy-to` says, and deletes
//! what is older than `--keep-years`, from the oldest on. A segment is deleted only when it is sealed, the whole journal
//! verifies, a signed checkpoint kept elsewhere covers it, no hold does, and its copy was found and compared. Every act is
//! a line of `retention.log`, chained to the line before, on the disk before the act is performed.

#[cfg(feature = "s3")]
mod s3;

use crate::checkpoint::public;
use crate::compliance::guard::is_confidential;
use crate::moment::{self, utc};
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::Seq;
use keel_core::units::Wall;
use keel_journal::acts::{Act, Acts};
use keel_journal::proof::Checkpoint;
use keel_journal::retain::{DirVault, Policy, Vault, Why, retain, survey};
use keel_journal::{Reader, anchor, segment};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const DAY: u64 = 86_400_000_000_000;
/// Days counted for a year of retention: never less than one.
const YEAR: u64 = 366 * DAY;

/// The schedule.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal; a core may be writing to it
    pub dir: PathBuf,
    /// Days a sealed segment stays uncompressed
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub hot_days: u32,
    /// Years after which a segment is deleted; without it nothing is
    #[arg(long, value_name = "YEARS", requires = "anchors")]
    pub keep_years: Option<u32>,
    /// The checkpoints that must cover what is deleted
    #[arg(long, value_name = "FILE", requires = "key")]
    pub anchors: Option<PathBuf>,
    /// Public key of the checkpoints: the text or its file
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Copy compressed segments there first: a directory, or s3://bucket/prefix with retention lock (feature `s3`)
    #[arg(long, value_name = "PLACE")]
    pub copy_to: Option<String>,
    /// Say what would be done to each segment, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// In whose name
    #[arg(long, value_name = "NAME", default_value = "schedule")]
    pub by: String,
}

/// Legal holds.
#[derive(Clone, Debug, clap::Args)]
pub struct HoldArgs {
    #[command(subcommand)]
    job: HoldJob,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum HoldJob {
    /// Nothing in this range is deleted until the hold is removed
    Add {
        /// Directory of the journal
        dir: PathBuf,
        /// Name of the hold, one word
        name: String,
        /// First record held [default: the oldest]
        #[arg(long, value_name = "SEQ", conflicts_with = "since")]
        from: Option<u64>,
        /// Last record held [default: all there will ever be]
        #[arg(long, value_name = "SEQ", conflicts_with = "until")]
        to: Option<u64>,
        /// Records at or after this time
        #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
        since: Option<String>,
        /// Records before this time
        #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<String>,
        /// Why
        #[arg(long)]
        reason: String,
        /// In whose name
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// Ends a hold
    Remove {
        /// Directory of the journal
        dir: PathBuf,
        /// Name of the hold
        name: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// In whose name
        #[arg(long, value_name = "NAME")]
        by: String,
    },
    /// The holds in force, and with --all every act of retention
    List {
        /// Directory of the journal
        dir: PathBuf,
        /// Every act
        #[arg(long)]
        all: bool,
    },
}

/// Does what is due and says what it did.
pub fn run(args: &Args) -> Result<()> {
    ensure!(
        args.keep_years.is_none() || !is_confidential(&args.dir)?,
        "this is the compliance journal: each case in it has its own time and its own hold, nothing of it is deleted by age"
    );
    let mut out = std::io::stdout().lock();
    let now = crate::node::clock::system_wall();
    let policy = Policy {
        hot: u64::from(args.hot_days) * DAY,
        keep: args.keep_years.map(|years| u64::from(years).saturating_mul(YEAR)),
    };
    ensure!(policy.keep.is_none_or(|keep| keep >= policy.hot), "--keep-years is shorter than --hot-days");
    let checkpoints = checkpoints(args)?;
    let mut vault = args.copy_to.as_deref().map(vault).transpose()?;
    if args.dry_run {
        let place = vault.as_ref().map(|vault| vault.place());
        let acts = Acts::read(&args.dir)?;
        for piece in survey(&args.dir, policy, &checkpoints, &acts, now, place.as_deref())? {
            let name = segment::name(piece.number);
            match (&piece.stays, piece.pack) {
                // one run copies and then deletes
                (Some(Why::NoCopy), true) => writeln!(out, "{name} compress, copy, delete")?,
                (Some(Why::NoCopy), false) => writeln!(out, "{name} copy, delete")?,
                (None, true) => writeln!(out, "{name} compress, delete")?,
                (None, false) => writeln!(out, "{name} delete")?,
                (Some(why), true) => writeln!(out, "{name} compress, keep: {why}")?,
                (Some(why), false) => writeln!(out, "{name} keep: {why}")?,
            }
        }
        return Ok(());
    }
    let before = Acts::read(&args.dir)?.lines().len();
    let vault = vault.as_mut().map(|vault| vault.as_mut() as &mut dyn Vault);
    let done = retain(&args.dir, policy, &checkpoints, now, &args.by, vault);
    let acts = Acts::read(&args.dir)?;
    for line in &acts.lines()[before..] {
        writeln!(out, "{}", told(&line.act))?;
    }
    done?;
    writeln!(out, "{} acts, {} holds in force", acts.lines().len() - before, acts.holds().len())?;
    Ok(())
}

fn checkpoints(args: &Args) -> Result<Vec<Checkpoint>> {
    let (Some(file), Some(key)) = (&args.anchors, &args.key) else { return Ok(Vec::new()) };
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    anchor::read(&text, &public(key)?).with_context(|| file.display().to_string())
}

fn vault(place: &str) -> Result<Box<dyn Vault>> {
    #[cfg(feature = "s3")]
    if place.starts_with("s3://") {
        return Ok(Box::new(s3::Bucket::open(place)?));
    }
    ensure!(!place.starts_with("s3://"), "this keel was built without s3: cargo build --features s3");
    ensure!(Path::new(place).is_dir(), "{place} is no directory");
    Ok(Box::new(DirVault(PathBuf::from(place))))
}

fn told(act: &Act) -> String {
    match act {
        Act::Packed { segment } => format!("{} compressed", segment::name(*segment)),
        Act::Copied { segment, place, .. } => format!("{} copied to {place}", segment::name(*segment)),
        Act::Deleted { segment, first, last, .. } => {
            format!("{} deleted, records {} to {}", segment::name(*segment), first.0, last.0)
        }
        Act::Hold { name, first, last: Seq(u64::MAX), reason } => format!("hold {name} from {} on: {reason}", first.0),
        Act::Hold { name, first, last, reason } => format!("hold {name} from {} to {}: {reason}", first.0, last.0),
        Act::Release { name, reason } => format!("hold {name} removed: {reason}"),
    }
}

/// `keel hold`.
pub fn hold(args: &HoldArgs) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let now = crate::node::clock::system_wall();
    match &args.job {
        HoldJob::Add { dir, name, from, to, since, until, reason, by } => {
            let time = |text: &str| moment::parse(text, now).with_context(|| format!("{text}: not a time"));
            let first = match since {
                Some(text) => at(dir, time(text)?)?,
                None => from.unwrap_or(0),
            };
            let last = match until {
                Some(text) => at(dir, time(text)?)?.saturating_sub(1),
                None => to.unwrap_or(u64::MAX),
            };
            ensure!(first <= last, "no record is in that range");
            let act = Act::Hold { name: name.clone(), first: Seq(first), last: Seq(last), reason: reason.clone() };
            Acts::open(dir)?.add(now, by, act.clone())?;
            Ok(writeln!(out, "{}", told(&act))?)
        }
        HoldJob::Remove { dir, name, reason, by } => {
            let act = Act::Release { name: name.clone(), reason: reason.clone() };
            Ok(Acts::open(dir)?.add(now, by, act)?)
        }
        HoldJob::List { dir, all: true } => {
            for line in Acts::read(dir)?.lines() {
                writeln!(out, "{} {} {}", utc(line.at), line.who, told(&line.act))?;
            }
            Ok(())
        }
        HoldJob::List { dir, all: false } => {
            for hold in Acts::read(dir)?.holds() {
                let act = Act::Hold { name: hold.name, first: hold.first, last: hold.last, reason: hold.reason };
                writeln!(out, "{} {} {}", utc(hold.at), hold.who, told(&act))?;
            }
            Ok(())
        }
    }
}

/// The first record at or after a time; one more than the last when there is none.
fn at(dir: &Path, time: Wall) -> Result<u64> {
    let mut reader = Reader::open(dir)?;
    while let Some(entry) = reader.poll()? {
        if entry.wall >= time {
            return Ok(entry.seq.0);
        }
    }
    match reader.next_seq() {
        Some(next) => Ok(next.0),
        None => bail!("{} holds no records", dir.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use keel_core::event::Timer;
    use keel_core::permit::Log;
    use keel_core::units::{Mono, Now};
    use keel_journal::{Options, Writer};

    #[derive(Parser)]
    struct Retain {
        #[command(flatten)]
        args: Args,
    }

    #[derive(Parser)]
    struct Hold {
        #[command(flatten)]
        args: HoldArgs,
    }

    fn retain_line(words: &[&str]) -> Result<()> {
        run(&Retain::try_parse_from([&["retain"], words].concat())?.args)
    }

    fn hold_line(words: &[&str]) -> Result<()> {
        hold(&Hold::try_parse_from([&["hold"], words].concat())?.args)
    }

    /// Five hundred timers a day apart, sixty-four a segment.
    fn journal(dir: &Path) {
        use keel_core::agent::Agent;
        let options = Options { segment_bytes: 12288, prefault_bytes: 8192, ..Options::default() };
        let (mut writer, mut keeper) = Writer::open(dir, options).unwrap();
        for day in 1..=500 {
            let now = Now {
                mono: Mono::from_nanos(day * DAY),
                wall: Wall::from_nanos(1_700_000_000 * 1_000_000_000 + day * DAY),
            };
            writer.fact(now, Seq::NONE, &Timer::default()).unwrap();
            while keeper.duty(now) > 0 {}
        }
        keeper.finish(writer).unwrap();
    }

    #[test]
    fn a_year_and_a_month_of_records_by_the_book() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let dir = path("journal");
        journal(Path::new(&dir));
        let key = keel_journal::note::SecretKey::new("keel.example/test", &[3; 32]).unwrap();
        let state = keel_journal::proof::checkpoint(Path::new(&dir), "keel.example/test", None).unwrap();
        fs::write(path("anchors"), state.sign(&key).unwrap() + "\n").unwrap();
        let (kept, public) = (path("anchors"), key.public().to_text());
        let schedule = [&dir, "--hot-days", "30", "--keep-years", "1", "--anchors", &kept, "--key", &public];
        let first = || Reader::open(&dir).unwrap().poll().unwrap().unwrap().seq.0;

        assert!(retain_line(&[&dir, "--keep-years", "1"]).is_err(), "nothing is deleted that no checkpoint covers");
        retain_line(&[&schedule[..], &["--dry-run"]].concat()).unwrap();
        assert!(first() == 1 && Acts::read(Path::new(&dir)).unwrap().lines().is_empty(), "a dry run does nothing");
        hold_line(&["add", &dir, "CASE-7", "--until", "2023-11-20", "--reason", "asked to", "--by", "alice"]).unwrap();
        assert!(hold_line(&["add", &dir, "CASE-7", "--reason", "again", "--by", "bob"]).is_err());
        retain_line(&schedule).unwrap();
        assert_eq!(first(), 1, "held");
        hold_line(&["remove", &dir, "CASE-7", "--reason", "settled", "--by", "alice"]).unwrap();
        retain_line(&schedule).unwrap();
        assert_eq!(first(), 129, "the first two segments ended more than a year before the last record");
        hold_line(&["list", &dir, "--all"]).unwrap();
        let verify = crate::verify::Args {
            dir: Some(dir.clone().into()),
            proof: None,
            consistency: None,
            old: None,
            anchors: Some(kept.into()),
            against_postgres: None,
            against_loki: None,
            login: crate::anchors::Login::default(),
            key: Some(public),
            json: false,
        };
        crate::verify::run(&verify).unwrap();
        fs::remove_file(Path::new(&dir).join(keel_journal::acts::NAME)).unwrap();
        assert!(crate::verify::run(&verify).is_err(), "a beginning that is gone without a word is damage");
    }
}

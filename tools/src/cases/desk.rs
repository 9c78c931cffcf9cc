//! The journals of compliance, as those who work on cases use them: read whole, judged, and one step appended.
//!
//! ```text
//!   DATA/compliance/...         alerts: a running node holds it, so nobody else can write there
//!   DATA/compliance/cases/...   what people do about them: this program alone, for a moment at a time
//! ```
//!
//! In: the data directory, documents. Out: the ledger; records. Never: a step appended to a journal that others may read,
//! or that does not hold from its first record on.

use crate::compliance::stream::{self, Stream};
use crate::node::clock::system_wall;
use crate::node::thread::nap;
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::{Document, DocumentKind, Kind, Record};
use keel_core::ids::{Seq, Text};
use keel_core::units::{Mono, Now, Wall};
use keel_journal::Reader;
use keel_journal::history::leaf;
use keel_risk::cases::ledger::digest;
use keel_risk::cases::{Act, Ledger, Piece};
use keel_risk::consent::signed_text;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file that can be evidence.
const MAX_FILE: u64 = 256 << 20;
/// Times another writer is waited for.
const PATIENCE: u32 = 100;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Everything the compliance journal says now.
pub(super) struct Desk {
    pub(super) data: PathBuf,
    pub(super) ledger: Ledger,
    pub(super) records: u64,
}

impl Desk {
    /// Reads it from its first record on.
    pub(super) fn open(data: &Path) -> Result<Self> {
        is_private(&stream::path(data))?;
        let mut desk = Self { data: data.to_path_buf(), ledger: Ledger::default(), records: 0 };
        for filed in stream::alerts(data)? {
            desk.ledger.take(filed.seq.0, Some(Kind::Alert), filed.alert.bytes())?;
        }
        let dir = cases(data);
        if !dir.exists() {
            return Ok(desk);
        }
        is_private(&dir)?;
        let mut reader = Reader::open(&dir).with_context(|| dir.display().to_string())?;
        while let Some(entry) = reader.poll().with_context(|| dir.display().to_string())? {
            ensure!(entry.seq.0 == desk.records + 1, "{} begins with record {}", dir.display(), entry.seq.0);
            desk.records = entry.seq.0;
            let taken = desk.ledger.take(entry.seq.0, entry.kind, entry.payload);
            taken.with_context(|| format!("record {} of {} does not hold", entry.seq.0, dir.display()))?;
        }
        Ok(desk)
    }

    /// When the last step of a case was taken.
    pub(super) fn last(&self, case: u64) -> Wall {
        let last = self.ledger.case(case).and_then(|case| case.acts.last());
        last.map_or(Wall::from_nanos(0), |taken| taken.act.at)
    }

    /// Records of the trading journal as evidence.
    pub(super) fn records(&self, places: &[u64]) -> Result<Vec<Piece>> {
        let piece = |seq: &u64| {
            let mut reader = Reader::open_at(&self.data, Seq(*seq))?;
            let entry = reader.poll()?.filter(|entry| entry.seq.0 == *seq);
            let entry = entry.with_context(|| format!("the trading journal has no record {seq}"))?;
            let kind = entry.kind.map_or_else(|| format!("?{}", entry.code), |kind| format!("{kind:?}"));
            Ok(Piece::Record { leaf: leaf(entry.bytes), seq: *seq, kind })
        };
        places.iter().map(piece).collect()
    }

    /// Files as evidence, copied beside the compliance journal under their digest.
    pub(super) fn files(&self, files: &[PathBuf]) -> Result<Vec<Piece>> {
        let dir = evidence(&self.data);
        let keep = |file: &PathBuf| {
            let length = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
            ensure!(length <= MAX_FILE, "{} is longer than {} MiB", file.display(), MAX_FILE >> 20);
            let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let name = file.file_name().and_then(|name| name.to_str()).context("the name of a file is not text")?;
            let sha256 = digest(&bytes);
            let copy = dir.join(crate::fact::hex(&sha256));
            make_private(&dir)?;
            if !copy.exists() {
                let new = dir.join("new");
                write_over(&new, &bytes)?;
                fs::rename(&new, &copy)?;
                fs::File::open(&dir)?.sync_all()?;
            }
            Ok(Piece::File { sha256, bytes: bytes.len() as u64, name: name.to_owned() })
        };
        files.iter().map(keep).collect()
    }
}

/// The journal of what people do.
pub(super) fn cases(data: &Path) -> PathBuf {
    stream::path(data).join("cases")
}

fn is_private(dir: &Path) -> Result<()> {
    let open = fs::metadata(dir).with_context(|| format!("there is no compliance journal at {}", dir.display()))?;
    let mode = open.permissions().mode() & 0o777;
    ensure!(mode & 0o077 == 0, "{} may be read by others ({mode:o}): chmod 700 it", dir.display());
    Ok(())
}

/// Where files that are evidence are kept.
pub(super) fn evidence(data: &Path) -> PathBuf {
    stream::path(data).join("evidence")
}

/// A directory nobody else may look into.
pub(super) fn make_private(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(why) if why.kind() != ErrorKind::AlreadyExists => {
            Err(why).with_context(|| format!("making {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// A new file nobody else may read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn write_over(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn now() -> Now {
    Now { mono: Mono::from_nanos(0), wall: system_wall() }
}

/// The writing side; another writer is waited for.
fn writing(data: &Path) -> Result<Stream> {
    for _ in 0..PATIENCE {
        match Stream::open_dir(cases(data)) {
            Err(why) if why.to_string().contains("another process") => nap(PAUSE),
            other => return other,
        }
    }
    bail!("another process keeps writing to {}: nothing was written", cases(data).display())
}

fn put_document(stream: &mut Stream, kind: DocumentKind, text: &[u8]) -> Result<()> {
    let parts = Document::cut(Mono::from_nanos(0), Text::EMPTY, kind, text).context("it is empty or too long")?;
    for part in parts {
        stream.append(now(), &part)?;
    }
    Ok(())
}

fn put(stream: &mut Stream, act: &Act, document: &[u8]) -> Result<Seq> {
    put_document(stream, DocumentKind::Case, document)?;
    stream.append(now(), &act.record(digest(&act.message())))
}

/// Takes one step: judged under the lock, against what stands there then.
pub(super) fn take(data: &Path, document: &[u8]) -> Result<()> {
    // read first: a journal that does not exist, or others may read, is not made or mended by a step
    Desk::open(data)?;
    let mut stream = writing(data)?;
    let (act, _) = Desk::open(data)?.ledger.judge(document)?;
    put(&mut stream, &act, document)?;
    stream.finish()?;
    println!("case {} {}", act.case, super::show::state(act.to));
    Ok(())
}

/// Puts roles in force.
pub(super) fn adopt(data: &Path, document: &[u8]) -> Result<()> {
    make_private(&stream::path(data))?;
    let mut stream = writing(data)?;
    let roles = Desk::open(data)?.ledger.adopted(document)?;
    put_document(&mut stream, DocumentKind::Roles, document)?;
    stream.finish()?;
    println!("version {} of the roles is in force, {} people", roles.version, roles.people.len());
    Ok(())
}

/// Opens a case for every alert that asks for one; says how many, and nothing about them.
pub(super) fn triage(data: &Path) -> Result<()> {
    let (mut opened, mut linked) = (0, 0);
    if !Desk::open(data)?.ledger.untaken().is_empty() {
        let mut stream = writing(data)?;
        let mut desk = Desk::open(data)?;
        for alert in desk.ledger.untaken() {
            let act = desk.ledger.automatic(alert, system_wall())?;
            put(&mut stream, &act, &signed_text(&act.message(), &[]))?;
            if act.from == keel_core::event::CaseState::None {
                opened += 1
            } else {
                linked += 1
            }
            desk = Desk::open(data)?;
        }
        stream.finish()?;
    }
    println!("{opened} cases opened, {linked} alerts put to open ones");
    Ok(())
}

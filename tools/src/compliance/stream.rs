//! The compliance journal: alerts, and what people make of them, in a chain of its own below the trading journal's
//! directory.
//!
//! ```text
//!   DATA/00000001.keel ...              the trading journal, shipped and shown
//!   DATA/compliance/00000001.keel ...   this one: mode 0700 and 0600, never shipped, never logged
//! ```
//!
//! In: records of one writer at a time. Out: the same, in order, and alerts with their places. Never: a file another user
//! may open, a record changed, the subject of an alert in an error.

use anyhow::{Context, Result};
use keel_core::agent::Agent;
use keel_core::event::{Alert, Kind, Record, read};
use keel_core::ids::Seq;
use keel_core::permit::{Log, LogFault};
use keel_core::units::{Now, Wall};
use keel_journal::{Damage, Entry, Gauge, Keeper, OpenError, Options, Reader, Writer};
use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Name of its directory in the trading journal's.
pub const NAME: &str = "compliance";
/// Size of its segments: alerts are few.
const SEGMENT: u64 = 4 << 20;
/// Bytes kept ready ahead of the writer.
const PREFAULT: usize = 64 << 10;
/// Turns the keeper gets to bring the next segment before an append gives up.
const TURNS: usize = 256;

/// Where it is for the trading journal in `data`.
#[must_use]
pub fn path(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// One alert on file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filed {
    /// Its place: what a case names it by.
    pub seq: Seq,
    /// When it was filed.
    pub wall: Wall,
    /// It.
    pub alert: Alert,
}

impl Filed {
    /// The alert in an entry; `None` when it is another kind of record.
    #[must_use]
    pub fn of(entry: &Entry<'_>) -> Option<Self> {
        let alert = (entry.kind == Some(Kind::Alert)).then(|| read::<Alert>(entry.payload)).flatten()?;
        Some(Self { seq: entry.seq, wall: entry.wall, alert })
    }
}

/// A cursor over the alerts, live or closed.
#[derive(Debug)]
pub struct Alerts {
    reader: Option<Reader>,
    dir: PathBuf,
    from: Seq,
}

impl Alerts {
    /// At the first alert at or after `from`. A journal that does not exist yet has none.
    #[must_use]
    pub fn from(data: &Path, from: Seq) -> Self {
        Self { reader: None, dir: path(data), from }
    }

    /// The next alert; `None` where there is none yet.
    pub fn poll(&mut self) -> Result<Option<Filed>, Damage> {
        if self.reader.is_none() {
            if !self.dir.exists() {
                return Ok(None);
            }
            self.reader = Some(Reader::open_at(&self.dir, self.from)?);
        }
        let Some(reader) = &mut self.reader else { return Ok(None) };
        while let Some(entry) = reader.poll()? {
            if let Some(filed) = Filed::of(&entry) {
                return Ok(Some(filed));
            }
        }
        Ok(None)
    }

    /// All there are now.
    pub fn rest(&mut self) -> Result<Vec<Filed>, Damage> {
        let mut all = Vec::new();
        while let Some(filed) = self.poll()? {
            all.push(filed);
        }
        Ok(all)
    }
}

/// Every alert on file.
pub fn alerts(data: &Path) -> Result<Vec<Filed>> {
    Alerts::from(data, Seq(1)).rest().with_context(|| path(data).display().to_string())
}

/// The writing side: one process at a time.
pub struct Stream {
    writer: Writer,
    keeper: Keeper,
    dir: PathBuf,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({})", self.dir.display())
    }
}

impl Stream {
    /// Opens the compliance journal beside the trading journal in `data`, or begins one.
    pub fn open(data: &Path) -> Result<Self> {
        Self::open_dir(path(data))
    }

    /// Opens a journal of its kind in this directory, or begins one; the directory above it is there.
    pub fn open_dir(dir: PathBuf) -> Result<Self> {
        match DirBuilder::new().mode(0o700).recursive(false).create(&dir) {
            Err(why) if why.kind() != ErrorKind::AlreadyExists => {
                return Err(why).with_context(|| format!("making {}", dir.display()));
            }
            _ => fs::set_permissions(&dir, Permissions::from_mode(0o700)).with_context(|| dir.display().to_string())?,
        }
        let options = Options { segment_bytes: SEGMENT, prefault_bytes: PREFAULT, ..Options::default() };
        let (writer, keeper) = Writer::open(&dir, options).map_err(|why| match why {
            OpenError::Busy => anyhow::anyhow!("{}: another process is writing to it", dir.display()),
            other => anyhow::anyhow!("{}: {other}; `keel verify {0}` says more", dir.display()),
        })?;
        let stream = Self { writer, keeper, dir };
        stream.harden()?;
        Ok(stream)
    }

    /// Appends a record; returns its place.
    pub fn append<R: Record>(&mut self, now: Now, fact: &R) -> Result<Seq> {
        for _ in 0..TURNS {
            match self.writer.fact(now, Seq::NONE, fact) {
                Ok(seq) => return self.harden().map(|()| seq),
                Err(LogFault::Full) => self.keeper.duty(now),
                Err(fault) => anyhow::bail!("{}: it took no record: {fault:?}", self.dir.display()),
            };
        }
        anyhow::bail!("{}: there is no room for another record", self.dir.display())
    }

    /// Last record, and what is on the medium.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        self.writer.gauge()
    }

    /// Syncs, hashes, seals: to be called now and then.
    pub fn duty(&mut self, now: Now) -> usize {
        self.keeper.duty(now)
    }

    /// Closes it in good order.
    pub fn finish(self) -> Result<()> {
        self.harden()?;
        self.keeper.finish(self.writer).with_context(|| format!("closing {}", self.dir.display()))
    }

    /// Every file is its owner's alone; the directory already keeps others out.
    fn harden(&self) -> Result<()> {
        for file in fs::read_dir(&self.dir)? {
            let file = file?;
            let meta = file.metadata()?;
            if meta.is_file() && meta.permissions().mode() & 0o777 != 0o600 {
                fs::set_permissions(file.path(), Permissions::from_mode(0o600))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::{Rule, Timer};

    #[test]
    fn what_is_filed_is_read_back_across_openings_by_its_owner_alone() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(alerts(data.path()).unwrap(), []);
        let now = Now { wall: Wall::from_millis(1_700_000_000_000), ..Now::default() };
        for run in 0..3u16 {
            let mut stream = Stream::open(data.path()).unwrap();
            assert!(Stream::open(data.path()).unwrap_err().to_string().contains("another process"));
            stream.append(now, &Timer::default()).unwrap();
            stream.append(now, &Alert { rule: Rule::Wash, version: run, ..Alert::default() }).unwrap();
            stream.finish().unwrap();
        }
        let filed = alerts(data.path()).unwrap();
        assert_eq!(
            filed.iter().map(|one| (one.seq.0, one.alert.version)).collect::<Vec<_>>(),
            [(2, 0), (4, 1), (6, 2)]
        );
        assert_eq!(Alerts::from(data.path(), Seq(5)).rest().unwrap().len(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path(data.path())), 0o700);
        for file in fs::read_dir(path(data.path())).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
        assert!(keel_journal::verify(path(data.path())).damages.is_empty());
    }

    #[test]
    fn more_alerts_than_a_segment_holds_are_all_there() {
        let data = tempfile::tempdir().unwrap();
        let mut stream = Stream::open(data.path()).unwrap();
        for at in 0..10_000u64 {
            stream.append(Now::default(), &Alert { count: at, ..Alert::default() }).unwrap();
        }
        stream.finish().unwrap();
        let filed = alerts(data.path()).unwrap();
        assert!(filed.iter().zip(0..).all(|(one, at)| one.alert.count == at) && filed.len() == 10_000);
    }
}

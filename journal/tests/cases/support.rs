//! What the cases share: small options, facts of any length, a thread for the keeper.

use keel_core::event::{Kind, Record};
use keel_core::ids::Seq;
use keel_core::permit::Log;
use keel_core::units::{Mono, Now, Wall};
use keel_journal::{Damage, Keeper, OpenError, Options, Reader, Writer};
use std::path::Path;

/// A fact of any kind and length.
pub(crate) struct Blob(pub(crate) Kind, pub(crate) Vec<u8>);

impl Record for Blob {
    fn kind(&self) -> Kind {
        self.0
    }

    fn bytes(&self) -> &[u8] {
        &self.1
    }
}

/// A fill of `len` bytes that says which it is.
pub(crate) fn blob(n: u64, len: usize) -> Blob {
    let bytes = n.to_le_bytes();
    Blob(Kind::Fill, (0..len).map(|at| bytes[at % 8] ^ at.to_le_bytes()[0]).collect())
}

/// The smallest segments there are.
pub(crate) fn small() -> Options {
    Options { segment_bytes: 12288, prefault_bytes: 8192, clock_error: 0, ..Options::default() }
}

/// Some moment, `nanos` after the beginning.
pub(crate) fn at(nanos: u64) -> Now {
    Now { mono: Mono::from_nanos(nanos), wall: Wall::from_nanos(1_700_000_000_000_000_000 + nanos) }
}

/// Opens and appends `count` facts of `len` bytes, the keeper doing its duty after each.
pub(crate) fn written(dir: &Path, options: Options, count: u64, len: usize) -> (Writer, Keeper) {
    let (mut writer, mut keeper) = open(dir, options);
    let from = writer.head().0;
    for n in from + 1..=from + count {
        let seq = writer.fact(at(n * 1_000_000), Seq(n - 1), &blob(n, len)).unwrap();
        assert_eq!(seq, Seq(n));
        duty(&mut keeper, n * 1_000_000);
    }
    (writer, keeper)
}

/// The keeper's rounds until it has nothing to do.
pub(crate) fn duty(keeper: &mut Keeper, nanos: u64) {
    use keel_core::agent::Agent;
    while keeper.duty(at(nanos)) > 0 {}
    assert_eq!(keeper.failure(), None);
}

/// Every payload from the start, with its number.
pub(crate) fn read_all(dir: &Path) -> Result<Vec<(Seq, Vec<u8>)>, Damage> {
    let mut reader = Reader::open(dir)?;
    let mut all = Vec::new();
    while let Some(entry) = reader.poll()? {
        all.push((entry.seq, entry.payload.to_vec()));
    }
    Ok(all)
}

/// Luck with a seed.
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    /// A number below `below`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

/// A directory in memory where there is one: cases that write a file ten thousand times need no disk.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Opens. Another case may be starting a process just now, and that holds our lock until it has become another program.
pub(crate) fn try_open(dir: &Path, options: Options) -> Result<(Writer, Keeper), OpenError> {
    for _ in 0..10_000 {
        match Writer::open(dir, options) {
            Err(OpenError::Busy) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(OpenError::Busy)
}

/// Opens what must open.
pub(crate) fn open(dir: impl AsRef<Path>, options: Options) -> (Writer, Keeper) {
    try_open(dir.as_ref(), options).unwrap()
}

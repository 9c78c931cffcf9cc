//! `keel sanctions`: lists taken in, and asked.
//!
//! ```text
//!   keel sanctions load SDN.XML --into /var/lib/keel/lists      parsed, counted, kept as it came: ofac.1.list, lists.json
//!   keel sanctions check 1Boat... --lists /var/lib/keel/lists   an address, a name, or a file with one on each line
//! ```
//!
//! In: files a person downloaded. Out: a directory of accepted lists, answers with list, version and hash. Never: a list
//! outside its band, cut short, or much smaller than the one in force put in its place: then the old one stays.

mod formats;
#[cfg(test)]
mod tests;
mod xml;

use anyhow::{Context, Result, bail, ensure};
pub use formats::Format;
use keel_core::units::Wall;
use keel_risk::surveil::parameters::Parameters;
use keel_risk::surveil::screen::{Hit, List, Lists};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Name of the file that says which lists are in force.
const MANIFEST: &str = "lists.json";
/// Bytes a list may have.
const MAX_BYTES: u64 = 512 << 20;
/// A new list must have this share of the parties of the one in force, percent.
const SHRINK: usize = 80;
/// A list older than this is an alarm, nanoseconds.
pub const STALE: u64 = 24 * 3_600_000_000_000;

/// What to do with lists.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    job: Job,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Job {
    /// Take in a list: OFAC SDN.XML or SDN.CSV (ALT.CSV and ADD.CSV beside it), EU XML 1.1, UK CSV, UN XML
    Load {
        /// The file, as its publisher wrote it
        file: PathBuf,
        /// Directory of the lists in force
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
        /// Fewer parties than this refuse it [default: by list; 15000 for OFAC]
        #[arg(long, value_name = "N")]
        min: Option<usize>,
        /// More parties than this refuse it [default: by list; 25000 for OFAC]
        #[arg(long, value_name = "N")]
        max: Option<usize>,
        /// Take it although it is much smaller than the one in force
        #[arg(long)]
        shrink: bool,
    },
    /// Ask the lists in force about an address or a name, or about each line of a file
    Check {
        /// Address, name, or path of a file
        what: String,
        /// Directory of the lists in force
        #[arg(long, value_name = "DIR")]
        lists: PathBuf,
    },
}

/// A list in force.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Accepted {
    files: Vec<String>,
    sha256: String,
    version: String,
    parties: usize,
    loaded_at: u64,
}

type Manifest = BTreeMap<String, Accepted>;

/// The lists in force.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Them.
    pub lists: Vec<List>,
    /// When the oldest of them was loaded; `None` without any.
    pub oldest: Option<Wall>,
    /// SHA-256 of the manifest.
    pub digest: [u8; 32],
}

fn hash(files: &[Vec<u8>]) -> [u8; 32] {
    let mut all = Sha256::new();
    for file in files {
        all.update((file.len() as u64).to_le_bytes());
        all.update(file);
    }
    all.finalize().into()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let told = || path.display().to_string();
    let size = fs::metadata(path).with_context(told)?.len();
    ensure!(size <= MAX_BYTES, "{}: {size} bytes are more than any list has ({MAX_BYTES})", told());
    fs::read(path).with_context(told)
}

fn parse(files: &[Vec<u8>]) -> Result<(Format, List)> {
    let main = files.first().context("no file")?;
    let format = Format::of(main).context(
        "neither OFAC SDN.XML or SDN.CSV, EU XML 1.1, UK CSV nor UN XML: keep the file as its publisher wrote it",
    )?;
    let of = |at: usize| files.get(at).map(Vec::as_slice);
    let mut list = format.parse(main, of(1), of(2))?;
    list.digest = hash(files);
    if list.version.is_empty() {
        list.version = crate::fact::hex(&list.digest[..4]);
    }
    Ok((format, list))
}

fn manifest(dir: &Path) -> Result<(Manifest, Vec<u8>)> {
    let path = dir.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => {
            let told = || format!("{} is no list of lists: load them anew", path.display());
            Ok((serde_json::from_slice(&bytes).with_context(told)?, bytes))
        }
        Err(why) if why.kind() == ErrorKind::NotFound => Ok((Manifest::default(), Vec::new())),
        Err(why) => Err(why).with_context(|| path.display().to_string()),
    }
}

/// What [`Loaded::digest`] would be now.
pub fn mark(dir: &Path) -> Result<[u8; 32]> {
    Ok(Sha256::digest(manifest(dir)?.1).into())
}

/// The lists in force in a directory. A file that is not what was accepted is refused.
pub fn load(dir: &Path) -> Result<Loaded> {
    let (manifest, bytes) = manifest(dir)?;
    let mut loaded = Loaded { digest: Sha256::digest(&bytes).into(), ..Loaded::default() };
    for (source, accepted) in &manifest {
        let files = accepted.files.iter().map(|name| read(&dir.join(name))).collect::<Result<Vec<_>>>()?;
        let told = || format!("the {source} list in {}", dir.display());
        ensure!(
            crate::fact::hex(&hash(&files)) == accepted.sha256,
            "{} was changed after it was accepted: load it anew",
            told()
        );
        loaded.lists.push(parse(&files).with_context(told)?.1);
        let at = Wall::from_nanos(accepted.loaded_at);
        loaded.oldest = Some(loaded.oldest.map_or(at, |oldest| oldest.min(at)));
    }
    Ok(loaded)
}

/// What one loading did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whose list.
    pub source: &'static str,
    /// Its version.
    pub version: String,
    /// Its parties.
    pub parties: usize,
    /// Addresses among them.
    pub wallets: usize,
    /// Its hash.
    pub sha256: String,
}

/// How many parties a list may have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Band {
    /// At least.
    pub min: Option<usize>,
    /// At most.
    pub max: Option<usize>,
    /// It may be much smaller than the one in force.
    pub shrink: bool,
}

/// Takes a list in; on any doubt the one in force stays.
pub fn take(file: &Path, dir: &Path, band: Band, now: Wall) -> Result<Taken> {
    let mut files = vec![read(file)?];
    if Format::of(&files[0]) == Some(Format::OfacCsv) {
        let beside = |name: &str| {
            let path = |name: &str| file.with_file_name(name);
            [path(name), path(&name.to_lowercase())].into_iter().find(|path| path.exists())
        };
        for name in ["ALT.CSV", "ADD.CSV"] {
            let path = beside(name).with_context(|| format!("{name} must lie beside {}", file.display()))?;
            files.push(read(&path)?);
        }
    }
    let (format, list) = parse(&files).with_context(|| file.display().to_string())?;
    let (usual_min, usual_max) = format.band();
    let (min, max, count) = (band.min.unwrap_or(usual_min), band.max.unwrap_or(usual_max), list.parties.len());
    ensure!(
        (min..=max).contains(&count),
        "{}: {count} parties, where {min} to {max} are to be expected: the list in force stays",
        file.display()
    );
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let (mut all, _) = manifest(dir)?;
    let source = format.source();
    if let Some(had) = all.get(source).filter(|_| !band.shrink) {
        ensure!(
            count * 100 >= had.parties * SHRINK,
            "{}: {count} parties, after {} in the list in force: it stays; --shrink takes the new one all the same",
            file.display(),
            had.parties
        );
    }
    let digest = crate::fact::hex(&list.digest);
    let names: Vec<String> = (0..files.len()).map(|at| format!("{source}.{}.{at}.list", &digest[..16])).collect();
    for (name, bytes) in names.iter().zip(&files) {
        replace(dir, name, bytes)?;
    }
    let wallets = list.parties.iter().map(|party| party.wallets.len()).sum();
    let accepted = Accepted {
        files: names,
        sha256: digest.clone(),
        version: list.version.clone(),
        parties: count,
        loaded_at: now.nanos(),
    };
    let old = all.insert(source.to_owned(), accepted.clone());
    replace(dir, MANIFEST, &serde_json::to_vec_pretty(&all)?)?;
    for name in old.into_iter().flat_map(|old| old.files).filter(|name| !accepted.files.contains(name)) {
        let _ = fs::remove_file(dir.join(name));
    }
    Ok(Taken { source, version: list.version, parties: count, wallets, sha256: digest })
}

/// Writes a file whole or not at all.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let (unfinished, path) = (dir.join(format!("{name}.tmp")), dir.join(name));
    let write = || {
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// What the lists say of an address or a name.
#[must_use]
pub fn ask(lists: &Lists, what: &str) -> Option<Hit> {
    let it = Parameters::default().sanctioned;
    lists.wallet(what).or_else(|| lists.name(what, it.name_permille, it.weak_permille))
}

/// `keel sanctions`.
pub fn run(args: &Args) -> Result<()> {
    let now = crate::node::clock::system_wall();
    let mut out = std::io::stdout().lock();
    match &args.job {
        Job::Load { file, into, min, max, shrink } => {
            let band = Band { min: *min, max: *max, shrink: *shrink };
            let Taken { source, version, parties, wallets, sha256 } = take(file, into, band, now)?;
            writeln!(out, "{source} {version}: {parties} parties, {wallets} addresses, sha256 {sha256}")?;
        }
        Job::Check { what, lists } => {
            let loaded = load(lists)?;
            ensure!(!loaded.lists.is_empty(), "{} holds no list: keel sanctions load", lists.display());
            if let Some(oldest) = loaded.oldest.filter(|oldest| now.since(*oldest) > STALE) {
                tracing::warn!("the lists are stale: the oldest was loaded {}", crate::moment::utc(oldest));
            }
            let lists = Lists::new(loaded.lists);
            let asked = match fs::read_to_string(what) {
                Ok(text) => text.lines().map(str::to_owned).filter(|line| !line.trim().is_empty()).collect(),
                Err(_) => vec![what.clone()],
            };
            let mut hits = 0;
            for one in &asked {
                match ask(&lists, one) {
                    Some(hit) => {
                        hits += 1;
                        let weak = if hit.weak { " weak" } else { "" };
                        let (likeness, digest) = (hit.likeness, crate::fact::hex(&hit.digest));
                        writeln!(out, "HIT {one}: {} likeness {likeness}{weak} sha256 {digest}", hit.entry)?;
                    }
                    None => writeln!(out, "clear {one}")?,
                }
            }
            if hits > 0 {
                bail!("{hits} of {} are listed", asked.len());
            }
        }
    }
    Ok(())
}

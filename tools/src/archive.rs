//! `keel archive`: compresses sealed segments where they lie. Every other command reads them like plain ones.

use anyhow::Result;
use std::io::Write;
use std::path::PathBuf;

/// What to compress.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal; a core may be writing to it
    pub dir: PathBuf,
    /// Sealed segments left as they are, newest first; at least one
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub keep: usize,
}

/// Compresses and says what.
pub fn run(args: &Args) -> Result<()> {
    let done = keel_journal::archive::archive(&args.dir, args.keep)?;
    let mut out = std::io::stdout().lock();
    for number in &done {
        let packed = keel_journal::segment::packed_path(&args.dir, *number);
        writeln!(out, "{} {} bytes", packed.display(), packed.metadata()?.len())?;
    }
    writeln!(out, "{} segments compressed", done.len())?;
    Ok(())
}

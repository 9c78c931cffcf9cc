//! Recorded inputs, one frame at a time.
//!
//! In: a file of frames, plain or gzipped. Out: each frame's bytes and, where the recorder kept it, the nanosecond it
//! was received. Never: the whole file in memory, a frame silently skipped, a half line passed on as a frame.
//!
//! ```text
//!   *.rx_ns.tsv[.gz]   1721347021281597601 TAB {"topic":"orderbook.50.BTCUSDT",...} LF
//!   *.jsonl[.gz]       {"topic":"orderbook.50.BTCUSDT",...} LF
//! ```
//!
//! Empty lines are allowed and skipped. Compression is recognised by the first bytes, not by the name. After an error
//! the tape gives nothing more.

use flate2::bufread::MultiGzDecoder;
use keel_core::ids::Symbol;
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// The longest line accepted; a longer one ends the tape with [`Fault::TooLong`]. The venue's largest message, a
/// snapshot of 1000 levels a side, stays below 100 kB.
pub const MAX_LINE: usize = 4 << 20;
const BUFFER: usize = 1 << 16;

/// One recorded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was received, in nanoseconds of the recorder's clock; `None` where the recorder kept no times.
    pub recv_ns: Option<u64>,
    /// The frame as it came off the wire.
    pub json: &'a [u8],
}

/// How frames are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Receive time in nanoseconds, a tab, the frame.
    Stamped,
    /// Frames alone.
    Bare,
}

/// What is wrong with a tape.
#[derive(Debug)]
pub enum Fault {
    /// The name ends in nothing keel reads.
    UnknownShape,
    /// A raw Binance capture: another venue's protocol.
    RawBinance,
    /// The file cannot be opened or read.
    Io(io::Error),
    /// The compressed stream ends early or its checksum does not fit.
    Truncated(io::Error),
    /// A line without a tab, or one whose first column is no number of nanoseconds.
    NoStamp,
    /// A line longer than [`MAX_LINE`].
    TooLong,
    /// The last line has no end: the recorder was cut off while writing it.
    Unfinished,
}

/// A fault, with the place it was met.
#[derive(Debug)]
pub struct TapeError {
    /// The file.
    pub path: PathBuf,
    /// Line, counted from 1; zero when the file could not be opened.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for TapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        match &self.fault {
            Fault::UnknownShape => write!(f, ": not a tape; keel reads *.rx_ns.tsv[.gz] and *.jsonl[.gz]"),
            Fault::RawBinance => write!(
                f,
                ": a raw Binance capture, another venue's protocol; use its re-framed copy among the v5-shaped tapes"
            ),
            Fault::Io(why) => write!(f, ": {why}"),
            Fault::Truncated(why) => {
                write!(f, ": the compressed stream is damaged or ends early ({why}); fetch the file again")
            }
            Fault::NoStamp => write!(f, ": expected `nanoseconds TAB frame`; is this really a *.rx_ns.tsv file?"),
            Fault::TooLong => write!(f, ": a line longer than {MAX_LINE} bytes; this is no tape of frames"),
            Fault::Unfinished => {
                write!(f, ": the last line is not finished; the recorder was cut off while writing it")
            }
        }
    }
}

impl std::error::Error for TapeError {}

/// Does a file of this name hold frames, and how?
pub fn shape_of(path: &Path) -> Result<Shape, Fault> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    match name {
        name if name.ends_with(".rx_ns.tsv") => Ok(Shape::Stamped),
        name if name.ends_with(".jsonl") => Ok(Shape::Bare),
        name if name.ends_with(".raw") => Err(Fault::RawBinance),
        _ => Err(Fault::UnknownShape),
    }
}

/// A tape being read.
pub struct Tape {
    input: Box<dyn BufRead + Send>,
    path: PathBuf,
    shape: Shape,
    compressed: bool,
    line: u64,
    buffer: Vec<u8>,
    over: bool,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape").field("path", &self.path).field("line", &self.line).finish_non_exhaustive()
    }
}

impl Tape {
    /// Opens a file by the shape its name promises.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TapeError> {
        let path = path.as_ref();
        let refuse = |fault| TapeError { path: path.to_owned(), line: 0, fault };
        let shape = shape_of(path).map_err(refuse)?;
        let file = File::open(path).map_err(|why| refuse(Fault::Io(why)))?;
        Self::read(path, shape, file).map_err(|why| refuse(Fault::Io(why)))
    }

    /// Reads frames of a known shape from anywhere; `path` is only what errors call it.
    pub fn read(path: impl AsRef<Path>, shape: Shape, source: impl Read + Send + 'static) -> io::Result<Self> {
        let mut plain = BufReader::with_capacity(BUFFER, source);
        let compressed = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let input: Box<dyn BufRead + Send> = if compressed {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(plain)))
        } else {
            Box::new(plain)
        };
        let path = path.as_ref().to_owned();
        Ok(Self { input, path, shape, compressed, line: 0, buffer: Vec::with_capacity(BUFFER), over: false })
    }

    /// The next frame; `None` at the end.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, TapeError> {
        if self.over {
            return Ok(None);
        }
        match self.advance() {
            Ok(true) => {}
            Ok(false) => {
                self.over = true;
                return Ok(None);
            }
            Err(fault) => return Err(self.fail(fault)),
        }
        match split(self.shape, &self.buffer) {
            Some(frame) => Ok(Some(frame)),
            None => {
                self.over = true;
                Err(TapeError { path: self.path.clone(), line: self.line, fault: Fault::NoStamp })
            }
        }
    }

    /// Lines read so far, empty ones included.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Which file this is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn fail(&mut self, fault: Fault) -> TapeError {
        self.over = true;
        TapeError { path: self.path.clone(), line: self.line, fault }
    }

    /// Puts the next line that holds something into `buffer`, without its end.
    fn advance(&mut self) -> Result<bool, Fault> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
            let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|why| if self.compressed { Fault::Truncated(why) } else { Fault::Io(why) })?;
            if read == 0 {
                self.line -= 1;
                return Ok(false);
            }
            let ended = self.buffer.pop_if(|byte| *byte == b'\n').is_some();
            self.buffer.pop_if(|byte| *byte == b'\r');
            if !ended && self.buffer.len() > MAX_LINE {
                return Err(Fault::TooLong);
            }
            if !ended && !self.buffer.ends_with(b"}") {
                return Err(Fault::Unfinished);
            }
            if !self.buffer.is_empty() {
                return Ok(true);
            }
        }
    }
}

fn split(shape: Shape, line: &[u8]) -> Option<Frame<'_>> {
    match shape {
        Shape::Bare => Some(Frame { recv_ns: None, json: line }),
        Shape::Stamped => {
            let tab = line.iter().position(|byte| *byte == b'\t')?;
            let stamp = std::str::from_utf8(&line[..tab]).ok()?;
            Some(Frame { recv_ns: Some(stamp.parse().ok()?), json: &line[tab + 1..] })
        }
    }
}

/// An instrument whose grid is so fine that nothing is off it: who reads or writes tapes judges no prices.
#[must_use]
pub fn gridless(symbol: Symbol) -> Instrument {
    Instrument {
        symbol,
        tick: Px::from_raw(1),
        min_px: Px::from_raw(1),
        max_px: Px::MAX,
        step: Qty::from_raw(1),
        min_qty: Qty::from_raw(1),
        max_qty: Qty::MAX,
        max_market_qty: Qty::MAX,
        min_notional: Notional::ZERO,
        max_leverage: 100,
        ..Instrument::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn read(shape: Shape, bytes: &[u8]) -> (Vec<(Option<u64>, String)>, Option<TapeError>) {
        let mut tape = Tape::read("t", shape, io::Cursor::new(bytes.to_vec())).unwrap();
        let mut frames = Vec::new();
        loop {
            match tape.next_frame() {
                Ok(Some(f)) => frames.push((f.recv_ns, String::from_utf8_lossy(f.json).into_owned())),
                Ok(None) => return (frames, None),
                Err(why) => {
                    assert!(matches!(tape.next_frame(), Ok(None)), "nothing follows an error");
                    return (frames, Some(why));
                }
            }
        }
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn frames_come_with_their_stamps_from_plain_and_compressed_files() {
        let stamped = b"7\t{\"a\":1}\n\n8\t{\"b\":\"x\ty\"}\r\n9\t{}";
        let expected =
            vec![(Some(7), "{\"a\":1}".into()), (Some(8), "{\"b\":\"x\ty\"}".into()), (Some(9), "{}".into())];
        for bytes in [stamped.to_vec(), gz(stamped)] {
            let (frames, error) = read(Shape::Stamped, &bytes);
            assert_eq!(frames, expected);
            assert!(error.is_none());
        }
        assert_eq!(read(Shape::Bare, b"{}\n{}\n").0.len(), 2);
        assert_eq!(read(Shape::Bare, b"").0.len(), 0);
    }

    #[test]
    fn a_damaged_tape_says_where() {
        let mut long = vec![b' '; MAX_LINE + 10];
        long.push(b'\n');
        let body: Vec<u8> = (0..20_000u32)
            .flat_map(|n| format!("{n}\t{{\"n\":{}}}\n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect();
        let mut cut = gz(&body);
        cut.truncate(cut.len() / 2);
        type Expected = fn(&Fault) -> bool;
        let rows: [(&str, Shape, &[u8], u64, Expected); 6] = [
            ("no tab", Shape::Stamped, b"1\t{}\n{}\n", 2, |f| matches!(f, Fault::NoStamp)),
            ("no number", Shape::Stamped, b"x\t{}\n", 1, |f| matches!(f, Fault::NoStamp)),
            ("negative", Shape::Stamped, b"-1\t{}\n", 1, |f| matches!(f, Fault::NoStamp)),
            ("cut off", Shape::Bare, b"{}\n{\"topic\":\"or", 2, |f| matches!(f, Fault::Unfinished)),
            ("oversize", Shape::Bare, &long, 1, |f| matches!(f, Fault::TooLong)),
            ("half a gzip", Shape::Stamped, &cut, 0, |f| matches!(f, Fault::Truncated(_))),
        ];
        for (name, shape, bytes, line, expected) in rows {
            let error = read(shape, bytes).1.unwrap_or_else(|| panic!("{name}: read to the end"));
            assert!(expected(&error.fault), "{name}: {error}");
            assert!(line == 0 || error.line == line, "{name}: {error}");
        }
    }

    #[test]
    fn names_decide_the_shape() {
        for (name, expected) in
            [("a.rx_ns.tsv.gz", Shape::Stamped), ("a.rx_ns.tsv", Shape::Stamped), ("a.jsonl", Shape::Bare)]
        {
            assert_eq!(shape_of(Path::new(name)).unwrap(), expected, "{name}");
        }
        assert!(matches!(shape_of(Path::new("usdm.raw.gz")), Err(Fault::RawBinance)));
        assert!(matches!(shape_of(Path::new("bars.csv")), Err(Fault::UnknownShape)));
        let missing = Tape::open("nowhere/x.jsonl").unwrap_err();
        assert!(missing.to_string().starts_with("nowhere/x.jsonl: "), "{missing}");
    }
}

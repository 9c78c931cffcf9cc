//! The front door: a socket in the data directory that only its owner may open.
//!
//! ```text
//!   keel brake, keel limits --one line of JSON--> keel.sock --ring--> engine      status, trip, bring
//!                           <--one line of JSON--             board
//!   brake.trip, a file in the same directory: the trip of someone the socket did not answer
//! ```
//!
//! In: lines of at most [`LINE`] bytes on at most [`GUESTS`] connections; more wait. Out: commands and documents on the
//! engine's ring, answers from the board, and an alarm in the log whenever the brake moves: beside the brake's own work,
//! never behind it. Never: a decision of its own. Who signed a document is found out by the gate.

use super::board::{Board, Cell};
use super::engine::Petition;
use super::{Part, Report};
use anyhow::{Context, Result, bail};
use keel_core::agent::Agent;
use keel_core::event::{Command, CommandKind, Document, DocumentKind, Flag};
use keel_core::ids::Text;
use keel_core::ring::Producer;
use keel_core::units::{Mono, Now};
use keel_risk::brake::Reason;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The socket's name in the data directory.
pub const SOCKET: &str = "keel.sock";
/// The file's name that says somebody tripped the brake of a node that did not answer.
pub const TRIP_FILE: &str = "brake.trip";
/// What that file is called once the node took it in.
pub const TAKEN_FILE: &str = "brake.trip.taken";
/// Longest line; a longer one closes the connection.
pub const LINE: usize = 256 << 10;
/// Connections at once; others wait in the kernel.
const GUESTS: usize = 8;
/// Nanoseconds between two looks for the file.
const LOOK: u64 = 100_000_000;
/// Nanoseconds a document may take to be answered.
const PATIENCE: u64 = 3_000_000_000;

/// One question.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(tag = "ask", rename_all = "lowercase", deny_unknown_fields)]
pub enum Ask {
    /// Where does everything stand?
    Status,
    /// Make it stop.
    Trip {
        /// `reduce`, `cancel`, `halt` or `flatten`.
        to: String,
        /// Who asks.
        by: String,
    },
    /// Here is something people signed.
    Bring {
        /// `arm` or `limits`.
        what: String,
        /// Who brings it.
        by: String,
        /// It.
        text: String,
    },
}

/// The word for a trip.
#[must_use]
pub fn trip_kind(word: &str) -> Option<CommandKind> {
    Some(match word {
        "reduce" => CommandKind::ReduceOnly,
        "cancel" => CommandKind::CancelOnly,
        "halt" => CommandKind::Halt,
        "flatten" => CommandKind::Flatten,
        _ => return None,
    })
}

struct Guest {
    stream: UnixStream,
    heard: Vec<u8>,
    /// Documents answered before theirs, and until when they wait.
    waits: Option<(u64, Mono)>,
}

/// The agent.
pub struct Door {
    listener: UnixListener,
    dir: PathBuf,
    guests: Vec<Guest>,
    engine: Producer<Petition>,
    board: Arc<Board>,
    next_look: Mono,
    seen: Option<(u64, u64)>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Door({})", self.dir.display())
    }
}

impl Door {
    /// Opens the socket. The journal's lock is held: whoever left a socket here is gone.
    pub fn open(dir: &Path, engine: Producer<Petition>, board: Arc<Board>) -> Result<Self> {
        let path = dir.join(SOCKET);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("opening {}: a path of at most 107 bytes is needed", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (guests, dir) = (Vec::with_capacity(GUESTS), dir.to_owned());
        Ok(Self { listener, dir, guests, engine, board, next_look: Mono::default(), seen: None })
    }

    /// Takes in the trip of somebody the socket did not answer: before the node, or while it hung.
    fn look_for_file(&mut self, now: Now) -> Result<()> {
        let path = self.dir.join(TRIP_FILE);
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let mut words = text.split_whitespace();
        let kind = words.next().and_then(trip_kind).unwrap_or(CommandKind::Halt);
        self.trip(now, kind, words.next().unwrap_or("file"))?;
        std::fs::rename(&path, self.dir.join(TAKEN_FILE)).with_context(|| format!("renaming {}", path.display()))
    }

    fn trip(&mut self, now: Now, kind: CommandKind, by: &str) -> Result<()> {
        let author = Text::new(by.as_bytes()).with_context(|| format!("{by:?} is no name"))?;
        let command = Command { recv: now.mono, author, kind, authenticated: Flag::No, ..Command::default() };
        self.push(Petition::Command(command))
    }

    fn push(&mut self, petition: Petition) -> Result<()> {
        self.engine.push(petition).map_err(|_| anyhow::anyhow!("the engine is not taking commands: it may hang"))
    }

    fn bring(&mut self, now: Now, what: &str, by: &str, text: &str) -> Result<(u64, Mono)> {
        let kind = match what {
            "arm" => DocumentKind::Arm,
            "limits" => DocumentKind::Limits,
            other => bail!("{other:?}: bring arm or limits"),
        };
        let author = Text::new(by.as_bytes()).with_context(|| format!("{by:?} is no name"))?;
        let answered = self.board.get(Cell::Answered);
        let parts = Document::cut(now.mono, author, kind, text.as_bytes()).context("an empty document")?;
        parts.into_iter().try_for_each(|part| self.push(Petition::Document(part)))?;
        Ok((answered, now.mono.after(PATIENCE)))
    }

    /// Deals with one line; what to say, or nothing yet.
    fn serve(&mut self, now: Now, line: &[u8], waits: &mut Option<(u64, Mono)>) -> Option<serde_json::Value> {
        let done = match serde_json::from_slice(line) {
            Err(why) => Err(anyhow::anyhow!("not understood: {why}")),
            Ok(Ask::Status) => return Some(self.status()),
            Ok(Ask::Trip { to, by }) => match trip_kind(&to) {
                Some(kind) => self.trip(now, kind, &by).map(|()| json!({"ok": true, "said": "trip"})),
                None => Err(anyhow::anyhow!("{to:?}: say reduce, cancel, halt or flatten")),
            },
            Ok(Ask::Bring { what, by, text }) => match self.bring(now, &what, &by, &text) {
                Ok(wait) => {
                    *waits = Some(wait);
                    return None;
                }
                Err(why) => Err(why),
            },
        };
        Some(done.unwrap_or_else(|why| json!({"ok": false, "why": format!("{why:#}")})))
    }

    fn status(&self) -> serde_json::Value {
        let get = |cell| self.board.get(cell);
        let rows = self.board.symbols().iter().zip(0..).map(|(symbol, at)| {
            let row = self.board.row(at);
            let position = keel_core::units::Qty::from_raw(row.position.load(Ordering::Acquire));
            let stage = STAGES.get(usize::try_from(row.unwind.load(Ordering::Acquire)).unwrap_or(0));
            json!({"symbol": symbol, "position": position.to_string(), "unwind": stage})
        });
        json!({
            "ok": true,
            "brake": state(get(Cell::BrakeState)),
            "reason": reason(get(Cell::BrakeReason)),
            "version": get(Cell::BrakeVersion),
            "limits": get(Cell::LimitsVersion),
            "open_orders": get(Cell::OpenOrders),
            "positions": rows.collect::<Vec<_>>(),
            "links": [get(Cell::PublicLink), get(Cell::PrivateLink), get(Cell::TradeLink)],
            "reconciled": get(Cell::Reconciled) == 1,
        })
    }

    fn accept(&mut self) -> usize {
        if self.guests.len() == GUESTS {
            return 0;
        }
        let Ok((stream, _)) = self.listener.accept() else { return 0 };
        if stream.set_nonblocking(true).is_ok() {
            self.guests.push(Guest { stream, heard: Vec::new(), waits: None });
        }
        1
    }

    /// One look at one guest; false when they are gone.
    fn attend(&mut self, now: Now, guest: &mut Guest) -> bool {
        if let Some((before, until)) = guest.waits {
            let answered = self.board.get(Cell::Answered);
            if answered == before && now.mono < until {
                return true;
            }
            guest.waits = None;
            let doubt = self.board.get(Cell::Doubt);
            let answer = match (answered > before, doubt) {
                (false, _) => json!({"ok": false, "why": "the engine did not answer: look at keel brake status"}),
                (true, 0) => self.status(),
                (true, code) => json!({"ok": false, "why": doubt_text(code)}),
            };
            return tell(&mut guest.stream, &answer);
        }
        let mut bytes = [0; 4096];
        match guest.stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(read) => guest.heard.extend_from_slice(&bytes[..read]),
            Err(why) if why.kind() == ErrorKind::WouldBlock => return true,
            Err(_) => return false,
        }
        while let Some(end) = guest.heard.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = guest.heard.drain(..=end).collect();
            match self.serve(now, &line, &mut guest.waits) {
                Some(answer) if !tell(&mut guest.stream, &answer) => return false,
                _ => {}
            }
        }
        guest.heard.len() <= LINE
    }

    /// Says in the log that the brake moved.
    fn alarm(&mut self) {
        let now = (self.board.get(Cell::BrakeState), self.board.get(Cell::BrakeVersion));
        if now.1 == 0 || self.seen == Some(now) {
            return;
        }
        let (state, why) = (state(now.0), reason(self.board.get(Cell::BrakeReason)));
        let first = self.seen.replace(now).is_none();
        match now.0 {
            _ if first || why == Reason::Ending.meaning() => tracing::info!(state, version = now.1, "the brake: {why}"),
            0 => tracing::warn!(state, version = now.1, "the brake was released"),
            _ => tracing::error!(state, version = now.1, "the brake moved: {why}"),
        }
    }
}

fn tell(stream: &mut UnixStream, answer: &serde_json::Value) -> bool {
    writeln!(stream, "{answer}").is_ok()
}

/// Names of the brake's states, by code.
pub const STATES: [&str; 4] = ["active", "reduce-only", "cancel-only", "halted"];
/// Names of the stages of letting go, by code.
pub const STAGES: [&str; 9] = ["-", "cancelling", "slicing", "wick", "blind", "dust", "verifying", "flat", "enough"];

fn state(code: u64) -> &'static str {
    usize::try_from(code).ok().and_then(|code| STATES.get(code)).copied().unwrap_or("halted")
}

fn reason(code: u64) -> &'static str {
    let known = Reason::ALL.iter().find(|reason| **reason as u64 == code);
    known.map_or("unknown", |reason| reason.meaning())
}

/// What a doubt means to the person who brought the document.
#[must_use]
pub fn doubt_text(code: u64) -> String {
    const DOUBTS: [&str; 11] = [
        "done",
        "a key that is none, weak, or stands twice",
        "signed by someone who may not sign",
        "a signature that does not fit: the text was changed after it was signed, or with another key",
        "fewer people signed than it takes: two to release the brake or to loosen, one to tighten",
        "no reason is given",
        "not valid yet, not any more, or valid for too long",
        "made for another state of the brake or other limits than those in force: look again, sign again",
        "the limits do not fit their ranges or this node",
        "not a document of this kind, or not in its one form",
        "halted too often within a day: one more person, or tighter limits first",
    ];
    let text = usize::try_from(code).ok().and_then(|code| DOUBTS.get(code).copied());
    text.unwrap_or("an unknown doubt").to_owned()
}

impl Agent for Door {
    fn name(&self) -> &'static str {
        "door"
    }

    fn duty(&mut self, now: Now) -> usize {
        self.alarm();
        if now.mono >= self.next_look {
            self.next_look = now.mono.after(LOOK);
            if let Err(why) = self.look_for_file(now) {
                tracing::error!("{TRIP_FILE}: {why:#}");
            }
        }
        let mut work = self.accept();
        for _ in 0..self.guests.len() {
            let mut guest = self.guests.remove(0);
            let before = guest.heard.len();
            if self.attend(now, &mut guest) {
                work += usize::from(guest.heard.len() != before);
                self.guests.push(guest);
            }
        }
        work
    }
}

impl Part for Door {
    fn finish(self: Box<Self>, _: &mut Report) {
        let _ = std::fs::remove_file(self.dir.join(SOCKET));
    }
}

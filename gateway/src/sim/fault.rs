//! Faults on demand: what a venue or the network between can do wrong, switched on by one line of text.
//!
//! In: command lines, outgoing frames, requests. Out: the frames that really leave, cut, late, doubled, spoiled or not
//! at all. Never: a change of the engine's state by a fault of the wire.
//!
//! | line | what happens |
//! |---|---|
//! | `disconnect channel=C [after=N]` | the next frame on C is cut after N bytes and the socket closed |
//! | `hangup channel=C` | every socket on C is closed now |
//! | `silent channel=C for_ms=T` | frames on C vanish for T; the socket stays open |
//! | `latency channel=C ms=A [jitter_ms=J] [for_ms=T]` | frames on C leave A to A+J late, in order |
//! | `slow channel=C bytes_per_s=R [for_ms=T]` | frames on C leave at R bytes a second |
//! | `lost-ack [count=N]` | the next N acks of order entry vanish |
//! | `late-ack [count=N]` | the next N acks leave after the streams of the same request |
//! | `reorder [count=N]` | the next N pairs of private frames swap |
//! | `duplicate [count=N]` | the next N execution frames are sent twice |
//! | `gap symbol=S [count=N]` | the next N book deltas of S are lost |
//! | `restart symbol=S` | a full snapshot with `u=1` |
//! | `crossed symbol=S` | a delta whose bid stands above the ask |
//! | `malformed channel=C`, `truncated channel=C`, `huge channel=C [bytes=N]` | the next frame is spoiled so |
//! | `refuse code=10006\|10016\|10019\|... [count=N]` | the next N order requests answer that code |
//! | `no-req-id [count=N]` | the next N refusals on the trade socket come without `reqId` |
//! | `http status=403\|500\|503 [count=N]` | the next N REST requests answer that status |
//! | `stale for_ms=T` | private queries answer what they answered first |
//! | `skew ms=D` | the venue's clock is D ahead (negative: behind) |
//! | `clear` | all of the above end |

use super::command::Line;
use super::conn::Channel;
use super::rng::Rng;
use std::collections::{BTreeMap, VecDeque};

/// The longest latency; a longer one is cut to it.
const MAX_DELAY_MS: u64 = 3_600_000;

/// What a frame is, as far as faults care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Of order entry.
    Ack,
    /// Of everything else a client says.
    Answer,
    Execution,
    Private,
    Book,
    Other,
}

/// A frame that really leaves, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    Whole(Vec<u8>),
    /// These bytes of the WebSocket frame's payload, then the socket dies.
    Cut(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
struct Spoil {
    channel: Channel,
    how: Spoiled,
}

#[derive(Clone, Copy, Debug)]
enum Spoiled {
    Cut(usize),
    Malformed,
    Truncated,
    Huge(usize),
}

#[derive(Clone, Copy, Debug)]
struct Delay {
    channel: Channel,
    ms: u64,
    jitter_ms: u64,
    bytes_per_s: u64,
    until_ms: u64,
}

/// The faults that are on.
#[derive(Debug)]
pub(super) struct Faults {
    rng: Rng,
    spoil: Vec<Spoil>,
    silent: Vec<(Channel, u64)>,
    delays: Vec<Delay>,
    /// Frames that wait for their time, per connection in order.
    late: BTreeMap<u64, VecDeque<(u64, Leaves)>>,
    pub(super) lost_ack: u64,
    pub(super) late_ack: u64,
    reorder: u64,
    held: Option<(u64, Vec<u8>)>,
    duplicate: u64,
    gaps: BTreeMap<String, u64>,
    pub(super) refuse: Option<(i32, u64)>,
    pub(super) no_req_id: u64,
    pub(super) http: Option<(u16, u64)>,
    pub(super) stale_until: u64,
    pub(super) stale: BTreeMap<String, String>,
    pub(super) skew_ms: i64,
    /// No fault: the milliseconds an answer takes.
    pub(super) answer_ms: u64,
    /// Any fault is on: the short way round is closed.
    active: bool,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed ^ 0xfa17),
            spoil: Vec::new(),
            silent: Vec::new(),
            delays: Vec::new(),
            late: BTreeMap::new(),
            lost_ack: 0,
            late_ack: 0,
            reorder: 0,
            held: None,
            duplicate: 0,
            gaps: BTreeMap::new(),
            refuse: None,
            no_req_id: 0,
            http: None,
            stale_until: 0,
            stale: BTreeMap::new(),
            skew_ms: 0,
            answer_ms: 0,
            active: false,
        }
    }

    /// The same, of a venue whose answers take this long.
    pub(super) fn answering(self, answer_ms: u64) -> Self {
        Self { answer_ms, ..self }
    }

    /// Switches a fault on. `None`: no such fault; `Some(Err)`: its arguments are wrong.
    pub(super) fn switch(&mut self, line: &Line<'_>, now_ms: u64) -> Option<Result<(), String>> {
        let result = self.set(line, now_ms)?;
        self.active = true;
        Some(result)
    }

    fn set(&mut self, line: &Line<'_>, now_ms: u64) -> Option<Result<(), String>> {
        let until =
            |line: &Line<'_>| line.number("for_ms").map(|ms| ms.map_or(u64::MAX, |ms| now_ms.saturating_add(ms)));
        let count = || line.number("count").map(|n| n.unwrap_or(1));
        let spoil = |how| line.channel().map(|channel| Spoil { channel, how });
        Some(match line.verb {
            "disconnect" => line
                .number("after")
                .and_then(|n| spoil(Spoiled::Cut(usize::try_from(n.unwrap_or(0)).unwrap_or(0))))
                .map(|s| self.spoil.push(s)),
            "malformed" => spoil(Spoiled::Malformed).map(|s| self.spoil.push(s)),
            "truncated" => spoil(Spoiled::Truncated).map(|s| self.spoil.push(s)),
            "huge" => line
                .number("bytes")
                .and_then(|n| spoil(Spoiled::Huge(usize::try_from(n.unwrap_or(1 << 20)).unwrap_or(0).min(32 << 20))))
                .map(|s| self.spoil.push(s)),
            "silent" => line.channel().and_then(|c| until(line).map(|u| self.silent.push((c, u)))),
            "latency" | "slow" => self.delay(line, until(line)),
            "lost-ack" => count().map(|n| self.lost_ack = n),
            "late-ack" => count().map(|n| self.late_ack = n),
            "reorder" => count().map(|n| self.reorder = n),
            "duplicate" => count().map(|n| self.duplicate = n),
            "gap" => line.text("symbol").and_then(|s| {
                let s = s.to_owned();
                count().map(|n| {
                    self.gaps.insert(s, n);
                })
            }),
            "refuse" => line.needed("code").and_then(|code| {
                let code = i32::try_from(code).map_err(|_| "code is out of range".to_owned())?;
                count().map(|n| self.refuse = Some((code, n)))
            }),
            "no-req-id" => count().map(|n| self.no_req_id = n),
            "http" => line.needed("status").and_then(|status| {
                let status = u16::try_from(status).map_err(|_| "status is out of range".to_owned())?;
                count().map(|n| self.http = Some((status, n)))
            }),
            "stale" => until(line).map(|u| {
                self.stale_until = u;
                self.stale.clear();
            }),
            "skew" => line.signed("ms").map(|ms| self.skew_ms = ms),
            "clear" => {
                let late = std::mem::take(&mut self.late);
                *self = Self { late, answer_ms: self.answer_ms, ..Self::new(0) };
                self.delays.clear();
                Ok(())
            }
            _ => return None,
        })
    }

    fn delay(&mut self, line: &Line<'_>, until: Result<u64, String>) -> Result<(), String> {
        let slow = line.verb == "slow";
        let delay = Delay {
            channel: line.channel()?,
            ms: if slow { 0 } else { line.needed("ms")?.min(MAX_DELAY_MS) },
            jitter_ms: line.number("jitter_ms")?.unwrap_or(0).min(MAX_DELAY_MS),
            bytes_per_s: if slow { line.needed("bytes_per_s")?.max(1) } else { 0 },
            until_ms: until?,
        };
        self.delays.push(delay);
        Ok(())
    }

    /// Should this book delta be lost?
    pub(super) fn loses(&mut self, symbol: &str) -> bool {
        match self.gaps.get_mut(symbol) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// One of `count` refusals, if any are left.
    pub(super) fn refusal(&mut self) -> Option<i32> {
        let (code, left) = self.refuse.as_mut().filter(|(_, left)| *left > 0)?;
        *left -= 1;
        Some(*code)
    }

    /// One of `count` statuses, if any are left.
    pub(super) fn status(&mut self) -> Option<u16> {
        let (status, left) = self.http.as_mut().filter(|(_, left)| *left > 0)?;
        *left -= 1;
        Some(*status)
    }

    /// One of a counted fault.
    pub(super) fn count(left: &mut u64) -> bool {
        let on = *left > 0;
        *left = left.saturating_sub(1);
        on
    }

    /// What of a frame leaves now, on which connections; frames that wait come out of [`Self::due`].
    pub(super) fn pass(
        &mut self,
        conn: u64,
        channel: Channel,
        class: Class,
        frame: Vec<u8>,
        now_ms: u64,
    ) -> Vec<(u64, Leaves)> {
        let own_ms = if matches!(class, Class::Ack | Class::Answer) { self.answer_ms } else { 0 };
        if !self.active && own_ms == 0 && !self.late.contains_key(&conn) {
            return vec![(conn, Leaves::Whole(frame))];
        }
        if self.silent.iter().any(|(c, until)| *c == channel && now_ms < *until)
            || (class == Class::Ack && Self::count(&mut self.lost_ack))
        {
            return Vec::new();
        }
        let mut frames = vec![(conn, frame)];
        if class == Class::Execution && Self::count(&mut self.duplicate) {
            frames.push(frames[0].clone());
        }
        if matches!(class, Class::Execution | Class::Private) && self.reorder > 0 {
            match self.held.take() {
                None => {
                    self.held = frames.pop();
                }
                Some(first) => {
                    frames.push(first);
                    self.reorder -= 1;
                }
            }
        }
        let frames: Vec<_> = frames.into_iter().map(|(conn, frame)| (conn, self.spoiled(channel, frame))).collect();
        frames.into_iter().filter_map(|(conn, leaves)| self.delayed(conn, channel, leaves, now_ms, own_ms)).collect()
    }

    fn spoiled(&mut self, channel: Channel, mut frame: Vec<u8>) -> Leaves {
        let Some(at) = self.spoil.iter().position(|s| s.channel == channel) else { return Leaves::Whole(frame) };
        match self.spoil.remove(at).how {
            Spoiled::Cut(after) => {
                frame.truncate(after);
                return Leaves::Cut(frame);
            }
            Spoiled::Malformed => frame = br#"{"topic":"orderbook.50.","data":{"b":[["x",}"#.to_vec(),
            Spoiled::Truncated => frame.truncate(frame.len() / 2),
            Spoiled::Huge(bytes) => frame.resize(frame.len().max(bytes), b' '),
        }
        Leaves::Whole(frame)
    }

    fn delayed(
        &mut self,
        conn: u64,
        channel: Channel,
        leaves: Leaves,
        now_ms: u64,
        own_ms: u64,
    ) -> Option<(u64, Leaves)> {
        let bytes = match &leaves {
            Leaves::Whole(frame) | Leaves::Cut(frame) => frame.len() as u64,
        };
        let mut at = now_ms + own_ms;
        for delay in self.delays.iter().filter(|d| d.channel == channel && now_ms < d.until_ms) {
            at += delay.ms + self.rng.below(delay.jitter_ms + 1);
            at += (bytes * 1_000).checked_div(delay.bytes_per_s).unwrap_or(0);
        }
        let queue = self.late.get(&conn);
        let behind = queue.and_then(|q| q.back()).map(|(at, _)| *at);
        if at <= now_ms && behind.is_none() {
            return Some((conn, leaves));
        }
        let slow = self.delays.iter().any(|d| d.channel == channel && d.bytes_per_s > 0);
        let at = behind.map_or(at, |last| if slow { last + (at - now_ms) } else { at.max(last) });
        self.late.entry(conn).or_default().push_back((at, leaves));
        None
    }

    /// Frames whose time has come.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<(u64, Leaves)> {
        let mut out = Vec::new();
        for (conn, queue) in &mut self.late {
            while queue.front().is_some_and(|(at, _)| *at <= now_ms) {
                out.extend(queue.pop_front().map(|(_, leaves)| (*conn, leaves)));
            }
        }
        self.late.retain(|_, queue| !queue.is_empty());
        out
    }

    /// When the next delayed frame leaves.
    pub(super) fn next(&self) -> Option<u64> {
        self.late.values().filter_map(|queue| queue.front()).map(|(at, _)| *at).min()
    }

    /// A socket is gone, and what waited for it.
    pub(super) fn forget(&mut self, conn: u64) {
        self.late.remove(&conn);
        if self.held.as_ref().is_some_and(|(held, _)| *held == conn) {
            self.held = None;
        }
    }
}

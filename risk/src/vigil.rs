//! What else the brake watches: the clock, storms of messages, the work a fill takes.
//!
//! In: what was sent, acknowledged, refused, asked for and filled. Out: one number a cause, for the ladders in
//! [`crate::trips`]. Never: an offset that a slow answer alone could explain, a storm that hides behind its own refusals.
//!
//! ```text
//!   ours    sent ------------------ received          offset = venue - (sent + received) / 2
//!                     venue                           error  = (received - sent) / 2 + 1 ms, what the stamp rounds away
//!                                                     proven = |offset| - error, at least 0
//! ```
//!
//! A stamp of the public stream that lies in our future proves by itself that our clock is behind.

use keel_core::event::{Ack, Origin, Sent, SentOutcome};
use keel_core::ids::ClientId;
use keel_core::units::{Mono, Now};
use std::collections::VecDeque;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// Requests whose way out is remembered until their answer comes; the oldest is forgotten first.
const FLYING: usize = 64;
/// How long a measured offset speaks for the clock.
const OFFSET_AGE: u64 = 60 * SECOND;
/// Seconds over which storms are counted.
const STORM: usize = 10;
/// Minutes over which orders are held against fills.
const HOUR: usize = 60;
/// Messages from which on the work a fill takes says something.
pub const ENOUGH: u32 = 500;

/// Events of the last `N` spans of time.
#[derive(Clone, Debug)]
pub(crate) struct Count<const N: usize> {
    parts: [u32; N],
    span: u64,
    at: u64,
    sum: u32,
}

impl<const N: usize> Count<N> {
    pub(crate) const fn new(span: u64) -> Self {
        Self { parts: [0; N], span, at: 0, sum: 0 }
    }

    /// Forgets what is too old. A clock that steps back forgets nothing.
    pub(crate) fn advance(&mut self, now: Mono) {
        let to = now.nanos() / self.span;
        for step in 0..to.saturating_sub(self.at).min(N as u64) {
            self.sum -= core::mem::take(&mut self.parts[Self::place(to - step)]);
        }
        self.at = self.at.max(to);
    }

    #[allow(clippy::cast_possible_truncation, reason = "smaller than N")]
    const fn place(part: u64) -> usize {
        (part % N as u64) as usize
    }

    pub(crate) fn add(&mut self, now: Mono) {
        self.advance(now);
        if self.sum < u32::MAX {
            self.parts[Self::place(self.at)] += 1;
            self.sum += 1;
        }
    }

    pub(crate) const fn sum(&self) -> u32 {
        self.sum
    }
}

/// Messages and fills of one strategy over an hour.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    messages: Count<HOUR>,
    fills: Count<HOUR>,
}

impl Default for Work {
    fn default() -> Self {
        Self { messages: Count::new(60 * SECOND), fills: Count::new(60 * SECOND) }
    }
}

impl Work {
    pub(crate) fn message(&mut self, now: Mono) {
        self.messages.add(now);
    }

    pub(crate) fn fill(&mut self, now: Mono) {
        self.fills.add(now);
    }

    /// Messages a fill, rounded up; zero until there are [`ENOUGH`] to say.
    pub(crate) fn ratio(&self) -> u32 {
        let messages = self.messages.sum();
        if messages < ENOUGH { 0 } else { messages.div_ceil(self.fills.sum().max(1)) }
    }

    /// The same, with everything too old forgotten first.
    pub(crate) fn ratio_at(&mut self, now: Mono) -> u32 {
        self.messages.advance(now);
        self.fills.advance(now);
        self.ratio()
    }
}

/// One request on its way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    client: ClientId,
    sent: Mono,
    /// The wall clock's lead over the monotonic one then: a difference at the answer is a step of the clock in between.
    lead: i128,
}

/// The clock and the storms.
#[derive(Clone, Debug)]
pub struct Vigil {
    flights: VecDeque<Flight>,
    /// The part of the last offset that is proven, and when it was.
    offset: Option<(Mono, u64)>,
    asked: Count<STORM>,
    rejects: Count<STORM>,
}

impl Default for Vigil {
    fn default() -> Self {
        Self {
            flights: VecDeque::with_capacity(FLYING),
            offset: None,
            asked: Count::new(SECOND),
            rejects: Count::new(SECOND),
        }
    }
}

fn lead(now: Now) -> i128 {
    i128::from(now.wall.nanos()) - i128::from(now.mono.nanos())
}

impl Vigil {
    /// A request left, or did not.
    pub(crate) fn sent(&mut self, now: Now, sent: &Sent) {
        if sent.outcome == SentOutcome::Wire {
            if self.flights.len() == FLYING {
                self.flights.pop_front();
            }
            self.flights.push_back(Flight { client: sent.client, sent: sent.at, lead: lead(now) });
        }
    }

    /// It was answered.
    pub(crate) fn answered(&mut self, now: Now, ack: &Ack) {
        let Some(at) = self.flights.iter().position(|flight| flight.client == ack.client) else { return };
        let Some(flight) = self.flights.remove(at) else { return };
        let stepped = (lead(now) - flight.lead).unsigned_abs() > u128::from(MILLI);
        if ack.ts.nanos() == 0 || stepped || ack.recv < flight.sent {
            return;
        }
        let round_trip = ack.recv.since(flight.sent);
        let middle = i128::from(flight.sent.nanos()) + i128::from(round_trip / 2) + flight.lead;
        let off = (i128::from(ack.ts.nanos()) - middle).unsigned_abs();
        let proven = off.saturating_sub(u128::from(round_trip / 2 + MILLI));
        self.offset = Some((now.mono, u64::try_from(proven).unwrap_or(u64::MAX)));
    }

    /// The venue's public word came in.
    pub(crate) fn heard(&mut self, now: Now, origin: &Origin) {
        let received = i128::from(origin.recv.nanos()) + lead(now);
        let future = i128::from(origin.ts.nanos()) - received;
        // the usual answer: their word is from the past
        if future > i128::from(MILLI) {
            let proven = u64::try_from(future).unwrap_or(u64::MAX) - MILLI;
            let known = self.offset.filter(|(at, _)| now.mono.since(*at) < SECOND).map_or(0, |(_, proven)| proven);
            self.offset = Some((now.mono, proven.max(known)));
        }
    }

    /// A strategy asked for something, whatever became of it.
    pub(crate) fn asked(&mut self, now: Mono) {
        self.asked.add(now);
    }

    /// The venue refused something.
    pub(crate) fn rejected(&mut self, now: Mono) {
        self.rejects.add(now);
    }

    /// Milliseconds our clock is provably off; `None` when nobody asked for too long.
    #[must_use]
    pub fn clock(&self, now: Mono) -> Option<i64> {
        let (at, proven) = self.offset?;
        (now.since(at) <= OFFSET_AGE).then(|| i64::try_from(proven / MILLI).unwrap_or(i64::MAX))
    }

    /// Venue refusals of the last seconds.
    pub(crate) fn rejects(&mut self, now: Mono) -> i64 {
        self.rejects.advance(now);
        self.rejects.sum().into()
    }

    /// What strategies asked for in the last seconds, in basis points of what `rate` messages a second allow in them.
    pub(crate) fn runaway(&mut self, now: Mono, rate: u32) -> i64 {
        self.asked.advance(now);
        i64::from(self.asked.sum()) * 10_000 / (i64::from(rate.max(1)) * STORM as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::Wall;

    /// `wall` milliseconds on our clock at `mono`.
    fn at(mono: u64, wall: u64) -> Now {
        Now { mono: Mono::from_millis(mono), wall: Wall::from_millis(wall) }
    }

    fn round_trip(vigil: &mut Vigil, sent: Now, received: Now, venue: u64) -> Option<i64> {
        let client = ClientId::new(1, 1);
        vigil.sent(sent, &Sent { client, at: sent.mono, ..Sent::default() });
        let ack = Ack { client, recv: received.mono, ts: Wall::from_millis(venue), ..Ack::default() };
        vigil.answered(received, &ack);
        vigil.clock(received.mono)
    }

    #[test]
    fn only_the_proven_part_of_an_offset_counts() {
        let rows = [
            // sent, received, venue's clock: proven
            (at(1_000, 5_000), at(1_010, 5_010), 5_005, Some(0)),
            (at(1_000, 5_000), at(1_010, 5_010), 5_205, Some(194)),
            (at(1_000, 5_000), at(1_010, 5_010), 4_305, Some(694)),
            // a second under way: half of it proves nothing
            (at(1_000, 5_000), at(2_000, 6_000), 5_990, Some(0)),
            // our clock stepped in between: no sample
            (at(1_000, 5_000), at(1_010, 5_510), 5_005, None),
            (at(1_000, 5_000), at(1_010, 5_010), 0, None),
        ];
        for (sent, received, venue, proven) in rows {
            assert_eq!(round_trip(&mut Vigil::default(), sent, received, venue), proven, "{venue}");
        }
        let mut vigil = Vigil::default();
        round_trip(&mut vigil, at(1_000, 5_000), at(1_010, 5_010), 5_205);
        assert_eq!(vigil.clock(Mono::from_millis(62_000)), None, "an old sample says nothing");
    }

    #[test]
    fn a_stamp_from_our_future_proves_that_our_clock_is_behind() {
        let mut vigil = Vigil::default();
        let heard = |ts| Origin { recv: Mono::from_millis(1_000), ts: Wall::from_millis(ts), ..Origin::default() };
        vigil.heard(at(1_005, 5_005), &heard(4_700));
        assert_eq!(vigil.clock(Mono::from_millis(1_005)), None, "late news prove nothing");
        vigil.heard(at(1_005, 5_005), &heard(5_300));
        vigil.heard(at(1_006, 5_006), &heard(5_100));
        assert_eq!(vigil.clock(Mono::from_millis(1_006)), Some(299));
    }

    #[test]
    fn storms_pass_and_work_is_judged_when_there_is_enough_of_it() {
        let mut vigil = Vigil::default();
        (0..40).for_each(|_| vigil.asked(Mono::from_millis(500)));
        (0..7).for_each(|_| vigil.rejected(Mono::from_millis(500)));
        let now = Mono::from_millis(9_000);
        assert_eq!((vigil.runaway(now, 2), vigil.rejects(now)), (20_000, 7));
        let now = Mono::from_millis(10_000);
        assert_eq!((vigil.runaway(now, 2), vigil.rejects(now)), (0, 0));
        let mut work = Work::default();
        let minute = |m: u64| Mono::from_nanos(m * 60 * SECOND);
        (0..499).for_each(|_| work.message(minute(0)));
        assert_eq!(work.ratio(), 0, "too few to say");
        work.message(minute(1));
        assert_eq!(work.ratio(), 500);
        (0..9).for_each(|_| work.fill(minute(2)));
        assert_eq!(work.ratio(), 56);
        assert_eq!(work.ratio_at(minute(60)), 0, "an hour later one message is left");
    }
}

//! How far our wall clock is from the venue's.
//!
//! In: when a question left, when its answer came, what the venue's clock said. Out: the offset and the error it may
//! have. Never: a clock of its own, an offset from a slow round trip while a quicker one is young enough.
//!
//! ```text
//!   ours    sent ------------------------ received      offset = venue - (sent + received) / 2
//!   venue            venue clock read                   error <= (received - sent) / 2
//! ```
//!
//! Of the last [`SAMPLES`] round trips the quickest counts (Cristian 1989). Offsets are venue minus ours.

use crate::decode::DecodeError;
use crate::json::{Json, must};
use keel_core::units::{Now, Wall};

/// Round trips kept; one an interval of the caller's choosing.
pub const SAMPLES: usize = 16;
/// Slower round trips say nothing and are refused.
pub const MAX_ROUND_TRIP: u64 = 2_000_000_000;
/// The venue refuses requests whose time is so far ahead of its clock, whatever the receive window.
pub const VENUE_EDGE: i64 = 1_000_000_000;

/// One round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    offset: i64,
    round_trip: u64,
}

/// What is known about the venue's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Nanoseconds the venue's clock is ahead of ours.
    pub offset: i64,
    /// It is right within so many nanoseconds.
    pub error: u64,
}

impl Estimate {
    /// Would the venue refuse our requests for being from its future, at worst?
    #[must_use]
    pub const fn beyond_edge(&self) -> bool {
        -self.offset >= VENUE_EDGE - self.error.cast_signed()
    }
}

/// The estimator.
#[derive(Clone, Debug, Default)]
pub struct Offset {
    samples: [Option<Sample>; SAMPLES],
    at: usize,
}

impl Offset {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { samples: [None; SAMPLES], at: 0 }
    }

    /// Takes a round trip. `false` when it says nothing: too slow, or our clock went backwards.
    pub fn sample(&mut self, sent: Now, received: Now, venue: Wall) -> bool {
        let round_trip = received.mono.since(sent.mono);
        let wall = received.wall.since(sent.wall);
        // A wall clock that was stepped in between would be taken for an offset.
        let stepped = wall.abs_diff(round_trip) > MAX_ROUND_TRIP / 1000 + round_trip / 8;
        if received.mono < sent.mono || round_trip > MAX_ROUND_TRIP || stepped {
            return false;
        }
        let middle = sent.wall.after(round_trip / 2);
        let offset = i128::from(venue.nanos()) - i128::from(middle.nanos());
        let Ok(offset) = i64::try_from(offset) else { return false };
        self.samples[self.at] = Some(Sample { offset, round_trip });
        self.at = (self.at + 1) % SAMPLES;
        true
    }

    /// From the quickest round trip; `None` before the first.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        let best = self.samples.iter().flatten().min_by_key(|sample| sample.round_trip)?;
        Some(Estimate { offset: best.offset, error: best.round_trip.div_ceil(2) })
    }
}

/// The venue's clock in the answer of `GET /v5/market/time`.
pub fn parse(body: &[u8]) -> Result<Wall, DecodeError> {
    if body.is_empty() || body.len() > 4096 {
        return Err(DecodeError::Length);
    }
    let mut copy = body.to_vec();
    let tape = simd_json::to_tape(&mut copy).map_err(|_| DecodeError::NotJson)?;
    let [code, result] = Json::whole(&tape.0)?.fields(["retCode", "result"])?;
    if must(code)?.int()? != 0 {
        return Err(DecodeError::NotMessage);
    }
    let [nanos] = must(result)?.fields(["timeNano"])?;
    let text = core::str::from_utf8(must(nanos)?.text()?).map_err(|_| DecodeError::Number)?;
    text.parse().map(Wall::from_nanos).map_err(|_| DecodeError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::Mono;

    const MS: u64 = 1_000_000;

    fn at(mono: u64, wall: u64) -> Now {
        Now { mono: Mono::from_nanos(mono * MS), wall: Wall::from_nanos((1_000_000 + wall) * MS) }
    }

    fn venue(wall: u64) -> Wall {
        Wall::from_nanos((1_000_000 + wall) * MS)
    }

    #[test]
    fn the_quickest_round_trip_counts() {
        let mut offset = Offset::new();
        assert_eq!(offset.estimate(), None);
        assert!(offset.sample(at(0, 0), at(200, 200), venue(190)));
        assert_eq!(offset.estimate(), Some(Estimate { offset: 90 * 1_000_000, error: 100 * MS }));
        assert!(offset.sample(at(300, 300), at(310, 310), venue(345)));
        assert!(offset.sample(at(400, 400), at(500, 500), venue(1000)));
        assert_eq!(offset.estimate(), Some(Estimate { offset: 40 * 1_000_000, error: 5 * MS }));
    }

    #[test]
    fn an_old_quick_round_trip_is_forgotten() {
        let mut offset = Offset::new();
        offset.sample(at(0, 0), at(2, 2), venue(1));
        for _ in 0..SAMPLES {
            offset.sample(at(100, 100), at(150, 150), venue(25));
        }
        assert_eq!(offset.estimate(), Some(Estimate { offset: -100 * 1_000_000, error: 25 * MS }));
    }

    #[test]
    fn a_stepped_clock_or_a_slow_answer_says_nothing() {
        let mut offset = Offset::new();
        for (name, sent, received) in [
            ("slow", at(0, 0), at(2001, 2001)),
            ("stepped ahead", at(0, 0), at(10, 5000)),
            ("stepped back", at(0, 5000), at(10, 0)),
            ("answered before asked", at(10, 10), at(5, 5)),
        ] {
            assert!(!offset.sample(sent, received, venue(5)), "{name}");
        }
        assert_eq!(offset.estimate(), None);
    }

    #[test]
    fn a_clock_a_second_ahead_is_beyond_the_venues_edge() {
        let ahead = |millis: i64, error| Estimate { offset: -millis * 1_000_000, error: error * MS };
        assert!(!ahead(900, 5).beyond_edge() && ahead(996, 5).beyond_edge());
        assert!(!ahead(-5000, 5).beyond_edge(), "behind is the receive window's business");
    }

    #[test]
    fn the_venues_answer_is_read_or_refused() {
        let body = br#"{"retCode":0,"retMsg":"OK","result":{"timeSecond":"1900000000","timeNano":"1900000000123456789"},"retExtInfo":{},"time":1900000000123}"#;
        assert_eq!(parse(body), Ok(Wall::from_nanos(1_900_000_000_123_456_789)));
        assert_eq!(parse(b"<html>"), Err(DecodeError::NotJson));
        assert_eq!(parse(b"{\"retCode\":10016,\"result\":{}}"), Err(DecodeError::NotMessage));
        assert_eq!(parse(b"{\"retCode\":0,\"result\":{\"timeNano\":\"-1\"}}"), Err(DecodeError::Number));
    }
}

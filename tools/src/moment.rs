//! Points in time as people write them.
//!
//! `2026-11-22T17:21:19.5Z`, `2026-11-22 17:21`, `2026-11-22`, `17:21` (today), `today`, `yesterday`, `now`, `-5m`, `+1h`,
//! `@1795368079.5`. UTC unless another zone is asked for. Out: nanoseconds. Never: a float.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keel_core::units::Wall;

/// Text to a moment, in UTC. `now` is what relative text is relative to.
pub fn parse(text: &str, now: Wall) -> Option<Wall> {
    parse_in(text, now, &TimeZone::UTC)
}

/// The zone of this machine.
#[must_use]
pub fn here() -> TimeZone {
    TimeZone::system()
}

/// The same, dates and times without an offset being those of a zone.
pub fn parse_in(text: &str, now: Wall, zone: &TimeZone) -> Option<Wall> {
    let text = text.trim();
    let now = stamp(now)?;
    let today = now.to_zoned(zone.clone()).date();
    let midnight = |date: Date| date.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let at = match text {
        "now" => Some(now),
        "today" => midnight(today),
        "yesterday" => midnight(today.yesterday().ok()?),
        _ => match text.as_bytes().first()? {
            b'@' => unix(&text[1..]),
            b'-' | b'+' => now.checked_add(relative(text)?).ok(),
            _ if text.ends_with('Z') || text.contains('+') => text.parse().ok(),
            _ => {
                let time =
                    text.parse::<Time>().ok().filter(|_| !text.contains('-')).map(|time| today.to_datetime(time));
                let date = || text.parse::<DateTime>().ok();
                time.or_else(date)?.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
            }
        },
    };
    u64::try_from(at?.as_nanosecond()).ok().map(Wall::from_nanos)
}

/// A moment as RFC 3339 in UTC, all nine decimals.
#[must_use]
pub fn utc(wall: Wall) -> String {
    stamp(wall).map_or_else(|| wall.nanos().to_string(), |stamp| format!("{stamp:.9}"))
}

/// A moment as RFC 3339 with the offset of a zone, all nine decimals.
#[must_use]
pub fn local(wall: Wall, zone: &TimeZone) -> String {
    let zoned = stamp(wall).map(|stamp| stamp.to_zoned(zone.clone()));
    zoned.map_or_else(|| wall.nanos().to_string(), |zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string())
}

/// A moment as RFC 3339 in UTC, the second rounded up.
#[must_use]
pub fn seconds(wall: Wall) -> Option<String> {
    let nanos = wall.nanos().checked_next_multiple_of(1_000_000_000)?;
    stamp(Wall::from_nanos(nanos)).map(|stamp| format!("{stamp:.0}"))
}

fn stamp(wall: Wall) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from(wall.nanos())).ok()
}

/// Seconds since 1970, with decimals.
fn unix(text: &str) -> Option<Timestamp> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i128 = format!("{part:0<9}").parse().ok()?;
    Timestamp::from_nanosecond(i128::from(whole.parse::<u32>().ok()?) * 1_000_000_000 + nanos).ok()
}

/// `-5m`, `+90s`, `-2h`, `-1d`, `-1w`, `-250ms`.
fn relative(text: &str) -> Option<SignedDuration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (count, unit) = text.split_at(split);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    };
    count.parse::<i64>().ok()?.checked_mul(millis).map(SignedDuration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let now = Wall::from_nanos(1_795_368_079_123_456_789); // 2026-11-22T17:21:19
        let rows = [
            ("now", "2026-11-22T17:21:19.123456789Z"),
            ("today", "2026-11-22T00:00:00.000000000Z"),
            ("yesterday", "2026-11-21T00:00:00.000000000Z"),
            ("-5m", "2026-11-22T17:16:19.123456789Z"),
            ("-250ms", "2026-11-22T17:21:18.873456789Z"),
            ("+1h", "2026-11-22T18:21:19.123456789Z"),
            ("@0", "1970-01-01T00:00:00.000000000Z"),
            ("@1795368079.5", "2026-11-22T17:21:19.500000000Z"),
            ("17:00", "2026-11-22T17:00:00.000000000Z"),
            ("17:00:01.25", "2026-11-22T17:00:01.250000000Z"),
            ("2026-11-22", "2026-11-22T00:00:00.000000000Z"),
            ("2026-11-22 17:21", "2026-11-22T17:21:00.000000000Z"),
            ("2026-11-22T17:21:19.000000001", "2026-11-22T17:21:19.000000001Z"),
            ("2026-11-22T17:21:19Z", "2026-11-22T17:21:19.000000000Z"),
            ("2026-11-22T17:21:19+01:00", "2026-11-22T16:21:19.000000000Z"),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text, now).map(utc).as_deref(), Some(expected), "{text}");
        }
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(parse_in("17:00", now, &east).map(utc).as_deref(), Some("2026-11-22T15:00:00.000000000Z"));
        assert_eq!(parse_in("17:00Z", now, &east), None, "a time of day has no zone of its own");
        assert_eq!(local(now, &east), "2026-11-22T19:21:19.123456789+02:00");
        for text in
            ["", "-", "@", "@x", "@-1", "@1.1234567890", "5m", "-5", "-5y", "-9999999999999999w", "noon", "25:00"]
        {
            assert_eq!(parse(text, now), None, "{text:?}");
        }
    }
}

//! Memory with a bound: what came lately, and what is known by a key. When full the oldest goes, and is counted.

use keel_core::ids::Seq;
use keel_core::units::Wall;
use std::collections::{BTreeMap, VecDeque};

/// Nanoseconds of a second.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// Of a minute.
pub(crate) const MINUTE: u64 = 60 * SECOND;
/// Of an hour.
pub(crate) const HOUR: u64 = 60 * MINUTE;
/// Of a day.
pub(crate) const DAY: u64 = 24 * HOUR;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past<T> {
    /// When.
    pub(crate) at: Wall,
    /// Its record.
    pub(crate) seq: Seq,
    /// What.
    pub(crate) what: T,
}

/// What happened lately, by event time.
#[derive(Clone, Debug)]
pub(crate) struct Recent<T> {
    rows: VecDeque<Past<T>>,
    room: usize,
    dropped: u64,
}

impl<T> Recent<T> {
    /// Room for `room` of them.
    pub(crate) fn new(room: usize) -> Self {
        Self { rows: VecDeque::new(), room, dropped: 0 }
    }

    /// Takes one in at its place in time; a late one may stand before others.
    pub(crate) fn push(&mut self, at: Wall, seq: Seq, what: T) {
        if self.rows.len() == self.room {
            self.rows.pop_front();
            self.dropped += 1;
        }
        let place = self.rows.partition_point(|row| row.at <= at);
        self.rows.insert(place, Past { at, seq, what });
    }

    /// Forgets what happened more than `window` before the newest.
    pub(crate) fn trim(&mut self, window: u64) {
        let Some(newest) = self.rows.back().map(|row| row.at) else { return };
        while self.rows.front().is_some_and(|row| newest.since(row.at) > window) {
            self.rows.pop_front();
        }
    }

    /// What happened at most `window` before `end`, and not after it, oldest first.
    pub(crate) fn within(&self, end: Wall, window: u64) -> impl DoubleEndedIterator<Item = &Past<T>> + Clone {
        self.rows.iter().filter(move |row| row.at <= end && end.since(row.at) <= window)
    }

    /// The same up to the newest.
    pub(crate) fn lately(&self, window: u64) -> impl DoubleEndedIterator<Item = &Past<T>> + Clone {
        let end = self.rows.back().map_or(Wall::default(), |row| row.at);
        self.within(end, window)
    }

    /// All of it.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Past<T>> {
        self.rows.iter()
    }

    /// Forgets all of it.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// The newest.
    pub(crate) fn last_mut(&mut self) -> Option<&mut Past<T>> {
        self.rows.back_mut()
    }

    /// Keeps what `keep` says.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Past<T>) -> bool) {
        self.rows.retain(keep);
    }

    /// The same, and may change what it keeps.
    pub(crate) fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.rows.retain_mut(|row| keep(&mut row.what));
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many went for want of room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// What is known by a key. When full, what was used longest ago goes.
#[derive(Clone, Debug)]
pub(crate) struct Keyed<K, V> {
    rows: BTreeMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    clock: u64,
    room: usize,
    dropped: u64,
}

impl<K: Ord + Clone, V> Keyed<K, V> {
    /// Room for `room` keys.
    pub(crate) fn new(room: usize) -> Self {
        Self { rows: BTreeMap::new(), order: BTreeMap::new(), clock: 0, room, dropped: 0 }
    }

    /// The value of a key, made when there is none.
    pub(crate) fn of(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        if let Some((used, _)) = self.rows.get_mut(key) {
            self.order.remove(&std::mem::replace(used, self.clock));
        } else {
            if self.rows.len() == self.room
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.rows.remove(&oldest);
                self.dropped += 1;
            }
            self.rows.insert(key.clone(), (self.clock, make()));
        }
        self.order.insert(self.clock, key.clone());
        &mut self.rows.get_mut(key).expect("it was just put there").1
    }

    /// The value of a key, if there is one.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|(_, value)| value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.values().map(|(_, value)| value)
    }

    /// How many went for want of room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// `part` of `whole`, permille; nothing of nothing is nothing, something of nothing is everything there is.
pub(crate) fn permille(part: i64, whole: i64) -> i64 {
    match whole {
        0 if part == 0 => 0,
        0 => i64::MAX,
        _ => i64::try_from(i128::from(part) * 1000 / i128::from(whole)).unwrap_or(i64::MAX),
    }
}

/// Is `part` at least `share` permille of `whole`?
pub(crate) fn reaches(part: i64, share: i64, whole: i64) -> bool {
    i128::from(part) * 1000 >= i128::from(share) * i128::from(whole)
}

/// The middle one; the lower of two. Zero of none.
pub(crate) fn median(mut all: Vec<i64>) -> i64 {
    if all.is_empty() {
        return 0;
    }
    let middle = (all.len() - 1) / 2;
    *all.select_nth_unstable(middle).1
}

/// A count as a measure.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `units` of `unit` nanoseconds; parameters are never negative.
pub(crate) fn span(units: i64, unit: u64) -> u64 {
    units.unsigned_abs().saturating_mul(unit)
}

/// Whole dollars in steps of 1e-8.
pub(crate) fn dollars(whole: i64) -> i64 {
    whole.saturating_mul(keel_core::units::SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let mut recent = Recent::new(3);
        for at in [5, 1, 9, 7, 8] {
            recent.push(Wall::from_nanos(at), Seq(at), at);
        }
        assert_eq!(recent.iter().map(|row| row.what).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!((recent.dropped(), recent.lately(1).count()), (2, 2));
        let mut keyed = Keyed::new(2);
        for key in [1, 2, 1, 3] {
            *keyed.of(&key, || 0) += 1;
        }
        assert_eq!((keyed.get(&1), keyed.get(&2), keyed.get(&3)), (Some(&2), None, Some(&1)));
        assert_eq!((keyed.dropped(), keyed.rows.len(), keyed.order.len()), (1, 2, 2));
    }

    #[test]
    fn the_middle_of_few() {
        for (all, middle) in [(vec![], 0), (vec![3], 3), (vec![9, 1], 1), (vec![5, 1, 3], 3)] {
            assert_eq!(median(all), middle);
        }
    }
}

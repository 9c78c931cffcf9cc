//! One instrument's position and what it earned, from our own fills.
//!
//! In: fills counted once. Out: signed size, entry price, realised profit, fees, funding. The entry is kept as exact
//! cost, not as an average, so that nothing is lost to rounding between fills.
//!
//! ```text
//!   long 2 @ 100, buy 1 @ 106   -> size 3, cost 306, average 102
//!   long 3 @ 102, sell 1 @ 110  -> size 2, cost 204, realised +8
//!   long 2 @ 102, sell 5 @ 90   -> size -3, cost -270 (short 3 @ 90), realised -24
//! ```
//!
//! The venue keeps the same account. [`Position::judge`] holds ours against its picture: sizes must be equal, and so
//! must the profit of the position's life, to the last unit. A picture and a fill with the same cross sequence belong
//! together; a picture older than our last fill says nothing, and one that is newer is given [`PATIENCE`] for the fill
//! to arrive.

use crate::event::{Difference, DifferenceKind, ExecKind, Fill, Resolution, VenuePosition};
use crate::units::{Mono, Notional, Px, Qty};

/// Partial closings of one position whose roundings are no difference in its cost, in units of 1e-8 USDT.
const ROUNDINGS: i64 = 64;
/// A picture of the venue that is not ours is believed after this long without the fill that would explain it.
pub const PATIENCE: u64 = 3_000_000_000;

/// A position. `cost` has the sign of `size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Signed size: long is positive.
    pub size: Qty,
    /// What the open size cost, signed.
    pub cost: Notional,
    /// Profit or loss of closed quantity, without fees.
    pub realised: Notional,
    /// Fees paid; negative when rebates outweigh them.
    pub fees: Notional,
    /// Funding paid; negative when received.
    pub funding: Notional,
    /// Profit or loss since the position was last flat, after fees and funding; `None` when not all of it was seen.
    pub life: Option<Notional>,
    /// Cross sequence of the last fill.
    pub seq: u64,
    /// Cross sequence of the venue's picture this account started from: fills up to it are in it.
    pub base: u64,
}

/// What holding a position against the venue's picture showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Same,
    /// Not equal, and the fill that would explain it may still be on its way.
    Wait,
    /// Not equal: the venue's size is the truth.
    Size,
    /// Sizes agree, profits do not.
    Profit,
    /// Sizes agree, average entry prices do not.
    Entry,
}

impl Position {
    /// Takes in one fill that was not counted before. `None` when a sum does not fit: nothing was changed.
    #[must_use]
    pub fn after(mut self, fill: &Fill) -> Option<Self> {
        if fill.seq != 0 && fill.seq <= self.base {
            return Some(self);
        }
        let late = fill.seq < self.seq;
        self.seq = self.seq.max(fill.seq);
        let (size, realised) = (self.size, self.realised);
        let mut next = self.moved(fill)?;
        if late {
            // it belongs before what is counted already: where lives began and ended is not known any more
            next.life = None;
            return Some(next);
        }
        next.life = life_after(self.life, size, &next, fill, next.realised.raw().checked_sub(realised.raw())?);
        Some(next)
    }

    fn moved(mut self, fill: &Fill) -> Option<Self> {
        if fill.kind == ExecKind::Funding {
            self.funding = add(self.funding, fill.fee)?;
            return Some(self);
        }
        self.fees = add(self.fees, fill.fee)?;
        let signed = fill.side.signed(fill.qty);
        let closing = closing_part(self.size, signed);
        let opening = signed - closing;
        if !closing.is_zero() {
            let cost_closed = share(self.cost, closing, self.size)?;
            let value_closed = fill.px.mul_floor(closing)?;
            // cost_closed is negative of the removed cost: closing has the opposite sign of the size
            self.realised = add(self.realised, Notional::from_raw(cost_closed.raw().checked_sub(value_closed.raw())?))?;
            self.cost = add(self.cost, cost_closed)?;
        }
        if !opening.is_zero() {
            self.cost = add(self.cost, fill.px.mul_ceil(opening)?)?;
        }
        self.size = Qty::from_raw(self.size.raw().checked_add(signed.raw())?);
        Some(self)
    }

    /// Holds this account against the venue's picture of it.
    #[must_use]
    pub fn judge(&self, venue: &VenuePosition, now: Mono) -> Verdict {
        if venue.seq < self.seq {
            return Verdict::Same;
        }
        let verdict = match self.life {
            _ if venue.size != self.size => Verdict::Size,
            _ if venue.seq != self.seq || self.size.is_zero() => return Verdict::Same,
            Some(life) if life != venue.realised => Verdict::Profit,
            _ if !self.costs(venue) => Verdict::Entry,
            _ => return Verdict::Same,
        };
        if now.since(venue.recv) < PATIENCE { Verdict::Wait } else { verdict }
    }

    /// Is our cost what the venue's average price makes of our size? That price is rounded to 1e-8, which moves the cost
    /// by as many units as there are coins; and each of our partial closings may have rounded by one.
    fn costs(&self, venue: &VenuePosition) -> bool {
        let coins = self.size.abs().raw() / crate::units::SCALE;
        let theirs = venue.entry.mul_floor(self.size);
        venue.entry.is_zero() || theirs.is_some_and(|cost| (cost.raw() - self.cost.raw()).abs() <= coins + ROUNDINGS)
    }

    /// The venue's picture as ours, and what was different. Profits earned so far are kept.
    #[must_use]
    pub fn taken_from(mut self, venue: &VenuePosition, verdict: Verdict, now: Mono) -> (Self, Difference) {
        let (kind, resolution, ours, theirs) = match verdict {
            Verdict::Profit => {
                let ours = self.life.unwrap_or_default().raw();
                (DifferenceKind::Profit, Resolution::Alarmed, ours, venue.realised.raw())
            }
            Verdict::Entry => {
                let ours = self.entry().unwrap_or_default().raw();
                (DifferenceKind::Entry, Resolution::TakenFromVenue, ours, venue.entry.raw())
            }
            Verdict::Size | Verdict::Same | Verdict::Wait => {
                (DifferenceKind::Position, Resolution::TakenFromVenue, self.size.raw(), venue.size.raw())
            }
        };
        if resolution == Resolution::TakenFromVenue {
            let cost = venue.entry.mul_ceil(venue.size).unwrap_or_default();
            (self.size, self.cost, self.base, self.seq) = (venue.size, cost, venue.seq, venue.seq);
        }
        if verdict != Verdict::Entry {
            self.life = Some(venue.realised);
        }
        let at = Difference { at: now, instrument: venue.instrument, ..Difference::default() };
        (self, Difference { ours, theirs, kind, resolution, ..at })
    }

    /// Average entry price; `None` when flat.
    #[must_use]
    pub fn entry(&self) -> Option<Px> {
        self.size.average(self.cost)
    }

    /// Profit or loss of the open size at `mark`, rounded down.
    #[must_use]
    pub fn unrealised(&self, mark: Px) -> Option<Notional> {
        Some(Notional::from_raw(mark.mul_floor(self.size)?.raw().checked_sub(self.cost.raw())?))
    }

    /// Realised and unrealised, after fees and funding.
    #[must_use]
    pub fn net(&self, mark: Px) -> Option<Notional> {
        let gross = add(self.realised, self.unrealised(mark)?)?;
        add(gross, Notional::from_raw(-(add(self.fees, self.funding)?.raw())))
    }
}

/// Profit of the position's life after `fill`, which realised `gain` by our account. The venue's own figure counts
/// where it gives one. A fill that turns the position begins a life whose fees cannot be told apart.
fn life_after(life: Option<Notional>, before: Qty, after: &Position, fill: &Fill, gain: i64) -> Option<Notional> {
    let turned = before.raw().signum() * after.size.raw().signum() < 0;
    let life = if before.is_zero() { Notional::ZERO } else { life? };
    if turned {
        return None;
    }
    life.raw().checked_add(fill.gain(gain))?.checked_sub(fill.fee.raw()).map(Notional::from_raw)
}

fn add(a: Notional, b: Notional) -> Option<Notional> {
    a.raw().checked_add(b.raw()).map(Notional::from_raw)
}

/// The part of `signed` that shrinks a position of `size`.
fn closing_part(size: Qty, signed: Qty) -> Qty {
    if size.raw().signum() * signed.raw().signum() >= 0 {
        return Qty::ZERO;
    }
    if signed.abs() > size.abs() { -size } else { signed }
}

/// `cost * part / whole`, rounded toward minus infinity; exact when `part` is all of it.
fn share(cost: Notional, part: Qty, whole: Qty) -> Option<Notional> {
    let wide = i128::from(cost.raw()) * i128::from(part.raw());
    i64::try_from(wide.div_euclid(i128::from(whole.raw()))).ok().map(Notional::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Side;
    use proptest::prelude::*;

    fn fill(side: Side, qty: &str, px: &str) -> Fill {
        let (qty, px) = (Qty::parse(qty.as_bytes()).unwrap(), Px::parse(px.as_bytes()).unwrap());
        Fill { side, qty, px, kind: ExecKind::Trade, ..Fill::default() }
    }

    fn check(fills: &[(Side, &str, &str)], size: &str, entry: Option<&str>, realised: &str) {
        let mut position = Position::default();
        for (side, qty, px) in fills {
            position = position.after(&fill(*side, qty, px)).unwrap();
        }
        assert_eq!(position.size, Qty::parse(size.as_bytes()).unwrap());
        assert_eq!(position.entry(), entry.map(|e| Px::parse(e.as_bytes()).unwrap()));
        assert_eq!(position.realised, Notional::parse(realised.as_bytes()).unwrap());
    }

    #[test]
    fn average_closes_and_flips() {
        use Side::{Buy, Sell};
        check(&[(Buy, "2", "100"), (Buy, "1", "106")], "3", Some("102"), "0");
        check(&[(Buy, "2", "100"), (Buy, "1", "106"), (Sell, "1", "110")], "2", Some("102"), "8");
        check(&[(Buy, "2", "102"), (Sell, "5", "90")], "-3", Some("90"), "-24");
        check(&[(Sell, "2", "50"), (Buy, "2", "40")], "0", None, "20");
        check(&[(Sell, "2", "50"), (Buy, "3", "60")], "1", Some("60"), "-20");
    }

    #[test]
    fn funding_is_not_a_trade() {
        let funding = Fill { kind: ExecKind::Funding, fee: Notional::whole(3), qty: Qty::whole(1), ..Fill::default() };
        let position = Position::default().after(&funding).unwrap();
        assert_eq!((position.size, position.funding, position.fees), (Qty::ZERO, Notional::whole(3), Notional::ZERO));
    }

    fn picture(size: i64, seq: u64, realised: &str) -> VenuePosition {
        let (size, realised) = (Qty::whole(size), Notional::parse(realised.as_bytes()).unwrap());
        VenuePosition {
            size,
            seq,
            realised,
            entry: Px::whole(100),
            recv: Mono::from_nanos(7),
            ..VenuePosition::default()
        }
    }

    /// The fees and profits of a recorded testnet position: five buys, the venue's `curRealisedPnl` after each.
    #[test]
    fn the_life_of_a_position_equals_the_venues_to_the_last_unit() {
        let rows = [("95490.1", "0.01336861"), ("95495.1", "0.01336932"), ("95495.1", "0.01336931")];
        let mut position = Position::default();
        for (seq, (px, fee)) in (1..).zip(rows) {
            let fee = Notional::parse(fee.as_bytes()).unwrap();
            position = position.after(&Fill { fee, seq, ..fill(Side::Buy, "0.001", px) }).unwrap();
        }
        let mut venue =
            VenuePosition { size: position.size, seq: 3, recv: Mono::default(), ..VenuePosition::default() };
        venue.realised = Notional::parse(b"-0.04010724").unwrap();
        let late = Mono::from_nanos(PATIENCE);
        assert_eq!(position.judge(&venue, late), Verdict::Same);
        venue.realised = Notional::parse(b"-0.04010725").unwrap();
        assert_eq!(position.judge(&venue, late), Verdict::Profit);
        assert_eq!(position.taken_from(&venue, Verdict::Profit, late).1.resolution, Resolution::Alarmed);
        assert_eq!(position.entry(), Some(Px::parse(b"95493.43333333").unwrap()));
    }

    #[test]
    fn a_size_that_is_not_the_venues_is_given_time_and_then_taken_from_it() {
        let position = Position::default().after(&Fill { seq: 10, ..fill(Side::Buy, "2", "100") }).unwrap();
        let (soon, late) = (Mono::from_nanos(8), Mono::from_nanos(7 + PATIENCE));
        assert_eq!(position.judge(&picture(5, 9, "0"), late), Verdict::Same, "older than our last fill");
        assert_eq!(position.judge(&picture(5, 11, "0"), soon), Verdict::Wait);
        assert_eq!(position.judge(&picture(5, 11, "0"), late), Verdict::Size);
        let (taken, difference) = position.taken_from(&picture(5, 11, "0"), Verdict::Size, late);
        assert_eq!((taken.size, taken.entry()), (Qty::whole(5), Some(Px::whole(100))));
        assert_eq!((difference.ours, difference.theirs), (Qty::whole(2).raw(), Qty::whole(5).raw()));
        let again = taken.after(&Fill { seq: 11, ..fill(Side::Buy, "3", "100") }).unwrap();
        assert_eq!(again.size, Qty::whole(5), "a fill that is in the picture does not count twice");
        assert_eq!(again.after(&Fill { seq: 12, ..fill(Side::Sell, "5", "100") }).unwrap().size, Qty::ZERO);
    }

    proptest! {
        #[test]
        fn profit_is_what_cash_and_mark_say(trades in prop::collection::vec((any::<bool>(), 1i64..1000, 1i64..100_000), 1..60)) {
            let (mut position, mut cash, mut size) = (Position::default(), 0i128, 0i128);
            for (buy, qty, px) in &trades {
                let side = if *buy { Side::Buy } else { Side::Sell };
                let fill = Fill { side, qty: Qty::from_raw(qty * 100_000), px: Px::from_raw(px * 1_000_000), kind: ExecKind::Trade, ..Fill::default() };
                position = position.after(&fill).unwrap();
                let signed = i128::from(side.signed(fill.qty).raw());
                cash -= signed * i128::from(fill.px.raw());
                size += signed;
            }
            let mark = Px::from_raw(50_000_000_000);
            let truth = (cash + size * i128::from(mark.raw())) / i128::from(crate::units::SCALE);
            let ours = i128::from(position.net(mark).unwrap().raw());
            prop_assert!((ours - truth).abs() <= 2 * trades.len() as i128, "{} {}", ours, truth);
        }
    }
}

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

use crate::event::{ExecKind, Fill};
use crate::units::{Notional, Px, Qty};

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
}

impl Position {
    /// Takes in one fill that was not counted before. `None` when a sum does not fit: nothing was changed.
    #[must_use]
    pub fn after(mut self, fill: &Fill) -> Option<Self> {
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

//! What the book says about the next price.

use crate::book::Touch;
use crate::units::Px;

/// The micro-price: bid and ask weighted by the quantity on the other side, `(b*Qa + a*Qb) / (Qa + Qb)` (Stoikov, 2018,
/// first approximation). Lies between bid and ask, nearer to the side that is thin. Rounded down; `None` when the touch
/// holds no quantity.
#[must_use]
pub fn micro_price(touch: &Touch) -> Option<Px> {
    let (bid, ask) = (touch.bid, touch.ask);
    let weight = i128::from(bid.qty.raw()) + i128::from(ask.qty.raw());
    if weight <= 0 {
        return None;
    }
    let sum =
        i128::from(bid.px.raw()) * i128::from(ask.qty.raw()) + i128::from(ask.px.raw()) * i128::from(bid.qty.raw());
    i64::try_from(sum.div_euclid(weight)).ok().map(Px::from_raw)
}

/// Where the quantity at the touch leans, from -1000 (all of it asks) to 1000 (all of it bids).
#[must_use]
pub fn lean_permille(touch: &Touch) -> i64 {
    let (bid, ask) = (i128::from(touch.bid.qty.raw()), i128::from(touch.ask.qty.raw()));
    if bid + ask <= 0 {
        return 0;
    }
    i64::try_from((bid - ask) * 1000 / (bid + ask)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Level;
    use crate::units::Qty;

    #[test]
    fn leans_to_the_thin_side() {
        let level = |px, qty| Level { px: Px::whole(px), qty: Qty::whole(qty) };
        let rows = [((1, 1), "100.5", 0), ((3, 1), "100.75", 500), ((1, 3), "100.25", -500), ((1, 0), "101", 1000)];
        for ((bid, ask), micro, lean) in rows {
            let touch = Touch { bid: level(100, bid), ask: level(101, ask) };
            assert_eq!(micro_price(&touch), Some(Px::parse(micro.as_bytes()).unwrap()));
            assert_eq!(lean_permille(&touch), lean);
        }
        assert_eq!(micro_price(&Touch::default()), None);
    }
}

//! What the book says about the next price.

use crate::book::Touch;
use crate::units::Px;
use core::cmp::Ordering;

/// The micro-price: bid and ask weighted by the quantity on the other side, `(b*Qa + a*Qb) / (Qa + Qb)` (Stoikov, 2018,
/// first approximation). Lies between bid and ask, nearer to the side that is thin. Rounded down; `None` when the touch
/// holds no quantity.
#[must_use]
pub fn micro_price(touch: &Touch) -> Option<Px> {
    let (sum, weight) = weighed(touch)?;
    i64::try_from(sum.div_euclid(weight)).ok().map(Px::from_raw)
}

/// On which side of `px` the micro-price lies: `micro_price(touch)?.cmp(&px)`, and nothing is divided.
#[must_use]
pub fn micro_beside(touch: &Touch, px: Px) -> Option<Ordering> {
    let (sum, weight) = weighed(touch)?;
    let here = i128::from(px.raw()) * weight;
    Some(match sum {
        below if below < here => Ordering::Less,
        // rounded down, whatever is short of the next step is this one
        within if within < here + weight => Ordering::Equal,
        _ => Ordering::Greater,
    })
}

/// Prices times the quantity on the other side, and the quantities.
fn weighed(touch: &Touch) -> Option<(i128, i128)> {
    let (bid, ask) = (touch.bid, touch.ask);
    let [bids, asks] = [bid.qty, ask.qty].map(|qty| i128::from(qty.raw()));
    let weight = bids + asks;
    (weight > 0).then(|| (i128::from(bid.px.raw()) * asks + i128::from(ask.px.raw()) * bids, weight))
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn beside_a_price_it_lies_where_it_is(
            bid in 1i64..1_000_000_000_000, wide in 1i64..1_000_000_000, bids in 0i64..1_000_000, asks in 0i64..1_000_000,
            aside in -3i64..4,
        ) {
            let level = |px, qty| Level { px: Px::from_raw(px), qty: Qty::from_raw(qty) };
            let touch = Touch { bid: level(bid, bids), ask: level(bid + wide, asks) };
            let micro = micro_price(&touch);
            let near = micro.map_or(touch.mid(), |micro| Px::from_raw(micro.raw() + aside));
            for px in [near, touch.mid(), touch.bid.px, touch.ask.px] {
                prop_assert_eq!(micro_beside(&touch, px), micro.map(|micro| micro.cmp(&px)));
            }
        }
    }

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

//! hftbacktest's depth structures, which take prices and quantities as floats: parsed outside the clock, as its own data
//! files are. None of them checks a sequence, a grid or a depth limit, and a snapshot is a clear the caller asks for.
//!
//! - ROI vector: an array over a range of prices named beforehand; what is outside the range is dropped without a word.
//! - HashMap: any price; the best is searched tick by tick when it goes away.
//! - BTree: any price, sorted.

use crate::{Contestant, End, Levels, contestant};
use hftbacktest::depth::{BTreeMarketDepth, HashMapMarketDepth, L2MarketDepth, MarketDepth, ROIVectorMarketDepth};
use hftbacktest::types::Side;
use keel_core::units::SCALE;
use std::cell::RefCell;
use std::rc::Rc;

const LOT: f64 = 0.001;
/// The range of interest: this part of the first price to either side.
const RANGE: f64 = 0.02;

/// One message, ready to apply.
struct Ready {
    snapshot: bool,
    bids: Vec<(f64, f64)>,
    asks: Vec<(f64, f64)>,
}

fn ready(messages: &[Vec<u8>]) -> Vec<Ready> {
    let side = |value: &serde_json::Value| {
        let number = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse().ok()).expect("a number");
        value.as_array().expect("levels").iter().map(|level| (number(&level[0]), number(&level[1]))).collect()
    };
    messages
        .iter()
        .map(|message| {
            let json: serde_json::Value = serde_json::from_slice(message).expect("JSON");
            let (bids, asks) = (side(&json["data"]["b"]), side(&json["data"]["a"]));
            Ready { snapshot: json["type"] == "snapshot", bids, asks }
        })
        .collect()
}

fn raw(value: f64) -> i64 {
    (value * SCALE as f64).round() as i64
}

/// Every tick within the range of the touch is asked for.
fn levels<D: MarketDepth>(depth: &D) -> Levels {
    let (bid, ask) = (depth.best_bid_tick(), depth.best_ask_tick());
    let reach = (bid as f64 * RANGE / 2.0) as i64;
    let level = |tick: i64, qty: f64| (qty > 0.0).then_some((raw(tick as f64 * depth.tick_size()), raw(qty)));
    [
        (bid - reach..=bid).rev().filter_map(|tick| level(tick, depth.bid_qty_at_tick(tick))).collect(),
        (ask..=ask + reach).filter_map(|tick| level(tick, depth.ask_qty_at_tick(tick))).collect(),
    ]
}

fn round<D: MarketDepth + L2MarketDepth + 'static>(new: fn(f64, f64) -> D) -> impl FnMut(&[Vec<u8>]) -> End {
    let mut prepared: Vec<Ready> = Vec::new();
    // Made before the clock starts: the array over a whole range of prices is dear to make.
    let next: Rc<RefCell<Option<D>>> = Rc::default();
    move |messages| {
        if prepared.is_empty() {
            prepared = ready(messages);
        }
        let (tick, first) = (crate::ours::tick(messages).raw() as f64 / SCALE as f64, prepared[0].bids[0].0);
        let mut depth = next.take().unwrap_or_else(|| new(tick, first));
        for message in &prepared {
            if message.snapshot {
                depth.clear_depth(Side::None, 0.0);
            }
            for (px, qty) in &message.bids {
                std::hint::black_box(depth.update_bid_depth(*px, *qty, 0));
            }
            for (px, qty) in &message.asks {
                std::hint::black_box(depth.update_ask_depth(*px, *qty, 0));
            }
        }
        let next = Rc::clone(&next);
        End::Book(Box::new(move || {
            next.replace(Some(new(tick, first)));
            levels(&depth)
        }))
    }
}

pub fn all() -> Vec<Contestant> {
    vec![
        contestant(
            "hftbacktest ROI vector",
            "apply; floats, drops what is out of range, no checks",
            round(|tick, first| ROIVectorMarketDepth::new(tick, LOT, first * (1.0 - RANGE), first * (1.0 + RANGE))),
        ),
        contestant(
            "hftbacktest HashMap",
            "apply; floats, no checks",
            round(|tick, _| HashMapMarketDepth::new(tick, LOT)),
        ),
        contestant("hftbacktest BTree", "apply; floats, no checks", round(|tick, _| BTreeMarketDepth::new(tick, LOT))),
    ]
}

//! Rate limits: a rolling second per account and endpoint, and five seconds per address.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

/// What the rate headers say after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meter {
    pub(super) limit: u32,
    pub(super) left: u32,
    pub(super) reset_ms: u64,
    pub(super) refused: bool,
}

/// Recent calls.
#[derive(Debug, Default)]
pub(super) struct Limits {
    calls: BTreeMap<(usize, &'static str), VecDeque<u64>>,
    addresses: BTreeMap<(IpAddr, Door), VecDeque<u64>>,
}

/// What an address is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Door {
    Http,
    Trade,
    Connect,
}

/// Addresses remembered; beyond it the table starts anew.
const ADDRESSES: usize = 10_000;

fn expire(window: &mut VecDeque<u64>, now_ms: u64, span_ms: u64) {
    while window.front().is_some_and(|at| at + span_ms <= now_ms) {
        window.pop_front();
    }
}

impl Limits {
    /// Counts `weight` calls; refuses all of them when they do not fit.
    pub(super) fn take(
        &mut self,
        account: usize,
        endpoint: &'static str,
        limit: u32,
        now_ms: u64,
        weight: u32,
    ) -> Meter {
        let window = self.calls.entry((account, endpoint)).or_default();
        let span_ms = span(endpoint);
        expire(window, now_ms, span_ms);
        let used = u32::try_from(window.len()).unwrap_or(u32::MAX);
        let left = limit.saturating_sub(used);
        if weight > left {
            let reset_ms = window.front().map_or(now_ms, |at| at + span_ms);
            return Meter { limit, left: 0, reset_ms, refused: true };
        }
        for _ in 0..weight {
            window.push_back(now_ms);
        }
        Meter { limit, left: left - weight, reset_ms: now_ms, refused: false }
    }

    /// Counts a request of an address against a cap per `span_ms`; true while it fits.
    pub(super) fn address(&mut self, ip: IpAddr, door: Door, cap: u32, span_ms: u64, now_ms: u64) -> bool {
        if self.addresses.len() > ADDRESSES {
            self.addresses.clear();
        }
        let window = self.addresses.entry((ip, door)).or_default();
        expire(window, now_ms, span_ms);
        if window.len() >= cap as usize {
            return false;
        }
        window.push_back(now_ms);
        true
    }
}

/// Milliseconds an endpoint's calls are counted over.
const fn span(endpoint: &'static str) -> u64 {
    match endpoint.as_bytes() {
        b"asset/deposit/query-record"
        | b"asset/deposit/query-internal-record"
        | b"asset/withdraw/query-record"
        | b"asset/transfer/query-inter-transfer-list" => 60_000,
        _ => 1_000,
    }
}

/// Calls of an endpoint within its span, given the account's limit for orders.
pub(super) const fn base(endpoint: &'static str, orders: u32) -> u32 {
    match endpoint.as_bytes() {
        b"order/create" | b"order/amend" | b"order/cancel" | b"order/cancel-all" => orders,
        b"order/create-batch" | b"order/amend-batch" | b"order/cancel-batch" => orders,
        b"account/transaction-log" => 25,
        b"asset/deposit/query-record" | b"asset/deposit/query-internal-record" => 100,
        b"asset/withdraw/query-record" => 300,
        b"asset/transfer/query-inter-transfer-list" => 60,
        b"asset/transfer/query-universal-transfer-list" => 5,
        b"position/set-leverage" | b"position/switch-mode" | b"position/trading-stop" | b"user/query-api" => 10,
        b"account/fee-rate" | b"account/smp-group" | b"account/query-dcp-info" | b"order/disconnected-cancel-all" => 5,
        _ => 50,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_rolls_and_tells_what_is_left() {
        let mut limits = Limits::default();
        for left in (0..10).rev() {
            assert_eq!(limits.take(1, "order/create", 10, 5_000, 1).left, left);
        }
        let meter = limits.take(1, "order/create", 10, 5_500, 1);
        assert!(meter.refused && meter.reset_ms == 6_000);
        assert!(!limits.take(1, "order/cancel", 10, 5_500, 1).refused, "another endpoint");
        assert!(!limits.take(2, "order/create", 10, 5_500, 1).refused, "another account");
        assert!(!limits.take(1, "order/create", 10, 6_000, 10).refused, "the window rolled");
    }
}

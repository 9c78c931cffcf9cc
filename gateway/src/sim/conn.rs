//! One WebSocket connection as the exchange sees it.

use super::request::query;
use core::net::IpAddr;
use std::collections::{BTreeSet, VecDeque};

/// Which endpoint a socket was opened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `/v5/public/linear`.
    Public,
    /// `/v5/private`.
    Private,
    /// `/v5/trade`.
    Trade,
    /// `/v5/public/misc/status`.
    Status,
}

/// Characters all topics of one public connection may take together; one more refuses the frame.
pub(super) const MAX_ARGS: usize = 21_000;
/// Request ids remembered per trade connection to refuse duplicates; the oldest go first.
pub(super) const MAX_REQ_IDS: usize = 10_000;

/// A connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) channel: Channel,
    pub(super) ip: IpAddr,
    pub(super) name: String,
    /// Account and key, once authenticated.
    pub(super) account: Option<usize>,
    pub(super) key: usize,
    pub(super) topics: BTreeSet<String>,
    pub(super) heard: u64,
    pub(super) idle_ms: u64,
    req_ids: BTreeSet<String>,
    req_order: VecDeque<String>,
}

impl Conn {
    pub(super) fn new(channel: Channel, ip: IpAddr, name: String, raw_query: &str, idle_ms: u64, now_ms: u64) -> Self {
        Self {
            channel,
            ip,
            name,
            account: None,
            key: 0,
            topics: BTreeSet::new(),
            heard: now_ms,
            idle_ms: active_time(&query(raw_query, "max_active_time")).unwrap_or(idle_ms),
            req_ids: BTreeSet::new(),
            req_order: VecDeque::new(),
        }
    }

    /// Remembers a request id; false when it was seen before.
    pub(super) fn fresh(&mut self, req_id: &str) -> bool {
        if req_id.is_empty() {
            return true;
        }
        if !self.req_ids.insert(req_id.to_owned()) {
            return false;
        }
        self.req_order.push_back(req_id.to_owned());
        if self.req_order.len() > MAX_REQ_IDS
            && let Some(old) = self.req_order.pop_front()
        {
            self.req_ids.remove(&old);
        }
        true
    }
}

/// `30s`..`600s` or `1m`..`10m` in milliseconds.
fn active_time(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = digits.parse::<u64>().ok()?.checked_mul(match unit {
        "s" => 1,
        "m" => 60,
        _ => return None,
    })?;
    (30..=600).contains(&seconds).then_some(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_time_is_bounded() {
        for (text, expected) in
            [("30s", Some(30_000)), ("1m", Some(60_000)), ("29s", None), ("601s", None), ("s", None), ("", None)]
        {
            assert_eq!(active_time(text), expected, "{text:?}");
        }
    }
}

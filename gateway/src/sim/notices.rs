//! What the venue says about itself: `system.status`, `insurance.USDT`, `adlAlert.USDT`.
//!
//! In: maintenance that begins or ends, insurance pools that paid, time. Out: frames to whoever subscribed. Never: a
//! frame nobody asked for, a status before it changed (REST tells a newcomer how things stand).
//!
//! ```text
//!  maintenance -> Notice -> system.status (on change), system/status
//!  liquidation -> Pool   -> insurance.USDT (snapshot, then what changed, each second), adlAlert.USDT (all, each second)
//! ```

use super::Exchange;
use super::pool::{ADL_START, ADL_STOP, ADL_TRIGGER};
use super::text::{Obj, array};

pub(super) const STATUS: &str = "system.status";
pub(super) const INSURANCE: &str = "insurance.USDT";
pub(super) const ALERTS: &str = "adlAlert.USDT";
/// Milliseconds between pushes of insurance and deleveraging alerts.
const EVERY_MS: u64 = 1_000;

/// One announced maintenance; the last one stays on record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notice {
    number: u64,
    begin: u64,
    /// Zero while it lasts.
    end: u64,
}

impl Notice {
    pub(super) fn ongoing(self) -> bool {
        self.number > 0 && self.end == 0
    }
}

/// When the pools were last told, and what was told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    alerts: u64,
    insurance: u64,
}

impl Exchange {
    /// Maintenance begins or ends; the same word twice says nothing.
    pub(super) fn maintain(&mut self, on: bool) {
        if on == self.notice.ongoing() {
            return;
        }
        let now_ms = self.now_ms();
        if on {
            self.notice = Notice { number: self.notice.number + 1, begin: now_ms, end: 0 };
        } else {
            self.notice.end = now_ms;
        }
        let mut out = String::new();
        Obj::new(&mut out).s("topic", STATUS).u("ts", now_ms).with("data", |out| self.notices(out, "", "")).end();
        self.broadcast(STATUS, &out);
    }

    /// `system/status`, only the rows with this id and this state (empty: any).
    pub(super) fn system_status(&self, id: &str, state: &str) -> String {
        let mut out = String::new();
        Obj::new(&mut out).with("list", |out| self.notices(out, id, state)).end();
        out
    }

    fn notices(&self, out: &mut String, id: &str, state: &str) {
        let notice = self.notice;
        let name = self.engine.uuid(notice.number, 4);
        let is = if notice.ongoing() { "ongoing" } else { "completed" };
        let wanted = notice.number > 0 && (id.is_empty() || id == name) && (state.is_empty() || state == is);
        array(out, wanted.then_some(()), |out, ()| {
            Obj::new(out)
                .s("id", &name)
                .s("title", "Maintenance")
                .s("state", is)
                .us("begin", notice.begin)
                .us("end", notice.end)
                .s("href", "")
                .raw("serviceTypes", "[1,2,3,4]")
                .raw("product", "[1,2]")
                .raw("uidSuffix", "[0,1,2,3,4,5,6,7,8,9]")
                .n("maintainType", 1)
                .n("env", 1)
                .end();
        });
    }

    /// Milliseconds of the next push about the pools.
    pub(super) fn next_notice(&self) -> Option<u64> {
        let alerts = self.subscribers.contains_key(ALERTS).then_some(self.told.alerts + EVERY_MS);
        let changed = self.engine.pools.iter().any(|p| p.fresh);
        let insurance = (changed && self.subscribers.contains_key(INSURANCE)).then_some(self.told.insurance + EVERY_MS);
        alerts.into_iter().chain(insurance).min()
    }

    pub(super) fn publish_notices(&mut self, now_ms: u64) {
        if now_ms >= self.told.alerts + EVERY_MS && self.subscribers.contains_key(ALERTS) {
            self.told.alerts = now_ms;
            let frame = self.alerts_frame();
            self.broadcast(ALERTS, &frame);
        }
        let changed = self.engine.pools.iter().any(|p| p.fresh);
        if changed && now_ms >= self.told.insurance + EVERY_MS && self.subscribers.contains_key(INSURANCE) {
            self.told.insurance = now_ms;
            let frame = self.insurance_frame("delta");
            self.engine.pools.iter_mut().for_each(|p| p.fresh = false);
            self.broadcast(INSURANCE, &frame);
        }
    }

    /// What a new subscriber gets at once: every pool as it is.
    pub(super) fn first_notice(&mut self, conn: u64, topic: &str) {
        let frame = match topic {
            INSURANCE => self.insurance_frame("snapshot"),
            ALERTS => self.alerts_frame(),
            _ => return,
        };
        if self.subscribers.get(topic).is_some_and(|set| set.len() == 1) {
            // Nobody else waits: its second begins now, and it knows all there is to know.
            let now_ms = self.now_ms();
            if topic == ALERTS {
                self.told.alerts = now_ms;
            } else {
                self.told.insurance = now_ms;
                self.engine.pools.iter_mut().for_each(|p| p.fresh = false);
            }
        }
        self.send(conn, frame);
    }

    /// A snapshot of all pools, or a delta of those that paid since the last.
    fn insurance_frame(&self, kind: &str) -> String {
        let mut out = String::new();
        let pools = self.engine.specs.iter().zip(&self.engine.pools);
        let rows = pools.filter(|(_, pool)| kind == "snapshot" || pool.fresh);
        Obj::new(&mut out)
            .s("topic", INSURANCE)
            .s("type", kind)
            .u("ts", self.now_ms())
            .with("data", |out| {
                array(out, rows, |out, (spec, pool)| {
                    Obj::new(out)
                        .s("coin", "USDT")
                        .s("symbols", spec.symbol())
                        .d("balance", pool.balance.raw())
                        .us("updateTime", pool.updated)
                        .end();
                });
            })
            .end();
        out
    }

    fn alerts_frame(&self) -> String {
        let (mut out, now_ms) = (String::new(), self.now_ms());
        Obj::new(&mut out)
            .s("topic", ALERTS)
            .s("type", "snapshot")
            .u("ts", now_ms)
            .with("data", |out| {
                array(out, self.engine.specs.iter().zip(&self.engine.pools), |out, (spec, pool)| {
                    Obj::new(out)
                        .s("c", "USDT")
                        .s("s", spec.symbol())
                        .d("b", pool.balance.raw())
                        .s("mb", "")
                        .d("i_pr", ADL_START)
                        .d("pr", pool.drawdown(now_ms))
                        .d("adl_tt", ADL_TRIGGER.raw())
                        .d("adl_sr", ADL_STOP)
                        .end();
                });
            })
            .end();
        out
    }
}

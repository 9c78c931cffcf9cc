//! What the brake reads at each beat: profit, our positions beside the venue's, tail risk, margin, clocks, storms.
//!
//! In: the gate as it stands. Out: its [`super::Readings`], and what its brake makes of them. Never: permission.

use super::Gate;
use crate::brake::Reason;
use crate::trips::Cause;
use crate::var::{Measured, Shock};
use keel_core::ids::InstrumentId;
use keel_core::units::{Notional, Now};

/// A loss in basis points of its limit; a loss that is no number is all of it and more.
#[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn share(loss: f64, limit: Notional) -> i64 {
    let share = loss / limit.to_f64() * 1e4;
    if share.is_nan() { i64::MAX } else { share as i64 }
}

impl Gate {
    pub(super) fn look(&mut self, now: Now) {
        // before the first wallet nothing is a share of anything, and what earlier runs earned is not lost or won now
        if self.wallet.is_none() {
            return;
        }
        let profit = self.profit();
        self.trips.look(now, profit, &self.limits.trips, self.readings);
        let (level, cause) = self.trips.worst();
        self.brake.hold(level.state(), cause.map_or(Reason::Recovered, Cause::reason));
    }

    /// Our positions beside the venue's.
    pub(super) fn compare(&mut self, now: Now) {
        let pairs = self.markets.iter_mut().zip(self.exposure.holdings());
        self.venue.mismatch = pairs.fold(false, |any, (market, ours)| market.compare(now.mono, ours.position) || any);
    }

    /// The slow measures, once an interval.
    pub(super) fn read(&mut self) {
        let of =
            |part: i128, whole: i128| (whole > 0).then(|| i64::try_from(part * 10_000 / whole).unwrap_or(i64::MAX));
        let limit = self.limits.tail;
        let risk = limit.and_then(|tail| Some((self.outcomes.as_mut()?.worst_risk(tail.tail)?, tail)));
        self.readings.value_at_risk =
            risk.map(|(risk, tail)| share(risk.var, tail.max_loss).max(share(risk.es, tail.max_shortfall)));
        let still = Shock { instrument: InstrumentId(0), value: 0.0, cost: 0.0 };
        let stress = self.stress.worst_loss(still);
        self.readings.stress = Some(share(stress, self.limits.max_stress));
        self.measured = Measured { risk: risk.map(|(risk, _)| risk), stress: Some(stress) };
        let wallet = self.wallet.map(|wallet| (wallet.maintenance_margin.raw(), wallet.equity.raw()));
        // equity that is gone is all margin, not none
        self.readings.margin = wallet.map(|(margin, equity)| of(margin.into(), equity.into()).unwrap_or(i64::MAX));
    }

    /// What the brake watches beyond money: read at each beat.
    pub(super) fn keep_vigil(&mut self, now: Now) {
        self.readings.clock = self.vigil.clock(now.mono);
        self.readings.rejects = Some(self.vigil.rejects(now.mono));
        self.readings.runaway = Some(self.vigil.runaway(now.mono, self.limits.message_rate));
        let ratios = self.strategies.iter_mut().map(|conduct| conduct.work.ratio_at(now.mono));
        self.readings.order_to_trade = ratios.max().map(i64::from);
        let ladder = *self.limits.trips.of(Cause::Staleness);
        for (id, market) in (0..).map(InstrumentId).zip(&mut self.markets) {
            self.brake.hold_instrument(id, market.staleness(now.mono, &ladder));
        }
    }
}

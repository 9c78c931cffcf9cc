//! The brake: four states, four scopes, down by itself, up only by people.
//!
//! ```text
//!   Active --> ReduceOnly --> CancelOnly --> Halted        anything may trip, at any scope
//!      ^____________________________________|              only a request two people signed releases
//! ```
//!
//! The state in force for an order is the most severe of the global one, the account's, its instrument's and its
//! strategy's. A gate starts `Halted`: a process that cannot show a fresh signed request trades nothing. Why a scope stands
//! where it stands is kept beside it, and decides whether what is held is kept, shrunk or closed.

use keel_core::event::{Command, CommandKind};
use keel_core::ids::{InstrumentId, MAX_INSTRUMENTS, MAX_STRATEGIES, StrategyId};
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// What is still allowed, from everything to cancels alone. Ordered by severity.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, TryFromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(u8)]
pub enum State {
    /// Everything the limits allow.
    Active = 0,
    /// Only orders tagged reduce-only that shrink a position, and cancels.
    ReduceOnly = 1,
    /// Only cancels.
    CancelOnly = 2,
    /// Only cancels, until people re-arm it.
    #[default]
    Halted = 3,
}

/// What a trip stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Global,
    /// The account: its money was lost, or its margin.
    Account,
    /// One instrument.
    Instrument(InstrumentId),
    /// One strategy.
    Strategy(StrategyId),
}

/// Scopes there are.
pub const SCOPES: usize = 2 + MAX_INSTRUMENTS + MAX_STRATEGIES;

impl Scope {
    /// Its place among the latches. A scope nobody knows is the global one: the fault is ours, so everything stops.
    #[must_use]
    pub const fn slot(self) -> usize {
        match self {
            Self::Account => 1,
            Self::Instrument(id) if id.index() < MAX_INSTRUMENTS => 2 + id.index(),
            Self::Strategy(id) if id.index() < MAX_STRATEGIES => 2 + MAX_INSTRUMENTS + id.index(),
            _ => 0,
        }
    }

    /// The scope in a place; `None` beyond the last.
    #[must_use]
    pub fn at(slot: usize) -> Option<Self> {
        let id = |from: usize| u16::try_from(slot - from).ok();
        match slot {
            0 => Some(Self::Global),
            1 => Some(Self::Account),
            slot if slot < 2 + MAX_INSTRUMENTS => Some(Self::Instrument(InstrumentId(id(2)?))),
            slot if slot < SCOPES => Some(Self::Strategy(StrategyId(id(2 + MAX_INSTRUMENTS)?))),
            _ => None,
        }
    }
}

/// What becomes of the position behind a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Kept: what is wrong is our picture of the world, or a person asked for no more than a stop.
    Hold,
    /// Shrunk, the most dangerous part first, until the measure is below its way out.
    Shrink,
    /// Closed in bounded slices.
    Close,
}

macro_rules! reasons {
    ($($code:literal $name:ident $policy:ident, $meaning:literal;)*) => {
        /// Why a scope stands where it stands. Codes are stable and never reused; the first thirteen are
        /// [`Cause`](crate::trips::Cause).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $meaning] $name = $code,)*
            /// The process began.
            #[default]
            Start = 16,
        }

        impl Reason {
            /// Every reason, in code order but for `Start`, the last.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* Self::Start];

            /// What becomes of the position when this halts the account or everything.
            #[must_use]
            pub const fn policy(self) -> Policy {
                match self { $(Self::$name => Policy::$policy,)* Self::Start => Policy::Hold }
            }

            /// What it says, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* Self::Start => "The process began." }
            }
        }
    };
}

reasons! {
    0 Drawdown Close, "The account is too far below its highest value.";
    1 Day Close, "Too much was lost since midnight.";
    2 RollingDay Close, "Too much was lost within 24 hours.";
    3 Minute Close, "Too much was lost within a minute.";
    4 FiveMinutes Close, "Too much was lost within five minutes.";
    5 ValueAtRisk Shrink, "Value at risk is beyond its limit.";
    6 Stress Shrink, "The worst catastrophe would cost more than its limit.";
    7 Margin Close, "Maintenance margin takes too much of the equity.";
    8 Clock Hold, "Our clock is too far off the venue's.";
    9 Rejects Hold, "The venue refused too many orders within ten seconds.";
    10 Runaway Hold, "Too many messages were asked for within ten seconds.";
    11 OrderToTrade Hold, "Too many messages were sent for each fill.";
    12 Staleness Hold, "An instrument's book has been silent for too long.";
    17 Person Hold, "A person asked for it.";
    18 Ending Hold, "The node ends in good order.";
    19 Armed Hold, "Two people released it.";
    20 Recovered Hold, "The measure was calm for long enough.";
    21 Sums Hold, "Our own sums are not what they should be.";
    22 Overflow Hold, "A position does not fit its numbers.";
    23 Executions Hold, "The strategy traded so often that a person must look.";
    24 StrategyRejects Hold, "The venue refused so often that a person must look.";
    25 PersonCloses Close, "A person asked for everything to be closed.";
    26 Kyc Hold, "The account, its owner or its key is not what the registry says.";
}

/// One scope: where it stands, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where.
    pub state: State,
    /// Why.
    pub reason: Reason,
}

/// Nothing against it.
pub(crate) const CALM: Standing = Standing { state: State::Active, reason: Reason::Start };

/// The latches.
#[derive(Clone, Debug)]
pub struct Brake {
    latches: [Standing; SCOPES],
    /// What a measurement asks of the account for as long as it lasts.
    held: Standing,
    /// What a measurement asks of one instrument for as long as it lasts.
    silent: [State; MAX_INSTRUMENTS],
    version: u64,
}

impl Default for Brake {
    fn default() -> Self {
        let mut latches = [CALM; SCOPES];
        latches[0].state = State::Halted;
        Self { latches, held: CALM, silent: [State::Active; MAX_INSTRUMENTS], version: 1 }
    }
}

impl Brake {
    /// The brake of a process that begins: as an earlier one left it, and everything halted.
    pub(crate) fn resumed(latches: [Standing; SCOPES], version: u64) -> Self {
        let mut brake = Self { latches, version: version.saturating_add(1), ..Self::default() };
        brake.latches[0] = Standing { state: State::Halted, ..brake.latches[0] };
        brake
    }

    /// The state in force for an order of this strategy on this instrument. An id nobody knows is halted.
    #[must_use]
    pub fn effective(&self, instrument: InstrumentId, strategy: StrategyId) -> State {
        let (slot, strategy) = (Scope::Instrument(instrument).slot(), Scope::Strategy(strategy).slot());
        if slot == 0 || strategy == 0 {
            return State::Halted;
        }
        self.global().max(self.state(Scope::Instrument(instrument))).max(self.latches[strategy].state)
    }

    /// The state of everything: the global latch, the account's, or what a measurement holds.
    #[must_use]
    pub fn global(&self) -> State {
        self.latches[0].state.max(self.latches[1].state).max(self.held.state)
    }

    /// Where a scope stands by itself. An instrument or strategy nobody knows stands where everything does.
    #[must_use]
    pub fn standing(&self, scope: Scope) -> Standing {
        let latch = self.latches[scope.slot()];
        let recovered = latch.state == State::Active && self.held.reason == Reason::Recovered;
        if scope == Scope::Account && (self.held.state > latch.state || recovered) { self.held } else { latch }
    }

    /// The state of a scope by itself.
    #[must_use]
    pub fn state(&self, scope: Scope) -> State {
        let state = self.standing(scope).state;
        match scope {
            Scope::Instrument(id) => state.max(self.silent.get(id.index()).copied().unwrap_or(State::Halted)),
            Scope::Global | Scope::Account | Scope::Strategy(_) => state,
        }
    }

    /// What makes [`Self::global`] so severe.
    #[must_use]
    pub fn worst(&self) -> Standing {
        let account = self.standing(Scope::Account);
        if account.state >= self.latches[0].state { account } else { self.latches[0] }
    }

    /// Moves with every change of any latch: who re-arms must have seen the state they re-arm from.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Why what is held has to shrink or go, if it has to: the reason of a halt of the account or of everything, or of a
    /// breach that lasts.
    #[must_use]
    pub fn unwinds(&self) -> Option<Reason> {
        let halts = self.latches[..2].iter().filter(|latch| latch.state == State::Halted);
        let mut reasons = halts.map(|latch| latch.reason);
        let by = |policy: Policy| move |reason: &Reason| reason.policy() == policy;
        let breach = Some(self.held).filter(|held| held.state >= State::ReduceOnly).map(|held| held.reason);
        let closes = reasons.clone().find(by(Policy::Close));
        closes.or_else(|| reasons.find(by(Policy::Shrink))).or_else(|| breach.filter(by(Policy::Shrink)))
    }

    /// Makes a scope at least this severe. Never milder. A second trip of the same severity changes nothing, unless it
    /// wants more done about the position than the first.
    pub fn trip(&mut self, scope: Scope, state: State, reason: Reason) {
        let latch = &mut self.latches[scope.slot()];
        let worse = state > latch.state;
        let more = state == latch.state && reason.policy() as u8 > latch.reason.policy() as u8;
        if worse || more {
            // a halt for a lesser reason does not take back what an earlier one asked to be closed
            let keeps = worse && latch.reason.policy() as u8 > reason.policy() as u8 && latch.state > State::Active;
            *latch = Standing { state, reason: if keeps { latch.reason } else { reason } };
            self.version += 1;
        }
    }

    /// What a measurement asks of the account as long as it lasts. A halt does not end with it.
    pub fn hold(&mut self, state: State, reason: Reason) {
        if state == State::Halted {
            self.trip(Scope::Account, state, reason);
        }
        let state = state.min(State::CancelOnly);
        if state != self.held.state {
            let reason = if state == State::Active { Reason::Recovered } else { reason };
            self.held = Standing { state, reason };
            self.version += 1;
        }
    }

    /// What a measurement asks of one instrument as long as it lasts. It ends by itself, so it moves no version.
    pub fn hold_instrument(&mut self, instrument: InstrumentId, state: State) {
        if let Some(silent) = self.silent.get_mut(instrument.index()) {
            *silent = state;
        }
    }

    /// What a person or the node asked: down, never up.
    pub fn command(&mut self, command: &Command) {
        let (state, reason) = match command.kind {
            CommandKind::Ping | CommandKind::Arm => return,
            CommandKind::ReduceOnly => (State::ReduceOnly, Reason::Person),
            CommandKind::CancelOnly => (State::CancelOnly, Reason::Person),
            CommandKind::Halt => (State::Halted, Reason::Person),
            CommandKind::Flatten => (State::Halted, Reason::PersonCloses),
            CommandKind::Shutdown => (State::CancelOnly, Reason::Ending),
        };
        self.trip(Scope::Global, state, reason);
    }

    /// Two people released it: [`crate::consent::People::arm`] was asked.
    pub(crate) fn release(&mut self) {
        let latches = [Standing { reason: Reason::Armed, ..CALM }; SCOPES];
        *self = Self { latches, version: self.version + 1, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: (InstrumentId, StrategyId) = (InstrumentId(3), StrategyId(2));

    fn released() -> Brake {
        let mut brake = Brake::default();
        brake.release();
        brake
    }

    fn say(brake: &mut Brake, kind: CommandKind) -> State {
        brake.command(&Command { kind, authenticated: keel_core::event::Flag::Yes, ..Command::default() });
        brake.effective(HERE.0, HERE.1)
    }

    #[test]
    fn what_a_measurement_asks_lasts_as_long_as_it_unless_it_halts() {
        let mut brake = released();
        for (held, expected) in [
            (State::ReduceOnly, State::ReduceOnly),
            (State::Active, State::Active),
            (State::Halted, State::Halted),
            (State::Active, State::Halted),
        ] {
            brake.hold(held, Reason::Margin);
            assert_eq!(brake.effective(HERE.0, HERE.1), expected);
        }
    }

    #[test]
    fn it_starts_halted_and_no_command_arms_it() {
        let mut brake = Brake::default();
        assert_eq!(brake.effective(HERE.0, HERE.1), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::Arm), State::Halted, "a word is no signature");
        brake.release();
        assert_eq!(brake.effective(HERE.0, HERE.1), State::Active);
    }

    #[test]
    fn it_goes_down_by_anyone_and_never_up_by_a_milder_word() {
        let mut brake = released();
        assert_eq!(say(&mut brake, CommandKind::ReduceOnly), State::ReduceOnly);
        assert_eq!(say(&mut brake, CommandKind::Halt), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::CancelOnly), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::Ping), State::Halted);
        let version = brake.version();
        assert_eq!(say(&mut brake, CommandKind::Halt), State::Halted);
        assert_eq!(brake.version(), version, "a second trip is the same trip");
    }

    #[test]
    fn the_most_severe_scope_is_in_force() {
        let mut brake = released();
        brake.trip(Scope::Strategy(HERE.1), State::ReduceOnly, Reason::Rejects);
        brake.trip(Scope::Instrument(HERE.0), State::CancelOnly, Reason::Person);
        assert_eq!(brake.effective(HERE.0, HERE.1), State::CancelOnly);
        assert_eq!(brake.effective(InstrumentId(0), HERE.1), State::ReduceOnly);
        assert_eq!(brake.effective(InstrumentId(0), StrategyId(0)), State::Active);
        assert_eq!(brake.effective(InstrumentId(9999), StrategyId(0)), State::Halted, "unknown is halted");
        brake.trip(Scope::Account, State::ReduceOnly, Reason::Day);
        assert_eq!(brake.effective(InstrumentId(0), StrategyId(0)), State::ReduceOnly);
        brake.trip(Scope::Instrument(InstrumentId(9999)), State::Halted, Reason::Person);
        assert_eq!(brake.global(), State::Halted, "a trip nobody can place stops everything");
    }

    #[test]
    fn two_brakes_at_once_do_what_the_graver_reason_wants() {
        for [first, second] in [[CommandKind::Halt, CommandKind::Flatten], [CommandKind::Flatten, CommandKind::Halt]] {
            let mut brake = released();
            say(&mut brake, first);
            say(&mut brake, second);
            assert_eq!(brake.unwinds(), Some(Reason::PersonCloses), "{first:?} {second:?}");
        }
        let mut brake = released();
        say(&mut brake, CommandKind::Halt);
        assert_eq!(brake.unwinds(), None, "a person who says halt keeps the position");
        brake.hold(State::ReduceOnly, Reason::Day);
        assert_eq!(brake.unwinds(), None, "a loss that only allows no more risk is kept");
        brake.hold(State::Active, Reason::Recovered);
        brake.hold(State::ReduceOnly, Reason::ValueAtRisk);
        assert_eq!(brake.unwinds(), Some(Reason::ValueAtRisk), "a breach is shrunk as long as it lasts");
        brake.hold(State::Active, Reason::Recovered);
        assert_eq!(brake.unwinds(), None);
        brake.hold(State::Halted, Reason::ValueAtRisk);
        assert_eq!(brake.unwinds(), Some(Reason::ValueAtRisk));
        brake.hold(State::Halted, Reason::Day);
        assert_eq!(brake.unwinds(), Some(Reason::Day), "a loss during a breach closes");
        brake.hold(State::Halted, Reason::ValueAtRisk);
        assert_eq!(brake.unwinds(), Some(Reason::Day), "and the breach does not take that back");
    }

    #[test]
    fn slots_and_scopes_are_one_to_one() {
        for slot in 0..SCOPES {
            assert_eq!(Scope::at(slot).map(Scope::slot), Some(slot));
        }
        assert_eq!(Scope::at(SCOPES), None);
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert!(Reason::ALL[..at].iter().all(|r| r != reason) && !reason.meaning().is_empty());
        }
    }
}

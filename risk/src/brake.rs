//! The brake: four states, four scopes, down by itself, up only by people.
//!
//! ```text
//!   Active --> ReduceOnly --> CancelOnly --> Halted        anything may trip, at any scope
//!      ^____________________________________|              only an authenticated `Arm` releases
//! ```
//!
//! The state in force for an order is the most severe of the global one, its instrument's and its strategy's. A gate
//! starts `Halted`: a process that cannot show a fresh arm command trades nothing.

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
    /// One instrument.
    Instrument(InstrumentId),
    /// One strategy.
    Strategy(StrategyId),
}

/// The latches.
#[derive(Clone, Debug)]
pub struct Brake {
    global: State,
    automatic: State,
    instruments: [State; MAX_INSTRUMENTS],
    strategies: [State; MAX_STRATEGIES],
    /// What a measurement asks of one instrument as long as it lasts.
    held: [State; MAX_INSTRUMENTS],
    version: u64,
}

impl Default for Brake {
    fn default() -> Self {
        Self {
            global: State::Halted,
            automatic: State::Active,
            instruments: [State::Active; MAX_INSTRUMENTS],
            strategies: [State::Active; MAX_STRATEGIES],
            held: [State::Active; MAX_INSTRUMENTS],
            version: 0,
        }
    }
}

impl Brake {
    /// The state in force for an order of this strategy on this instrument.
    #[must_use]
    pub fn effective(&self, instrument: InstrumentId, strategy: StrategyId) -> State {
        let of = |latches: &[State], at: usize| latches.get(at).copied().unwrap_or(State::Halted);
        self.state(Scope::Instrument(instrument)).max(self.global()).max(of(&self.strategies, strategy.index()))
    }

    /// The global state.
    #[must_use]
    pub fn global(&self) -> State {
        self.global.max(self.automatic)
    }

    /// The state of one scope by itself.
    #[must_use]
    pub fn state(&self, scope: Scope) -> State {
        match scope {
            Scope::Global => self.global(),
            Scope::Instrument(id) => {
                let of = |latches: &[State]| latches.get(id.index()).copied().unwrap_or(State::Halted);
                of(&self.instruments).max(of(&self.held))
            }
            Scope::Strategy(id) => self.strategies.get(id.index()).copied().unwrap_or(State::Halted),
        }
    }

    /// Moves with every change of any latch: who re-arms must have seen the state they re-arm from.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Makes a scope at least this severe. Never milder; a second trip of the same severity changes nothing.
    pub fn trip(&mut self, scope: Scope, to: State) {
        let latch = match scope {
            Scope::Instrument(id) if id.index() < MAX_INSTRUMENTS => &mut self.instruments[id.index()],
            Scope::Strategy(id) if id.index() < MAX_STRATEGIES => &mut self.strategies[id.index()],
            // also a scope nobody knows: the fault is ours, so everything stops
            _ => &mut self.global,
        };
        if to > *latch {
            *latch = to;
            self.version += 1;
        }
    }

    /// What a measurement asks for as long as it lasts. A halt does not end with it.
    pub fn hold(&mut self, state: State) {
        if state == State::Halted {
            self.trip(Scope::Global, state);
        }
        let held = state.min(State::CancelOnly);
        self.version += u64::from(held != self.automatic);
        self.automatic = held;
    }

    /// What a measurement asks of one instrument as long as it lasts. It ends by itself, so it moves no version.
    pub fn hold_instrument(&mut self, instrument: InstrumentId, state: State) {
        if let Some(held) = self.held.get_mut(instrument.index()) {
            *held = state;
        }
    }

    /// What a person or the node asked. True when it released the latches.
    pub fn command(&mut self, command: &Command) -> bool {
        match command.kind {
            CommandKind::Ping => {}
            CommandKind::ReduceOnly => self.trip(Scope::Global, State::ReduceOnly),
            CommandKind::CancelOnly | CommandKind::Shutdown => self.trip(Scope::Global, State::CancelOnly),
            CommandKind::Halt => self.trip(Scope::Global, State::Halted),
            CommandKind::Arm if command.authenticated.is_set() => {
                self.release();
                return true;
            }
            CommandKind::Arm => {}
        }
        false
    }

    fn release(&mut self) {
        *self = Self { global: State::Active, version: self.version + 1, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::Flag;

    const HERE: (InstrumentId, StrategyId) = (InstrumentId(3), StrategyId(2));

    #[test]
    fn what_a_measurement_asks_lasts_as_long_as_it_unless_it_halts() {
        let mut brake = Brake::default();
        say(&mut brake, CommandKind::Arm, true);
        for (held, expected) in [
            (State::ReduceOnly, State::ReduceOnly),
            (State::Active, State::Active),
            (State::Halted, State::Halted),
            (State::Active, State::Halted),
        ] {
            brake.hold(held);
            assert_eq!(brake.effective(HERE.0, HERE.1), expected);
        }
    }

    fn say(brake: &mut Brake, kind: CommandKind, authenticated: bool) -> State {
        brake.command(&Command { kind, authenticated: Flag::from(authenticated), ..Command::default() });
        brake.effective(HERE.0, HERE.1)
    }

    #[test]
    fn it_starts_halted_and_only_a_proven_person_arms_it() {
        let mut brake = Brake::default();
        assert_eq!(brake.effective(HERE.0, HERE.1), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::Arm, false), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::Arm, true), State::Active);
    }

    #[test]
    fn it_goes_down_by_anyone_and_never_up_by_a_milder_word() {
        let mut brake = Brake::default();
        say(&mut brake, CommandKind::Arm, true);
        assert_eq!(say(&mut brake, CommandKind::ReduceOnly, false), State::ReduceOnly);
        assert_eq!(say(&mut brake, CommandKind::Halt, false), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::CancelOnly, true), State::Halted);
        assert_eq!(say(&mut brake, CommandKind::Ping, true), State::Halted);
        let version = brake.version();
        assert_eq!(say(&mut brake, CommandKind::Halt, true), State::Halted);
        assert_eq!(brake.version(), version, "a second trip is the same trip");
    }

    #[test]
    fn the_most_severe_scope_is_in_force() {
        let mut brake = Brake::default();
        say(&mut brake, CommandKind::Arm, true);
        brake.trip(Scope::Strategy(HERE.1), State::ReduceOnly);
        brake.trip(Scope::Instrument(HERE.0), State::CancelOnly);
        assert_eq!(brake.effective(HERE.0, HERE.1), State::CancelOnly);
        assert_eq!(brake.effective(InstrumentId(0), HERE.1), State::ReduceOnly);
        assert_eq!(brake.effective(InstrumentId(0), StrategyId(0)), State::Active);
        assert_eq!(brake.effective(InstrumentId(9999), StrategyId(0)), State::Halted, "unknown is halted");
        brake.trip(Scope::Instrument(InstrumentId(9999)), State::Halted);
        assert_eq!(brake.global(), State::Halted, "a trip nobody can place stops everything");
    }
}

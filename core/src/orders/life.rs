//! The life of an order: one table, state by event.
//!
//! Only the venue ends an order. Our own clock can only make it `Unknown`, and nothing but the venue's word leads out of
//! that. Once anything proved that the order exists at the venue, no refusal and no absence can end it: a contradiction
//! makes it `Unknown`, to be asked about.

use super::State;
use super::State::{Cancelled, Filled, Live, NotSent, Rejected, Sent, Settling, Unknown};

/// What can happen to an order, besides the venue showing its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Its bytes were handed to the socket.
    Left = 0,
    /// The gateway let nothing leave.
    NeverLeft = 1,
    /// The venue accepted it for processing.
    Accepted = 2,
    /// The venue refused it in words that prove it does not exist.
    Refused = 3,
    /// The venue answered in words that prove nothing.
    Doubted = 4,
    /// The venue shows it open.
    Shown = 5,
    /// The venue shows a fill of it.
    Traded = 6,
    /// The venue has it nowhere.
    Absent = 7,
    /// The venue was silent for too long.
    Silent = 8,
}

#[rustfmt::skip]
const LIFE: [[State; 9]; 9] = [
    //            Left       NeverLeft  Accepted   Refused    Doubted    Shown      Traded     Absent     Silent
    /* Recorded */ [Sent,      NotSent,   Sent,      Rejected,  Unknown,   Live,      Live,      NotSent,   Unknown],
    /* Sent     */ [Sent,      Sent,      Sent,      Rejected,  Unknown,   Live,      Live,      NotSent,   Unknown],
    /* Live     */ [Live,      Live,      Live,      Unknown,   Live,      Live,      Live,      Unknown,   Unknown],
    /* Unknown  */ [Unknown,   NotSent,   Unknown,   Rejected,  Unknown,   Live,      Unknown,   NotSent,   Unknown],
    /* Settling */ [Settling,  Settling,  Settling,  Settling,  Settling,  Settling,  Settling,  Settling,  Settling],
    /* Filled   */ [Filled,    Filled,    Filled,    Filled,    Filled,    Filled,    Filled,    Filled,    Filled],
    /* Cancelled*/ [Cancelled, Cancelled, Cancelled, Cancelled, Cancelled, Cancelled, Cancelled, Cancelled, Cancelled],
    /* Rejected */ [Rejected,  Rejected,  Rejected,  Rejected,  Rejected,  Rejected,  Rejected,  Rejected,  Rejected],
    /* NotSent  */ [NotSent,   NotSent,   NotSent,   NotSent,   NotSent,   NotSent,   NotSent,   NotSent,   NotSent],
];

/// Where `event` leads. `proven`: the venue has shown, filled or numbered the order before.
pub(super) fn next(state: State, event: Event, proven: bool) -> State {
    let to = LIFE[state as usize][event as usize];
    if proven && !state.is_final() && matches!(to, Rejected | NotSent) { Unknown } else { to }
}

#[cfg(test)]
mod tests {
    use super::State::Recorded;
    use super::*;

    const STATES: [State; 9] = [Recorded, Sent, Live, Unknown, Settling, Filled, Cancelled, Rejected, NotSent];
    const EVENTS: [Event; 9] = [
        Event::Left,
        Event::NeverLeft,
        Event::Accepted,
        Event::Refused,
        Event::Doubted,
        Event::Shown,
        Event::Traded,
        Event::Absent,
        Event::Silent,
    ];

    #[test]
    fn rows_and_columns_stand_where_their_numbers_say() {
        for (at, state) in STATES.into_iter().enumerate() {
            assert_eq!(state as usize, at);
        }
        for (at, event) in EVENTS.into_iter().enumerate() {
            assert_eq!(event as usize, at);
        }
    }

    #[test]
    fn only_the_venue_or_the_gateway_ends_an_order_and_only_proof_leaves_unknown() {
        for state in STATES {
            for event in EVENTS {
                for proven in [false, true] {
                    let to = next(state, event, proven);
                    let ends = !state.is_final() && to.is_final();
                    assert!(
                        !ends || matches!(event, Event::NeverLeft | Event::Refused | Event::Absent),
                        "{state:?} {event:?}"
                    );
                    assert!(!(ends && proven), "{state:?} {event:?}: what exists is not ended by a denial");
                    assert!(!state.is_final() || to == state, "{state:?} {event:?}: over is over");
                    let leaves_unknown = state == Unknown && to != Unknown;
                    let proof = matches!(event, Event::NeverLeft | Event::Refused | Event::Shown | Event::Absent);
                    assert!(!leaves_unknown || proof, "{event:?}");
                    assert!(event != Event::Silent || !to.is_final() || state.is_final(), "time alone ends nothing");
                }
            }
        }
    }
}

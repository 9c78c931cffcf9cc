//! Permission.
//!
//! In: what the engine sees and the one question "may this order leave?". Out: [`Approved`] or [`Refused`], each with
//! every value that was measured. Never: a clock, a socket, a file; an order approved because something was missing.
//!
//! # Refusals
//!
//! Stable codes, written from [`Refusal`] and held equal to it by a test.
//!
//! | code | name | means |
//! |---|---|---|
//! | 1 | `Halted` | The brake allows nothing but cancels. |
//! | 2 | `ReducingOnly` | The brake, its silence, or a journal short of room allows only orders tagged reduce-only. |
//! | 3 | `JournalFaulty` | The journal takes no records, so nothing can leave. |
//! | 4 | `UnknownInstrument` | No such instrument. |
//! | 5 | `UnknownStrategy` | No such strategy, or it may not trade this instrument. |
//! | 6 | `UnknownOrder` | The amend or cancel is about an order that is finished, not ours, or not as described. |
//! | 7 | `Form` | A market order that is not tagged reduce-only, or that could rest. |
//! | 8 | `NotTrading` | The instrument is not open for trading. |
//! | 9 | `Price` | The price is off the grid or outside the instrument's range. |
//! | 10 | `Quantity` | The quantity is off the grid or outside the instrument's range. |
//! | 11 | `MinimumValue` | The order is worth less than the venue accepts. |
//! | 12 | `NoMark` | No mark price. |
//! | 13 | `StaleBook` | The book is missing, out of sequence, crossed or too old (ns). |
//! | 14 | `StaleMark` | The mark price is too old. |
//! | 15 | `Spread` | The spread is too wide. |
//! | 16 | `MarkGap` | Mid and mark, or mark and index, disagree. |
//! | 17 | `LinkDown` | The private stream or the order link is not ready. |
//! | 18 | `Unreconciled` | Orders and positions were not compared with the venue since the last break, or a position differs. |
//! | 19 | `Unproven` | The venue owes us proof of an earlier order. |
//! | 20 | `Maintenance` | The venue is in maintenance, or funding is about to be exchanged. |
//! | 21 | `MessageRate` | Too many messages (tokens needed, tokens left). |
//! | 22 | `StrategyRate` | Too many messages from this strategy. |
//! | 23 | `Executions` | The strategy traded so often that a person must look at it first. |
//! | 24 | `Collar` | The price is too far through the reference price (bps). |
//! | 25 | `VenueBand` | The price is outside the venue's band: it would be moved without a word. |
//! | 26 | `OrderQty` | The order is too large (coins). |
//! | 27 | `OrderValue` | The order is worth too much (USDT). |
//! | 28 | `OpenOrders` | Too many open orders. |
//! | 29 | `Position` | The position could grow too large if everything open filled (USDT). |
//! | 30 | `Gross` | Gross exposure could grow too large if everything open filled (USDT). |
//! | 31 | `Net` | Net exposure could grow too large if everything open filled (USDT). |
//! | 32 | `Margin` | Margin could grow too large if everything open filled, or equity is unknown (USDT). |
//! | 33 | `ValueAtRisk` | Too many scenarios lose more than the limit if everything open filled against us. |
//! | 34 | `Shortfall` | The expected shortfall could exceed its limit (USDT). |
//! | 35 | `Stress` | The worst stress scenario could lose too much (USDT). |
//! | 36 | `NotReducing` | Tagged reduce-only, but larger than what is left to reduce, or on the wrong side. |
//! | 37 | `Duplicate` | The same order was allowed a moment ago. |
//! | 38 | `SelfMatch` | It would trade against an order of our own. |
//! | 39 | `Rejects` | The venue refused so many orders of this strategy that a person must look at it first. |
//! | 40 | `AmendPending` | An earlier amend of this order is not answered yet. |
//! | 41 | `Walk` | Our own fills already walked the price this far (bps). |
//! | 42 | `Participation` | Too large a share of what the market trades in a minute would be ours (coins). |
//! | 43 | `RestingValue` | An order that may rest is worth too much (USDT). |
//! | 44 | `Model` | It names no model version that is approved, loaded as approved, and within its time. |
//! | 45 | `SignalAge` | The signal behind it is too old (ms). |
//! | 46 | `OrderToTrade` | The strategy sends too many messages a fill. |

pub mod backtest;
pub mod brake;
pub mod cases;
mod checks;
pub mod consent;
#[cfg(test)]
mod controls_tests;
pub mod decision;
pub mod exposure;
pub mod flatten;
mod flow;
pub mod gate;
pub mod history;
#[cfg(test)]
mod knight_tests;
pub mod kyc;
pub mod latch;
pub mod limits;
pub mod models;
mod normal;
pub mod notice;
mod peak;
mod petition;
pub mod refusal;
pub mod register;
pub mod sizing;
pub mod stress;
pub mod surveil;
pub mod throwaway;
mod traffic;
pub mod trips;
pub mod var;
pub mod vigil;
mod watch;

pub use decision::{Approved, Decision, Refused};
pub use gate::Gate;
pub use limits::{Limits, LimitsError};
pub use refusal::Refusal;
pub use var::Scenarios;

//! Cases: what people make of alerts, step by step, until a report is filed or two of them found nothing to report.
//!
//! In: the records of the compliance journal, in order. Out: cases, and the answer to "may this step be taken?". Never: a
//! clock, a file, a step without a reason, a step nobody signed, a report one person alone wrote and agreed to.
//!
//! ```text
//!                          Return                 Return
//!                        .---------.----------------------------.
//!                        v         |                            |
//!  Open --> Triage --> Investigate --Draft--> FileDraft --> Approved --> Filed --.
//!     Assign    Escalate |                       Approve        File             |--> Monitored
//!                        '--NoFile, Approve--> ClosedNoFile ---------------------'  Monitor
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`act`] | one step as text: what its author signs |
//! | [`roles`] | who may do what, and the terms |
//! | [`ledger`] | the fold: refuse, then mutate |

pub mod act;
pub mod ledger;
#[cfg(test)]
mod ledger_tests;
pub mod roles;

pub use act::{About, Act, Filing, Piece};
pub use ledger::{Case, Ledger, No, TABLE};
pub use roles::{Role, Roles};

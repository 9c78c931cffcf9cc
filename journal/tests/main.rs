//! The promises of the journal, each with the case that tries to break it.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::type_complexity,
    reason = "a case that cannot go on fails"
)]

mod cases {
    mod archive;
    mod clock;
    mod damage;
    mod faults;
    mod fuzz;
    mod kill;
    mod life;
    mod mutations;
    mod power;
    mod proofs;
    mod retain;
    mod space;
    mod support;
    mod truncate;
}

//! What permission costs: the whole gate with 64 instruments, 1,000 scenarios and 500 working orders, and the value-at-risk
//! decision beside a full sort of the same outcomes.
//!
//! `cargo run --release -p keel-risk --example gate_cost [-- --json]`. `bench/decode` runs the same beside nautilus' check.
//!
//! On 2 shared AMD EPYC vCPUs, x86-64-v3, p50 in ns, the stopwatch's 20 included:
//!
//! | what | 39 checks, a table of pointers | 45 checks, one straight line; lanes above the floor unread |
//! |---|---|---|
//! | the whole gate, far from its limits | 311 with 45 | 180 |
//! | the whole gate, near its limit | 561, 641 with 45 | 230 |
//! | value at risk: the decision, at its limit | 311 | 100: a full sort takes 16,100 |
//! | the same where every lane must be read | 311 | 271 |
//! | both sums anew, from all legs, once a second | 36,200 | 12,900 |
//! | an order changes, on one instrument; on any of 64 | 391; - | 280; 370 |

mod contestants;
mod desk;
mod rounds;

use std::process::ExitCode;

const ROUNDS: usize = 5;
const CALLS: usize = 40_000;
/// Random limits and orders on which the fast decision is compared with a sort.
const CASES: u32 = 20_000;

fn main() -> ExitCode {
    let refused = contestants::Refused::default();
    let mut rounds = rounds::Rounds::new(ROUNDS, CALLS);
    contestants::all(&mut rounds, &refused, CALLS);
    rounds.run();
    let otherwise = contestants::otherwise(CASES);
    if std::env::args().any(|word| word == "--json") {
        println!("{{{},\"cases\":{CASES},\"otherwise\":{otherwise}}}", rounds.json());
    } else {
        let (instruments, scenarios, working) = (desk::INSTRUMENTS, desk::SCENARIOS, desk::WORKING);
        println!(
            "{instruments} instruments, {scenarios} scenarios, {working} working orders; {ROUNDS} rounds, one call at a time"
        );
        print!("{}", rounds.table());
        println!("a full sort decided otherwise in {otherwise} of {CASES} random cases");
    }
    if let Some(why) = refused.first() {
        eprintln!("an order was refused ({why}): this measured something else");
        return ExitCode::FAILURE;
    }
    ExitCode::from(u8::from(otherwise > 0))
}

//! P4: what permission costs, beside nautilus' risk engine, in one process and one run.
//!
//! `cargo run --release --features permission --bin gate`. Out: one line of JSON, nanoseconds a call. The desk, the calls and
//! the rounds are those of keel-risk's example `gate_cost`; nautilus is one more call in each round.

#[path = "../../../../risk/examples/gate_cost/contestants.rs"]
mod contestants;
#[path = "../../../../risk/examples/gate_cost/desk.rs"]
#[allow(dead_code, reason = "shared with the measurement of the gate alone")]
mod desk;
mod nautilus;
#[path = "../../../../risk/examples/gate_cost/rounds.rs"]
#[allow(dead_code, reason = "shared with the measurement of the gate alone")]
mod rounds;

use std::process::ExitCode;

const ROUNDS: usize = 5;
const CALLS: usize = 40_000;
/// Random limits and orders on which the fast decision is compared with a sort.
const CASES: u32 = 20_000;

fn main() -> ExitCode {
    let refused = contestants::Refused::default();
    let peer = nautilus::Peer::new();
    let mut rounds = rounds::Rounds::new(ROUNDS, CALLS);
    contestants::all(&mut rounds, &refused, CALLS);
    rounds.add("nautilus: the risk engine, one order", CALLS, |_| peer.judge());
    rounds.add("nautilus: of it, building the command", CALLS, |_| peer.ask());
    rounds.run();
    println!("{{{},\"cases\":{CASES},\"otherwise\":{}}}", rounds.json(), contestants::otherwise(CASES));
    if let Some(why) = refused.first() {
        eprintln!("keel refused an order ({why}): this measured something else");
        return ExitCode::FAILURE;
    }
    let (sent, denied) = peer.answers();
    if sent == 0 || denied > 0 {
        eprintln!("nautilus sent {sent} orders and denied {denied}: this measured something else");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

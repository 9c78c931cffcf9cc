//! `keel`: one binary, one subcommand a job.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use keel_tools::{
    archive, checkpoint, deadman, decode, demo, exchange, explain, live, prove, record, replay, risk, tail, top, verify,
};
use std::process::ExitCode;
use std::sync::Arc;

/// keel: a trading core for Bybit v5 USDT perpetuals.
///
/// Without a subcommand it runs the demo: an exchange of its own and a node that trades on it.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Keel {
    #[command(subcommand)]
    job: Option<Job>,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Trade on an embedded simulated exchange: no credentials, no configuration (the default).
    Demo(demo::Args),
    /// Trade at a venue, as a configuration file says.
    Run(live::Args),
    /// Watch over a node and cancel everything when it falls silent.
    Deadman(deadman::Args),
    /// Serve a simulated Bybit v5 exchange on a loopback port.
    Exchange(exchange::Args),
    /// Print a journal's records.
    Tail(tail::Args),
    /// Run the engine over a journal again and compare every decision; or ask what other limits would have changed.
    Replay(replay::Args),
    /// Tell how one order came to be and what became of it: ticks, book, size, checks, record, acknowledgement, fills.
    Explain(explain::Args),
    /// Watch a running node on one screen: links, brake, hops, rings, books, positions.
    Top(top::Args),
    /// Measure what a book could lose, from files.
    Risk(risk::Args),
    /// Check every byte of a journal and name what is wrong.
    Verify(verify::Args),
    /// Sign the state of a journal, and hand the signature to those who keep it.
    Checkpoint(checkpoint::Args),
    /// Write the proof that one record stands in a signed journal.
    Prove(prove::Args),
    /// Compress a journal's sealed segments where they lie.
    Archive(archive::Args),
    /// Say what recorded frames hold: messages, gaps, final books.
    Decode(decode::Args),
    /// Record the public stream as a tape.
    Record(record::Args),
}

fn main() -> ExitCode {
    let job = Keel::parse().job.unwrap_or_else(|| Job::Demo(demo::Args::default()));
    match perform(&job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keel: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(job: &Job) -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    // A file size limit is an error to report like a full disk, not a reason to die.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).context("watching for SIGXFSZ")?;
    match job {
        Job::Demo(args) => demo::run(args),
        Job::Run(args) => live::run(args),
        Job::Deadman(args) => deadman::run(args),
        Job::Exchange(args) => exchange::run(args),
        Job::Tail(args) => tail::run(args).with_context(|| args.dir.display().to_string()),
        Job::Replay(args) => replay::run(args).with_context(|| args.dir.display().to_string()),
        Job::Explain(args) => explain::run(args).with_context(|| args.dir.display().to_string()),
        Job::Top(args) => top::run(args),
        Job::Risk(args) => risk::run(args),
        Job::Verify(args) => verify::run(args),
        Job::Checkpoint(args) => checkpoint::run(args),
        Job::Prove(args) => prove::run(args),
        Job::Archive(args) => archive::run(args),
        Job::Decode(args) => decode::run(args),
        Job::Record(args) => record::run(args),
    }
}

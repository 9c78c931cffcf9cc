//! `keel`: one binary, one subcommand a job.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
#[cfg(feature = "ship")]
use keel_tools::ship;
use keel_tools::{
    archive, brake, cases, checkpoint, compliance, deadman, decode, demo, drill, exchange, explain, export, keys, kyc,
    limits, live, prove, record, replay, report, retain, risk, tail, top, verify,
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
    /// The brake of a running node: where it stands, stop it, release it.
    Brake(brake::Args),
    /// The limits: what they are, how they came to be, and the way to new ones.
    Limits(limits::Args),
    /// The account and its owner: the registry, what they are to the venue, and where the two part.
    Kyc(kyc::Args),
    /// People's keys: make one, sign with it.
    Keys(keys::Args),
    /// Cases: from an alert of surveillance to the report, step by step, signed; for those who hold a role.
    Cases(cases::Args),
    /// Watch over a node and cancel everything when it falls silent.
    Deadman(deadman::Args),
    /// Play the days that broke others against the brake, and report.
    Drill(drill::Args),
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
    /// The rules of surveillance over a journal: alerts, and which rules are without data.
    Surveil(compliance::surveil::Args),
    /// Sanctions lists: take them in, ask them.
    Sanctions(compliance::sanctions::Args),
    /// Measure what a book could lose, from files.
    Risk(risk::Args),
    /// Check every byte of a journal and name what is wrong.
    Verify(verify::Args),
    /// Sign the state of a journal, and hand the signature to those who keep it.
    Checkpoint(checkpoint::Args),
    /// Write the proof that one record stands in a signed journal.
    Prove(prove::Args),
    /// Write a journal's records as tables: Parquet or CSV, a file for each kind.
    Export(export::Args),
    /// Write reports of a day: blotter, audit trail, decisions, limits, profit, risk, brake, execution cost, attestation.
    Report(report::Args),
    /// Compress a journal's sealed segments where they lie.
    Archive(archive::Args),
    /// Keep a journal by a schedule: compress, copy, delete what is old enough.
    Retain(retain::Args),
    /// Legal holds: what must not be deleted.
    Hold(retain::HoldArgs),
    /// Copy a journal's records into Postgres and Loki, each exactly once.
    #[cfg(feature = "ship")]
    Ship(ship::Args),
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
        Job::Brake(args) => brake::run(args),
        Job::Limits(args) => limits::run(args),
        Job::Kyc(args) => kyc::run(args),
        Job::Keys(args) => keys::run(args),
        Job::Cases(args) => cases::run(args),
        Job::Deadman(args) => deadman::run(args),
        Job::Drill(args) => drill::run(args),
        Job::Exchange(args) => exchange::run(args),
        Job::Tail(args) => tail::run(args).with_context(|| args.dir.display().to_string()),
        Job::Replay(args) => replay::run(args).with_context(|| args.dir.display().to_string()),
        Job::Explain(args) => explain::run(args).with_context(|| args.dir.display().to_string()),
        Job::Top(args) => top::run(args),
        Job::Surveil(args) => compliance::surveil::run(args).with_context(|| args.dir.display().to_string()),
        Job::Sanctions(args) => compliance::sanctions::run(args),
        Job::Risk(args) => risk::run(args),
        Job::Verify(args) => verify::run(args),
        Job::Checkpoint(args) => checkpoint::run(args),
        Job::Prove(args) => prove::run(args),
        Job::Export(args) => export::run(args).with_context(|| args.dir.display().to_string()),
        Job::Report(args) => report::run(args),
        Job::Archive(args) => archive::run(args),
        Job::Retain(args) => retain::run(args).with_context(|| args.dir.display().to_string()),
        Job::Hold(args) => retain::hold(args),
        #[cfg(feature = "ship")]
        Job::Ship(args) => ship::run(args),
        Job::Decode(args) => decode::run(args),
        Job::Record(args) => record::run(args),
    }
}

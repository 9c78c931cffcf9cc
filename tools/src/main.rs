//! `keel`: one binary, one subcommand a job.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// keel: a trading core for Bybit v5 USDT perpetuals.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Keel {
    #[command(subcommand)]
    job: Option<Job>,
}

#[derive(Debug, Subcommand)]
enum Job {}

fn main() -> ExitCode {
    let keel = Keel::parse();
    match keel.job {
        None => ExitCode::SUCCESS,
        Some(job) => match job {},
    }
}

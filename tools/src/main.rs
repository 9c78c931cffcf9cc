//! `keel`: one binary, one subcommand a job.

use clap::{Parser, Subcommand};
use keel_tools::exchange;
use std::process::ExitCode;

/// keel: a trading core for Bybit v5 USDT perpetuals.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Keel {
    #[command(subcommand)]
    job: Option<Job>,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Serve a simulated Bybit v5 venue that any client can trade on.
    Exchange(exchange::Args),
}

fn main() -> ExitCode {
    let keel = Keel::parse();
    let result = match keel.job {
        None => Ok(()),
        Some(Job::Exchange(args)) => exchange::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("keel: {why:#}");
            ExitCode::FAILURE
        }
    }
}

//! `keel run`: a node at the venue a configuration file names.
//!
//! It asks the venue first what the key may do and how the account is set up, and refuses with every reason and its
//! remedy; with `--watch` it starts all the same, and its brake cannot be released. It takes over what earlier runs on the
//! same journal left: positions, and orders that may still be open. It begins halted, and watches and records, and places
//! nothing, until two of the people in its configuration sign a request to release the brake (`keel brake`). Its engine and
//! its orders agent strike a heartbeat beside the journal, for `keel deadman`. Ctrl-C or SIGTERM cancels every open order
//! and ends with the summary.

use crate::config::{Config, Durability, Surveillance, notional};
use crate::deadman::BEAT;
use crate::node::board::Cell;
use crate::node::clock::Stopwatch;
use crate::node::run::{self, Pace, Running, Setup, Venue};
use crate::node::scenarios::Source;
use crate::node::thread::{Stop, nap};
use crate::summary::Summary;
use anyhow::{Context, Result, ensure};
use keel_core::event::CommandKind;
use keel_core::sizing::Sizing;
use keel_core::strategy::QuoterParams;
use keel_feed::session::{Config as FeedConfig, Topics};
use keel_gateway::sign::Signer;
use keel_journal::Options;
use keel_risk::limits::Limits;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long open orders may take to end.
const QUIET_WITHIN: f64 = 15.0;

/// What a person may say to `keel run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration; deploy/keel.toml is one to start from.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Start although the account may not go live: to watch and record, with a brake nobody can release.
    #[arg(long)]
    pub watch: bool,
    /// Check the configuration and the secrets, then end.
    #[arg(long)]
    pub check: bool,
}

/// `keel run`.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::load(&args.config)?;
    let setup = Setup { watching: args.watch, ..setup(&config)? };
    if args.check {
        println!("{} is valid", args.config.display());
        return Ok(());
    }
    let (stop, seed, data_dir) = (Stop::default(), setup.seed, setup.data_dir.clone());
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.flag()).context("watching for Ctrl-C")?;
    }
    let watch = Stopwatch::new();
    let from = watch.ticks();
    let mut node = run::start(setup)?;
    node.stand_aside();
    tracing::info!(run = node.run, http = ?node.http, "node started, halted; keel brake releases it");
    while !stop.is_raised() && !node.stop.is_raised() {
        nap(LOOK);
    }
    let (traded, sweeps) = (node.board.get(Cell::Approved) > 0, node.board.get(Cell::Sweeps));
    let quiet = |node: &Running| {
        let swept = !traded || node.board.get(Cell::Sweeps) > sweeps;
        swept && node.board.get(Cell::OpenOrders) == 0
    };
    tracing::info!("ending: cancelling what is open");
    node.command(CommandKind::Shutdown, "node")?;
    let asked = watch.ticks();
    while !quiet(&node) && !node.stop.is_raised() && seconds(&watch, asked) < QUIET_WITHIN {
        nap(LOOK);
    }
    let (left, proven) = (node.board.get(Cell::OpenOrders), quiet(&node));
    let summary = Summary::new(node.finish()?, &data_dir, seed, seconds(&watch, from));
    println!("{}", summary.page());
    ensure!(left == 0, "{left} orders may still be open at the venue: cancel them there, then look why");
    ensure!(proven, "the venue did not say that nothing is open: look there, then look why");
    ensure!(summary.is_verified(), "the journal does not verify; `keel verify {}` says more", data_dir.display());
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(watch: &Stopwatch, from: u64) -> f64 {
    watch.nanos(from, watch.ticks()) as f64 / 1e9
}

pub(crate) fn setup(config: &Config) -> Result<Setup> {
    let (key, secret) = (config.keys.key.read()?, config.keys.secret.read()?);
    let quoter = &config.quoter;
    Ok(Setup {
        venue: Venue {
            rest: config.venue.rest.clone(),
            public: config.venue.public.clone(),
            private: config.venue.private.clone(),
            trade: config.venue.trade.clone(),
            authority: config.venue.authority.clone(),
        },
        signer: Signer::new(&key, secret.as_bytes()),
        symbols: config.symbols()?,
        feed: FeedConfig {
            topics: Topics { touch: true, ..Topics::default() },
            seed: config.node.seed,
            ..FeedConfig::default()
        },
        lines: config.lines(),
        data_dir: config.node.data_dir.clone(),
        journal: Options {
            segment_bytes: config.journal.segment_mib << 20,
            durability: match config.journal.durability {
                Durability::Window => keel_journal::Durability::Window,
                Durability::Sync => keel_journal::Durability::Sync,
            },
            ..Options::default()
        },
        plan: config.plan()?,
        spin: config.node.spin,
        seed: config.node.seed,
        quoter: QuoterParams {
            inventory: notional(quoter.inventory_usdt)?,
            tolerance: quoter.tolerance_ticks,
            patience: quoter.patience_ms * 1_000_000,
            penance: quoter.penance_ms * 1_000_000,
            alarm: i64::from(quoter.alarm_permille),
        },
        sizing: Sizing {
            clip: notional(config.sizing.clip_usdt)?,
            position: notional(config.sizing.position_usdt)?,
            participation: config.sizing.participation_permille,
        },
        limits: limits(config)?,
        scenarios: match &config.scenarios.file {
            Some(path) => Source::File(path.clone()),
            None => Source::Venue(usize::try_from(config.scenarios.days)?),
        },
        people: config.people()?,
        http: Some(config.http.listen),
        pace: Pace::Real,
        policy: Some(config.account.policy()),
        watching: false,
        disconnect: config.account.disconnect_seconds,
        terms: Some(config.terms()?),
        beat: Some(config.node.data_dir.join(BEAT)),
        surveillance: config.surveillance.as_ref().map(Surveillance::files),
        config: Sha256::digest(format!("{config:?}")).into(),
    })
}

/// The first version of the limits: later ones are signed.
pub(crate) fn limits(config: &Config) -> Result<Limits> {
    let mut limits = Limits::demo();
    if let Some(value) = config.limits.order_usdt {
        limits.instrument.max_order_value = notional(value)?;
        limits.instrument.max_resting_value = limits.instrument.max_order_value;
    }
    if let Some(value) = config.limits.position_usdt {
        limits.instrument.max_position = notional(value)?;
    }
    if let Some(value) = config.limits.gross_usdt {
        limits.max_gross = notional(value)?;
        limits.max_net = limits.max_net.min(limits.max_gross);
    }
    if let Some(tail) = &mut limits.tail {
        tail.max_loss = config.limits.var_usdt.map_or(Ok(tail.max_loss), notional)?;
        tail.max_shortfall =
            config.limits.shortfall_usdt.map_or(Ok(tail.max_shortfall.max(tail.max_loss)), notional)?;
    }
    if let Some(share) = config.limits.volume_bps {
        limits.instrument.max_participation = share;
    }
    if let Some(rate) = config.limits.messages_per_second {
        limits.message_rate = rate;
        (limits.message_burst, limits.cancel_reserve) = (40, 10);
        limits.strategies.iter_mut().for_each(|strategy| strategy.rate = rate);
    }
    limits.check().map_err(|why| anyhow::anyhow!("limits: {why:?}"))?;
    Ok(limits)
}

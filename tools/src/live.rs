//! `keel run`: a node at the venue a configuration file names.
//!
//! It begins halted. With `--arm NAME` the person of that name lets it trade once the links stand and the account was
//! compared; without it the node watches and records, and places nothing. Ctrl-C or SIGTERM cancels every open order
//! and ends with the summary.

use crate::config::{Config, notional};
use crate::deadman::BEAT;
use crate::node::board::Cell;
use crate::node::clock::Stopwatch;
use crate::node::run::{self, Pace, Running, Setup, Venue};
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
    /// Let it trade, in this person's name. Without it the node only watches.
    #[arg(long, value_name = "NAME")]
    pub arm: Option<String>,
    /// Check the configuration and the secrets, then end.
    #[arg(long)]
    pub check: bool,
}

/// `keel run`.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::load(&args.config)?;
    let mut setup = setup(&config)?;
    setup.arming = args.arm.is_some();
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
    tracing::info!(run = node.run, http = ?node.http, "node started, halted");
    let armed = attend(&mut node, args, &stop)?;
    let sweeps = node.board.get(Cell::Sweeps);
    let quiet = |node: &Running| {
        let swept = !armed || node.board.get(Cell::Sweeps) > sweeps;
        swept && node.board.get(Cell::OpenOrders) == 0
    };
    tracing::info!("ending: cancelling what is open");
    node.command(CommandKind::Shutdown, args.arm.as_deref().unwrap_or("node"))?;
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

/// Arms when asked to and ready; returns when it is time to end.
fn attend(node: &mut Running, args: &Args, stop: &Stop) -> Result<bool> {
    let mut armed = false;
    while !stop.is_raised() && !node.stop.is_raised() {
        if let (Some(name), false, true) = (&args.arm, armed, node.is_ready()) {
            node.command(CommandKind::Arm, name)?;
            tracing::info!("armed in the name of {name}");
            armed = true;
        }
        nap(LOOK);
    }
    Ok(armed)
}

#[allow(clippy::cast_precision_loss, reason = "seconds for people")]
fn seconds(watch: &Stopwatch, from: u64) -> f64 {
    watch.nanos(from, watch.ticks()) as f64 / 1e9
}

fn setup(config: &Config) -> Result<Setup> {
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
        data_dir: config.node.data_dir.clone(),
        journal: Options { segment_bytes: config.journal.segment_mib << 20, ..Options::default() },
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
        http: Some(config.http.listen),
        pace: Pace::Real,
        policy: Some(config.account.policy()),
        arming: false,
        disconnect: config.account.disconnect_seconds,
        beat: Some(config.node.data_dir.join(BEAT)),
        config: Sha256::digest(format!("{config:?}")).into(),
    })
}

fn limits(config: &Config) -> Result<Limits> {
    let mut limits = Limits::demo().without_tail();
    if let Some(value) = config.limits.order_usdt {
        limits.instrument.max_order_value = notional(value)?;
    }
    if let Some(value) = config.limits.position_usdt {
        limits.instrument.max_position = notional(value)?;
    }
    if let Some(value) = config.limits.gross_usdt {
        limits.max_gross = notional(value)?;
        limits.max_net = limits.max_net.min(limits.max_gross);
    }
    if let Some(rate) = config.limits.messages_per_second {
        limits.message_rate = rate;
        (limits.message_burst, limits.cancel_reserve) = (40, 10);
        limits.strategies.iter_mut().for_each(|strategy| strategy.rate = rate);
    }
    limits.check().map_err(|why| anyhow::anyhow!("limits: {why:?}"))?;
    Ok(limits)
}

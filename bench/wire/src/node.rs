//! keel as the measured client: the whole node, with a strategy that orders on each move of the touch.
//!
//! Everything an order passes in production is on: gap check, book, sizing, every check of the gate with value at risk
//! and stress on the worst-case-fill book, the journal's append, the templates, TLS. Only the rule is simpler than the
//! quoter's, because every client has to be able to follow it; and limits of rate and of what may be in flight are beyond
//! any load here, because no other client has them. They are checked all the same. What became of each order is counted
//! from the journal.

use crate::account;
use crate::null::until_end_of_input;
use crate::report::hop;
use crate::rule::{Follower, Seen};
use crate::venue::url;
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::DocumentKind;
use keel_core::ids::Symbol;
use keel_core::sizing::Sizing;
use keel_core::strategy::QuoterParams;
use keel_core::units::Notional;
use keel_feed::session::{Config as FeedConfig, Topics};
use keel_gateway::sign::Signer;
use keel_journal::Options;
use keel_risk::limits::{Limits, MAX_EVENTS, MarkSource};
use keel_risk::throwaway::Throwaway;
use keel_risk::trips::{Cause, Ladder};
use keel_tools::node::board::Cell;
use keel_tools::node::feed::Lines;
use keel_tools::node::plan::Plan;
use keel_tools::node::run::{Pace, Running, Setup, Venue, start_with};
use keel_tools::node::scenarios::Source;
use keel_tools::node::thread::nap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Looks of 10 ms until the links must stand.
const LOOKS: u32 = 2_000;
/// Messages a second the gate allows, and orders in flight: more than any load here.
const RATE: u32 = 1_000_000;

/// What the node is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Of the exchange.
    port: u16,
    /// The only authority to trust.
    #[arg(long)]
    authority: Option<PathBuf>,
    /// Its threads.
    #[arg(long)]
    plan: String,
    /// Instruments; the rule trades the first, the quoter the others.
    #[arg(long, default_value_t = 1)]
    instruments: usize,
    /// Ask the kernel when it received each byte.
    #[arg(long)]
    stamps: bool,
    /// Serve /metrics here.
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Keep the journal here, instead of nowhere.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Every hot thread offers its CPU to others when it has nothing to do.
    #[arg(long)]
    yielding: bool,
}

fn limits() -> Limits {
    let mut limits = Limits::demo();
    (limits.message_rate, limits.message_burst, limits.cancel_reserve) = (RATE, RATE, 10);
    (limits.execution_window, limits.reject_window) = (1_000, 1_000);
    (limits.duplicate_window, limits.mark) = (0, MarkSource::TickerOrMid);
    // an order that is not yet proven gone is reserved: at a high rate several are
    limits.instrument.max_resting_value = Notional::whole(500_000);
    (limits.instrument.max_position, limits.max_gross) = (Notional::whole(500_000), Notional::whole(5_000_000));
    (limits.max_net, limits.max_stress) = (limits.max_gross, limits.max_gross);
    (limits.max_open_orders, limits.instrument.max_open_orders) = (500, 500);
    if let Some(tail) = &mut limits.tail {
        (tail.max_loss, tail.max_shortfall) = (Notional::whole(400_000), Notional::whole(600_000));
    }
    // one order a tick that never trades: no share of volume, no message a fill; and a quoter in a made market loses, slowly
    limits.instrument.max_participation = 0;
    let losses = [Cause::Drawdown, Cause::Day, Cause::RollingDay, Cause::Minute, Cause::FiveMinutes];
    for cause in [Cause::Runaway, Cause::OrderToTrade, Cause::Rejects].into_iter().chain(losses) {
        limits.trips.ladders[cause as usize] = Ladder::new(i64::MAX - 2, i64::MAX - 1, i64::MAX);
    }
    for strategy in &mut limits.strategies {
        (strategy.rate, strategy.max_order_to_trade) = (RATE, RATE);
        (strategy.max_executions, strategy.max_rejects) = (MAX_EVENTS, MAX_EVENTS);
    }
    limits
}

/// Two people who do not exist release the brake.
fn arm(node: &mut Running) -> Result<()> {
    for _ in 0..LOOKS {
        if node.board.get(Cell::Answered) == 0 || node.board.get(Cell::Doubt) != 0 {
            let limits = u32::try_from(node.board.get(Cell::LimitsVersion))?;
            let (brake, wall) = (node.board.get(Cell::BrakeVersion), node.wall());
            node.bring(DocumentKind::Arm, "bench", &Throwaway::new(1).arm(brake, limits, wall, "a measurement"))?;
        }
        nap(Duration::from_millis(10));
        if node.board.get(Cell::BrakeState) == 0 {
            return Ok(());
        }
    }
    bail!("the brake was not released")
}

fn setup(args: &Args, data_dir: PathBuf) -> Result<Setup> {
    let (port, authority) = (args.port, args.authority.as_deref());
    let scheme = if authority.is_some() { "https" } else { "http" };
    let symbols = crate::venue::symbols(args.instruments);
    let symbols = symbols.iter().map(|name| Symbol::new(name.as_bytes()).context("a symbol")).collect::<Result<_>>()?;
    Ok(Setup {
        venue: Venue {
            rest: format!("{scheme}://localhost:{port}"),
            public: url(port, authority, "/v5/public/linear"),
            private: url(port, authority, "/v5/private"),
            trade: url(port, authority, "/v5/trade"),
            authority: authority.map(std::path::Path::to_owned),
        },
        signer: Signer::new("demo-key", b"demo-secret"),
        symbols,
        feed: FeedConfig {
            topics: Topics { trades: args.instruments > 1, ..Topics::default() },
            ..FeedConfig::default()
        },
        lines: Lines { stamps: args.stamps, ..Lines::default() },
        data_dir,
        journal: Options::default(),
        plan: args.plan.parse::<Plan>()?,
        spin: !args.yielding,
        seed: 1,
        quoter: QuoterParams::default(),
        sizing: Sizing { participation: 1_000, ..Sizing::default() },
        limits: limits(),
        scenarios: Source::Generated(1),
        people: Throwaway::new(1).rows(),
        policy: None,
        watching: false,
        disconnect: None,
        terms: None,
        beat: None,
        surveillance: None,
        http: args.http,
        pace: Pace::Real,
        config: [0; 32],
    })
}

/// Runs until its input ends, then says where its time went and what became of its orders.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let journal = args.data_dir.clone().unwrap_or_else(|| dir.path().join("journal"));
    let seen = Arc::new(Seen::default());
    let mut node = start_with(setup(args, journal.clone())?, Follower::new(Arc::clone(&seen)))?;
    node.stand_aside();
    for _ in 0..LOOKS {
        if node.is_ready() {
            break;
        }
        nap(Duration::from_millis(10));
    }
    ensure!(node.is_ready(), "the links did not stand");
    arm(&mut node)?;
    println!("ready");
    std::io::stdout().flush()?;
    let over = until_end_of_input();
    while !over.load(Ordering::Acquire) && !node.stop.is_raised() {
        nap(Duration::from_millis(50));
    }
    let report = node.finish()?;
    let hops: Vec<serde_json::Value> = report.hops.iter().map(|(which, took)| hop(which.name(), took)).collect();
    let (allocations, counted) = seen.allocations();
    println!(
        "{}",
        serde_json::json!({
            "asked": seen.asked.load(Ordering::Acquire), "ends": account::of(&journal)?, "hops": hops,
            "hot_allocations": allocations, "hot_allocations_over": counted, "facts": report.counts.facts,
        })
    );
    Ok(())
}

//! keel as the measured client: the whole node, with a strategy that orders on each move of the touch.
//!
//! Everything an order passes in production is on: gap check, book, sizing, every check of the gate with value at risk
//! and stress on the worst-case-fill book, the journal's append, the templates, TLS. Only the rule is simpler than the
//! quoter's, because every client has to be able to follow it.

use crate::null::until_end_of_input;
use crate::venue::url;
use anyhow::{Context, Result, bail, ensure};
use keel_core::desk::View;
use keel_core::event::{DocumentKind, Side};
use keel_core::ids::{InstrumentId, StrategyId, Symbol};
use keel_core::sizing::Sizing;
use keel_core::strategy::{QuoterParams, Strategy, Wish, Wishes};
use keel_core::units::Px;
use keel_feed::session::{Config as FeedConfig, Topics};
use keel_gateway::sign::Signer;
use keel_journal::Options;
use keel_risk::limits::{Limits, MarkSource};
use keel_risk::throwaway::Throwaway;
use keel_risk::trips::{Cause, Ladder};
use keel_tools::node::board::Cell;
use keel_tools::node::feed::Lines;
use keel_tools::node::plan::Plan;
use keel_tools::node::run::{Pace, Running, Setup, Venue, start_with};
use keel_tools::node::scenarios::Source;
use keel_tools::node::thread::nap;
use keel_wire::tape::SYMBOL;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Looks of 10 ms until the links must stand.
const LOOKS: u32 = 2_000;
/// Messages a second the gate allows: more than any load here.
const RATE: u32 = 1_000_000;

/// Asks for what is at the best bid whenever that is another price: nothing ever is, the order ends at once.
#[derive(Debug, Default)]
struct Follower {
    last: Px,
}

impl Strategy for Follower {
    fn id(&self) -> StrategyId {
        StrategyId(0)
    }

    fn think(&mut self, view: &View<'_>, instrument: InstrumentId, wishes: &mut Wishes) {
        let Some(touch) = view.desk.seat(instrument).and_then(|seat| seat.touch()) else { return };
        if touch.bid.px != self.last {
            self.last = touch.bid.px;
            wishes.push(Wish::Take { side: Side::Buy, limit: touch.bid.px, reduce: false });
        }
    }

    fn refused(&mut self, _: &View<'_>, _: InstrumentId, _: &Wish) {}
}

fn limits() -> Limits {
    let mut limits = Limits::demo();
    (limits.message_rate, limits.message_burst, limits.cancel_reserve) = (RATE, RATE, 10);
    (limits.duplicate_window, limits.mark) = (0, MarkSource::TickerOrMid);
    // one order a tick that never trades: no share of volume, no message a fill
    limits.instrument.max_participation = 0;
    for cause in [Cause::Runaway, Cause::OrderToTrade] {
        limits.trips.ladders[cause as usize] = Ladder::new(i64::MAX - 2, i64::MAX - 1, i64::MAX);
    }
    for strategy in &mut limits.strategies {
        (strategy.rate, strategy.max_order_to_trade) = (RATE, RATE);
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

/// Runs until its input ends, then says where its time went.
pub(crate) fn run(port: u16, authority: Option<&Path>, plan: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let scheme = if authority.is_some() { "https" } else { "http" };
    let setup = Setup {
        venue: Venue {
            rest: format!("{scheme}://localhost:{port}"),
            public: url(port, authority, "/v5/public/linear"),
            private: url(port, authority, "/v5/private"),
            trade: url(port, authority, "/v5/trade"),
            authority: authority.map(Path::to_owned),
        },
        signer: Signer::new("demo-key", b"demo-secret"),
        symbols: vec![Symbol::new(SYMBOL.as_bytes()).context("the symbol")?],
        feed: FeedConfig { topics: Topics { trades: false, ..Topics::default() }, ..FeedConfig::default() },
        lines: Lines::default(),
        data_dir: dir.path().join("journal"),
        journal: Options::default(),
        plan: plan.parse::<Plan>()?,
        spin: true,
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
        http: None,
        pace: Pace::Real,
        config: [0; 32],
    };
    let mut node = start_with(setup, Follower::default())?;
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
        nap(Duration::from_millis(5));
    }
    let report = node.finish()?;
    let hops: Vec<serde_json::Value> = report
        .hops
        .iter()
        .map(|(hop, took)| {
            serde_json::json!({
                "hop": hop.name(), "count": took.len(),
                "p50": took.value_at_quantile(0.5), "p99": took.value_at_quantile(0.99), "max": took.max(),
            })
        })
        .collect();
    println!(
        "{}",
        serde_json::json!({ "approved": report.counts.approved, "refused": report.counts.refused, "hops": hops })
    );
    Ok(())
}

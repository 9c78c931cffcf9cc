//! `keel deadman`: a second process that cancels everything when the node falls silent.
//!
//! In: the node's heartbeat, its own key, its own connection. Out: cancel-all until the venue says that nothing is open;
//! with `flatten`, reduce-only market slices until nothing is held; alarms on stderr. Never: an order that could add
//! risk; a start without the rights to act; silence about what it did.
//!
//! ```text
//!   waiting --beats--> watching --no beat for `silence_ms`--> firing --nothing open, nothing held--> waiting for new beats
//!                         '--the node says it is at rest--> waiting
//! ```
//!
//! A node that only slept finds the word `fired` on the page when it wakes, before it does anything else, and halts.

use crate::config::{Config, notional};
use crate::node::beat::{Beat, Heart, State};
use crate::node::clock::{Clock, Stopwatch, system_wall};
use crate::node::inquiry::Inquiry;
use crate::node::rest::Client;
use crate::node::run::Pace;
use crate::node::thread::{Stop, nap};
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::{ExecEvent, Side, VenuePosition};
use keel_core::ids::Text;
use keel_core::instrument::Instruments;
use keel_core::units::{Mono, Notional, Qty};
use keel_gateway::decode::{Decoder, Source};
use keel_gateway::rest::{Answer, Call, parse};
use keel_gateway::sign::Signer;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the heartbeat.
const LOOK: Duration = Duration::from_millis(10);
/// Between a cancel-all or a slice and the question whether it worked.
const PAUSE: Duration = Duration::from_millis(100);
/// After a request that failed.
const RETRY: Duration = Duration::from_millis(250);
/// Everything is looked at once more this long after it was quiet: what was under way may have landed meanwhile.
const AGAIN: Duration = Duration::from_secs(1);

/// What a person may say to `keel deadman`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The node's configuration, with a [deadman] section.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Close every position too, whatever the configuration says.
    #[arg(long)]
    pub flatten: bool,
    /// Check the configuration and the key's rights at the venue, then end.
    #[arg(long)]
    pub check: bool,
}

/// Is the heart beating? A small machine, so that it can be tested without a clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse {
    counts: [u64; 2],
    moved: [Mono; 2],
    watching: bool,
}

/// What a look at the heartbeat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody to watch over.
    Nobody,
    /// It beats.
    Beating,
    /// This heart has been silent for so many nanoseconds.
    Silent(Heart, u64),
}

impl Pulse {
    /// Looks once. Silence longer than `patience` nanoseconds is told once; new beats begin the watch anew.
    pub fn look(&mut self, now: Mono, counts: [u64; 2], state: State, patience: u64) -> Verdict {
        let alive = counts.iter().zip(self.counts).any(|(have, had)| *have != had);
        for ((count, had), moved) in counts.iter().zip(&mut self.counts).zip(&mut self.moved) {
            if count != had || !self.watching {
                (*had, *moved) = (*count, now);
            }
        }
        if state != State::AtWork {
            self.watching = false;
            return Verdict::Nobody;
        }
        if !self.watching {
            self.watching = alive;
            return if alive { Verdict::Beating } else { Verdict::Nobody };
        }
        let silent = self.moved.map(|moved| now.since(moved));
        for (heart, silent) in [Heart::Engine, Heart::Orders].into_iter().zip(silent) {
            if silent >= patience {
                self.watching = false;
                return Verdict::Silent(heart, silent);
            }
        }
        Verdict::Beating
    }
}

/// `keel deadman`.
pub fn run(args: &Args) -> Result<()> {
    let config = Config::load(&args.config)?;
    let section =
        config.deadman.as_ref().context("the configuration has no [deadman] section: it needs a key of its own")?;
    let (key, secret) = (section.key.read()?, section.secret.read()?);
    let client = Client::new(&config.venue.rest, config.venue.authority.as_deref())?;
    let signer = Signer::new(&key, secret.as_bytes());
    let inquiry = Inquiry { client: &client, signer: &signer, pace: &Pace::Real };
    let instruments =
        inquiry.instruments(&config.symbols()?).context("a dead man's switch that cannot act does not start")?;
    let hand = Hand {
        client,
        signer,
        instruments,
        flatten: args.flatten || section.flatten,
        slice: notional(section.slice_usdt)?,
    };
    hand.check().context("a dead man's switch that cannot act does not start")?;
    if args.check {
        println!("{} is valid, and the key may act", args.config.display());
        return Ok(());
    }
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.flag()).context("watching for Ctrl-C")?;
    }
    watch(&config.node.data_dir.join(BEAT), section.silence_ms, &hand, &stop);
    Ok(())
}

/// Name of the heartbeat beside the journal.
pub const BEAT: &str = "beat";

fn watch(path: &Path, silence_ms: u64, hand: &Hand, stop: &Stop) {
    tracing::info!(silence_ms, flatten = hand.flatten, "watching {}", path.display());
    let (mut clock, mut pulse) = (Clock::real(&Stopwatch::new()), Pulse::default());
    let mut beat = None;
    let mut watched = false;
    while !stop.is_raised() {
        nap(LOOK);
        beat = beat.or_else(|| Beat::watch(path).ok());
        let Some(page) = &beat else { continue };
        let counts = [page.count(Heart::Engine), page.count(Heart::Orders)];
        let verdict = pulse.look(clock.now().mono, counts, page.state(), silence_ms * 1_000_000);
        if std::mem::replace(&mut watched, verdict == Verdict::Beating) != watched {
            tracing::info!("{}", if watched { "the node beats" } else { "there is no node to watch over" });
        }
        if let Verdict::Silent(heart, nanos) = verdict {
            page.fire();
            tracing::error!("the node's {heart:?} has been silent for {} ms: cancelling everything", nanos / 1_000_000);
            let rounds = hand.act(stop);
            tracing::error!(
                "nothing is open{} after {rounds} rounds; look at the node before it trades again",
                if hand.flatten { ", nothing is held" } else { "" }
            );
        }
    }
}

/// What reaches the venue.
struct Hand {
    client: Client,
    signer: Signer,
    instruments: Instruments,
    flatten: bool,
    slice: Notional,
}

impl Hand {
    /// Could it act? The key must be allowed to trade, must not be allowed to withdraw, and the questions must be answered.
    fn check(&self) -> Result<()> {
        let (answer, _) = self.ask(&Call::KeyInfo)?;
        let Answer::Key(key) = answer else { bail!("the venue did not tell what the key may do") };
        ensure!(!key.read_only && key.trades, "its key may not cancel orders: allow contract orders");
        ensure!(key.positions || !self.flatten, "its key may not close positions: allow contract positions");
        ensure!(!key.withdraws, "its key may withdraw: make one that may not");
        self.open_orders()?;
        self.positions().map(|_| ())
    }

    fn ask(&self, call: &Call) -> Result<(Answer, Vec<ExecEvent>)> {
        let reply = self.client.call(&call.request(&self.signer, system_wall()))?;
        let (mut decoder, mut facts) = (Decoder::new(&self.instruments), Vec::new());
        let answer =
            parse(call, reply.status, &reply.body, &mut decoder, Source::default(), &mut |fact| facts.push(fact));
        Ok((answer.map_err(|why| anyhow::anyhow!("{call:?}: {why:?}"))?, facts))
    }

    /// How many rows the first page of the open orders has, whoever placed them and on whatever.
    fn open_orders(&self) -> Result<usize> {
        match self.ask(&Call::OpenOrders { cursor: String::new() })? {
            (Answer::Facts { rows, .. }, _) => Ok(rows),
            _ => bail!("the venue did not list its open orders"),
        }
    }

    fn positions(&self) -> Result<Vec<VenuePosition>> {
        let (_, facts) = self.ask(&Call::Positions { cursor: String::new() })?;
        let held = |fact| if let ExecEvent::Position(it) = fact { Some(it) } else { None };
        Ok(facts.into_iter().filter_map(held).filter(|it| !it.size.is_zero()).collect())
    }

    /// Until nothing is open and, if told so, nothing is held, twice in a row with a second between. Never gives up.
    fn act(&self, stop: &Stop) -> u32 {
        let mut rounds = 0;
        let mut quiet = 0;
        while quiet < 2 && !stop.is_raised() {
            rounds += 1;
            match self.round() {
                Ok(true) => {
                    quiet += 1;
                    nap(if quiet < 2 { AGAIN } else { PAUSE });
                }
                Ok(false) => quiet = 0,
                Err(why) => {
                    quiet = 0;
                    tracing::error!("the venue could not be reached, trying again: {why:#}");
                    nap(RETRY);
                }
            }
        }
        rounds
    }

    /// One round: cancel, slice, look. `true` when there was nothing left to do.
    fn round(&self) -> Result<bool> {
        self.ask(&Call::CancelAll)?;
        nap(PAUSE);
        let open = self.open_orders()?;
        if open > 0 {
            tracing::warn!("{open} orders are open still");
            return Ok(false);
        }
        if !self.flatten {
            return Ok(true);
        }
        let held = self.positions()?;
        for position in &held {
            self.slice(position)?;
        }
        if !held.is_empty() {
            nap(PAUSE);
        }
        Ok(held.is_empty())
    }

    /// Closes part of a position at the market, reduce-only.
    fn slice(&self, position: &VenuePosition) -> Result<()> {
        let Some(row) = self.instruments.get(position.instrument) else { return Ok(()) };
        let side = if position.size > Qty::ZERO { Side::Sell } else { Side::Buy };
        let qty = slice_of(position, self.slice, row.step, row.max_market_qty);
        let name = format!("deadman-{}", system_wall().nanos());
        let link = Text::new(name.as_bytes()).context("a link")?;
        tracing::warn!("closing {qty} of {} {}", position.size, row.symbol);
        self.ask(&Call::Reduce { symbol: row.symbol, side, qty, link }).map(|_| ())
    }
}

/// As much as the slice is worth at the mark, in steps, one at least, never more than is held or than the venue takes.
fn slice_of(position: &VenuePosition, slice: Notional, step: Qty, most: Qty) -> Qty {
    let held = position.size.abs();
    let worth = match position.mark.raw() {
        0 => i64::MAX,
        mark => {
            let coins = i128::from(slice.raw()) * i128::from(keel_core::units::SCALE) / i128::from(mark);
            i64::try_from(coins).unwrap_or(i64::MAX)
        }
    };
    Qty::from_raw(worth).min(most).floor_to(step).max(step).min(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::Px;

    const PATIENCE: u64 = 500_000_000;

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    #[test]
    fn silence_of_either_heart_is_told_once_and_only_of_a_node_at_work() {
        let mut pulse = Pulse::default();
        let mut look = |millis, engine, orders, state| pulse.look(at(millis), [engine, orders], state, PATIENCE);
        assert_eq!(look(0, 0, 0, State::AtWork), Verdict::Nobody, "a page nobody strikes is no node");
        assert_eq!(look(10_000, 0, 0, State::AtWork), Verdict::Nobody);
        assert_eq!(look(10_010, 5, 5, State::AtWork), Verdict::Beating);
        assert_eq!(look(10_400, 5, 9, State::AtWork), Verdict::Beating);
        assert_eq!(look(10_510, 5, 20, State::AtWork), Verdict::Silent(Heart::Engine, 500_000_000));
        assert_eq!(look(11_900, 5, 20, State::AtWork), Verdict::Nobody, "told once");
        assert_eq!(look(12_000, 6, 21, State::AtWork), Verdict::Beating, "it woke, or another began");
        assert_eq!(look(12_600, 90, 21, State::AtWork), Verdict::Silent(Heart::Orders, 600_000_000));
        assert_eq!(look(12_700, 91, 22, State::AtWork), Verdict::Beating);
        assert_eq!(look(20_000, 91, 22, State::AtRest), Verdict::Nobody, "it ended in good order");
    }

    #[test]
    fn a_slice_is_what_it_is_worth_and_never_more_than_is_held() {
        let check = |size: &str, mark: i64, slice: i64, expected: &str| {
            let size = Qty::parse(size.as_bytes()).unwrap();
            let position = VenuePosition { size, mark: Px::whole(mark), ..VenuePosition::default() };
            let (step, most) = (Qty::parse(b"0.001").unwrap(), Qty::whole(2));
            let qty = slice_of(&position, Notional::whole(slice), step, most);
            assert_eq!(qty, Qty::parse(expected.as_bytes()).unwrap(), "{size} at {mark}");
        };
        check("1", 60_000, 6_000, "0.1");
        check("-1", 60_000, 6_100, "0.101");
        check("0.05", 60_000, 6_000, "0.05");
        check("10", 60_000, 1_000_000, "2");
        check("1", 60_000, 1, "0.001");
        check("3", 0, 5_000, "2");
    }
}

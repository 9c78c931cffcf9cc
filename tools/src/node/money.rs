//! The teller: asks the venue from time to time what money came and went, and what the account and its key are to it.
//!
//! In: a client that may block, the journal of earlier runs. Out: [`Petition`]s for the engine, which records them. Never
//! on a hot thread; never in a lockstep run; never a movement journaled twice, whatever died in between; never a name, an
//! address or an amount in the log.
//!
//! ```text
//!   every poll   query-api                       -> Standing: at the start, once a day, and when it changed
//!                each list, oldest window first  -> Flow: each id once in each state
//!
//!   window       [read to here - overlap, or the oldest movement under way .. now], as wide as the venue allows
//!                read to its last page, sorted by time, handed on oldest first: what a crash cuts off is read again
//! ```
//!
//! What was journaled is the memory: a restart reads it back, and how far each list was read with it.

use super::board::{Board, Cell};
use super::clock::system_wall;
use super::engine::Petition;
use super::rest::Client;
use super::{Part, Report};
use anyhow::{Context, Result, anyhow};
use keel_core::agent::Agent;
use keel_core::event::{Flow, FlowState, Kind, Standing, read};
use keel_core::ids::Text;
use keel_core::ring::{Full, Producer};
use keel_core::units::{Mono, Now, Px, Wall};
use keel_gateway::rest::money::{self, List, Question, Reading};
use keel_gateway::sign::Signer;
use keel_journal::Reader;
use keel_risk::kyc::KycPolicy;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MINUTE: u64 = 60_000_000_000;
const DAY: u64 = 1_440 * MINUTE;
/// Pages of one window; one with more is asked for again, half as wide.
const MAX_PAGES: usize = 2_000;
/// Rows refused that are remembered, so that each is told once; beyond it each is told again.
const MAX_REFUSED: usize = 10_000;
/// A movement older than this is not valued: the index of today says nothing about it.
const FRESH: u64 = 10 * MINUTE;
/// How long an index price is good for.
const PRICE_LIFE: u64 = MINUTE / 2;
/// Between two looks at the evidence.
const LOOK: u64 = MINUTE;
const LISTS: usize = List::ALL.len();

/// A document the registry points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of it.
    pub sha256: [u8; 32],
}

impl Evidence {
    /// Is it there, and what the registry says?
    #[must_use]
    pub fn holds(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|bytes| self.sha256 == <[u8; 32]>::from(Sha256::digest(bytes)))
    }
}

/// What is asked how often, and what the account has to be.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Nanoseconds between two polls of one list.
    pub every: u64,
    /// How far back the first run reads, nanoseconds.
    pub lookback: u64,
    /// What the account has to be; `None` where there is no registry.
    pub policy: Option<KycPolicy>,
    /// What the registry points at.
    pub evidence: Vec<Evidence>,
}

/// Nanoseconds that are read again each time: rows the venue shows late.
const fn overlap(list: List) -> u64 {
    match list {
        List::TransactionLog => 2 * MINUTE,
        _ => DAY,
    }
}

type Key = (u8, u8, String);

/// What the journal holds already.
#[derive(Clone, Debug, Default)]
pub struct Known {
    seen: HashMap<Key, (Wall, List)>,
    under_way: HashMap<(List, String), Wall>,
    newest: HashMap<List, Wall>,
    trim_at: usize,
    /// What the account last was.
    pub standing: Option<Standing>,
}

impl Known {
    /// Reads the journal in a directory; one that is not there knows nothing.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut all = Self::default();
        if !dir.exists() {
            return Ok(all);
        }
        let trouble = |why| anyhow!("reading {}: {why}", dir.display());
        let mut reader = Reader::open(dir).map_err(trouble)?;
        while let Some(entry) = reader.poll().map_err(trouble)? {
            match entry.kind {
                Some(Kind::Flow) => {
                    let unread = || format!("record {} cannot be read", entry.seq.0);
                    all.take(&read::<Flow>(entry.payload).with_context(unread)?);
                }
                Some(Kind::Standing) => all.standing = read(entry.payload).or(all.standing),
                _ => {}
            }
        }
        Ok(all)
    }

    /// Takes in a movement; false when it is known in this state.
    pub fn take(&mut self, flow: &Flow) -> bool {
        let (list, id) = (List::of(flow), flow.id.as_str().to_owned());
        let key = (flow.kind as u8, flow.state as u8, id.clone());
        if self.seen.insert(key, (flow.ts, list)).is_some() {
            return false;
        }
        let newest = self.newest.entry(list).or_default();
        *newest = (*newest).max(flow.ts);
        match flow.state {
            FlowState::Done | FlowState::Failed => drop(self.under_way.remove(&(list, id))),
            FlowState::Pending | FlowState::Unrecognised => drop(self.under_way.insert((list, id), flow.ts)),
        }
        if self.seen.len() >= self.trim_at {
            self.trim();
        }
        true
    }

    /// Forgets what no window reaches back to.
    fn trim(&mut self) {
        let newest = &self.newest;
        self.seen.retain(|_, (ts, list)| {
            let kept = if *list == List::TransactionLog { 2 * overlap(*list) } else { list.span() + 2 * DAY };
            ts.after(kept) >= newest.get(list).copied().unwrap_or_default()
        });
        self.trim_at = (self.seen.len() * 2).max(4_096);
    }
}

/// A stretch of a list, as far as it was read.
#[derive(Debug)]
struct Window {
    from: Wall,
    to: Wall,
    cursor: String,
    pages: usize,
    rows: Vec<Flow>,
}

/// The agent.
pub struct Teller {
    client: Client,
    signer: Signer,
    terms: Terms,
    known: Known,
    engine: Producer<Petition>,
    board: Arc<Board>,
    waiting: VecDeque<Petition>,
    /// Each list, and last the account itself.
    due: [Mono; LISTS + 1],
    failing: [bool; LISTS + 1],
    windows: [Option<Window>; LISTS],
    read_to: [Wall; LISTS],
    /// Windows are this many halvings narrower than the venue allows.
    narrow: [u32; LISTS],
    prices: HashMap<String, (Mono, Option<Px>)>,
    refused: HashSet<u64>,
    account: Text<31>,
    told: bool,
    amiss: (Option<Mono>, bool),
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

impl Teller {
    /// Asks with this key, and remembers what is known.
    #[must_use]
    pub fn new(
        client: Client,
        signer: Signer,
        terms: Terms,
        known: Known,
        engine: Producer<Petition>,
        board: Arc<Board>,
    ) -> Self {
        let begin = Wall::from_nanos(system_wall().nanos().saturating_sub(terms.lookback));
        let read_to = List::ALL.map(|list| known.newest.get(&list).copied().unwrap_or(begin));
        Self {
            client,
            signer,
            terms,
            known,
            engine,
            board,
            waiting: VecDeque::new(),
            due: [Mono::default(); LISTS + 1],
            failing: [false; LISTS + 1],
            windows: [const { None }; LISTS],
            read_to,
            narrow: [0; LISTS],
            prices: HashMap::new(),
            refused: HashSet::new(),
            account: Text::EMPTY,
            told: false,
            amiss: (None, false),
        }
    }

    /// Reads what the account is before anything else: the engine hears of it before anybody can release the brake.
    pub fn begin(&mut self, now: Now) -> Result<()> {
        self.look(now).context("what the account is to the venue")?;
        self.hand_on();
        Ok(())
    }

    /// Hands on what waits, as far as there is room.
    fn hand_on(&mut self) -> usize {
        let mut work = 0;
        while let Some(petition) = self.waiting.pop_front() {
            if let Err(Full(petition)) = self.engine.push(petition) {
                self.waiting.push_front(petition);
                break;
            }
            work += 1;
        }
        work
    }

    /// What the account is; told at the start, once a day, and when it changed.
    fn look(&mut self, now: Now) -> Result<()> {
        let reply = self.client.call(&money::standing_request(&self.signer, system_wall()))?;
        let read = money::standing(reply.status, &reply.body, now.mono, system_wall());
        let mut standing = read.map_err(|why| anyhow!("not told: {why:?}"))?;
        standing.amiss = self.evidence_amiss(now.mono).into();
        self.account = standing.uid;
        let before = self.known.standing;
        let changed = before.is_some_and(|before| differs(&before, &standing));
        let aged = before.is_none_or(|before| standing.at.since(before.at) >= DAY);
        if self.told && !changed && !aged {
            return Ok(());
        }
        standing.changed = changed.into();
        self.alarm(&standing, changed);
        self.known.standing = Some(standing);
        self.waiting.push_back(Petition::Standing(standing));
        self.told = true;
        Ok(())
    }

    fn alarm(&self, standing: &Standing, changed: bool) {
        if changed {
            tracing::warn!("the account or its key is not what it was to the venue: keel kyc show");
        }
        let found = self.terms.policy.as_ref().map(|policy| policy.breaches(Some(standing)));
        for breach in found.into_iter().flat_map(keel_risk::kyc::Breaches::iter) {
            tracing::error!(breach = breach.name(), "{}", breach.meaning());
        }
    }

    fn evidence_amiss(&mut self, now: Mono) -> bool {
        if self.amiss.0.is_none_or(|looked| now.since(looked) >= LOOK) {
            let amiss = self.terms.evidence.iter().any(|evidence| !evidence.holds());
            self.amiss = (Some(now), amiss);
        }
        self.amiss.1
    }

    fn window(&self, at: usize, now: Wall) -> Window {
        let list = List::ALL[at];
        let back = |from: Wall, by: u64| Wall::from_nanos(from.nanos().saturating_sub(by));
        let span = list.span() >> self.narrow[at];
        let under_way = self.known.under_way.iter().filter(|((of, _), _)| *of == list).map(|(_, ts)| *ts).min();
        let from = back(self.read_to[at], overlap(list));
        // no further back than one question reaches, or it would never come to an end
        let from = under_way.map_or(from, |ts| from.min(back(ts, DAY).max(back(now, span - overlap(list)))));
        Window { from, to: from.after(span).min(now), cursor: String::new(), pages: 0, rows: Vec::new() }
    }

    /// One page of one list. When it comes next, from now, nanoseconds.
    fn turn(&mut self, now: Now, at: usize) -> Result<u64> {
        let (list, wall) = (List::ALL[at], system_wall());
        let mut window = self.windows[at].take().unwrap_or_else(|| self.window(at, wall));
        let (from, to, cursor) = (window.from, window.to, std::mem::take(&mut window.cursor));
        let question = Question { list, from, to, cursor };
        let reply = self.client.call(&question.request(&self.signer, wall))?;
        let reading = Reading { recv: now.mono, at: wall, account: self.account };
        let page = money::read(list, reply.status, &reply.body, &reading);
        let page = page.map_err(|why| anyhow!("the venue's answer was refused or not understood: {why:?}"))?;
        self.refuse(list, &page.refused);
        window.rows.extend(page.flows);
        window.pages += 1;
        if !page.next.is_empty() {
            if window.pages >= MAX_PAGES {
                self.narrow[at] = (self.narrow[at] + 1).min(6);
            } else {
                window.cursor = page.next;
                self.windows[at] = Some(window);
            }
            return Ok(list.pause());
        }
        // the venue lists the newest first, also of those of one moment
        window.rows.reverse();
        window.rows.sort_by_key(|flow| flow.ts);
        for flow in window.rows {
            if self.known.take(&flow) {
                let flow = self.valued(now.mono, wall, flow);
                self.waiting.push_back(Petition::Flow(flow));
                self.board.add(Cell::FlowRows, 1);
            }
        }
        self.read_to[at] = self.read_to[at].max(to);
        self.board.set(POLLED[at], wall.millis() / 1_000);
        Ok(if to < wall { list.pause() } else { self.terms.every.max(list.pause()) })
    }

    fn refuse(&mut self, list: List, refused: &[money::Refused]) {
        if self.refused.len() > MAX_REFUSED {
            self.refused.clear();
        }
        for row in refused {
            if self.refused.insert(row.mark) {
                self.board.add(Cell::FlowRefused, 1);
                tracing::error!("a row of {list:?} could not be read: {:?}; it is in no journal", row.why);
            }
        }
    }

    fn valued(&mut self, now: Mono, wall: Wall, flow: Flow) -> Flow {
        let stable = matches!(flow.coin.bytes(), b"USDT" | b"USDC" | b"USD");
        let index = if !stable && wall.since(flow.ts) < FRESH { self.price(now, flow.coin.as_str()) } else { None };
        Flow { usd: money::worth(flow.coin.bytes(), flow.amount, index), ..flow }
    }

    fn price(&mut self, now: Mono, coin: &str) -> Option<Px> {
        if let Some((at, price)) = self.prices.get(coin)
            && now.since(*at) < PRICE_LIFE
        {
            return *price;
        }
        let reply = self.client.call(&money::index_request(coin)).ok();
        let price = reply.and_then(|reply| money::index(reply.status, &reply.body).ok()).flatten();
        self.prices.insert(coin.to_owned(), (now, price));
        price
    }

    fn task(&mut self, now: Now, at: usize) {
        let (name, done) = if at == LISTS {
            ("the account".to_owned(), self.look(now).map(|()| self.terms.every))
        } else {
            (format!("{:?}", List::ALL[at]), self.turn(now, at))
        };
        let failed = done.is_err();
        if let Err(why) = &done {
            self.board.add(Cell::FlowFailures, 1);
            if !self.failing[at] {
                tracing::error!("{name} was not told: {why:#}; asked again");
            }
        } else if at == LISTS {
            self.board.set(Cell::StandingAt, system_wall().millis() / 1_000);
        }
        if self.failing[at] && !failed {
            tracing::info!("{name} is told again");
        }
        self.failing[at] = failed;
        self.due[at] = now.mono.after(done.unwrap_or(self.terms.every.max(MINUTE / 60)));
    }
}

/// When each list was last read to its end, by the metric.
const POLLED: [Cell; LISTS] = [
    Cell::FlowLogAt,
    Cell::FlowDepositsAt,
    Cell::FlowInternalAt,
    Cell::FlowWithdrawalsAt,
    Cell::FlowTransfersAt,
    Cell::FlowUniversalAt,
];

/// Is it another account, another owner, another key, in anything that matters?
fn differs(before: &Standing, now: &Standing) -> bool {
    let Standing { recv, at, changed, digest, .. } = *before;
    Standing { recv, at, changed, digest, ..*now } != *before
}

impl Agent for Teller {
    fn name(&self) -> &'static str {
        "teller"
    }

    fn duty(&mut self, now: Now) -> usize {
        let work = self.hand_on();
        if !self.waiting.is_empty() {
            return work;
        }
        // whose money it is has to be known before any of it
        let tasks = if self.account.is_empty() { LISTS..LISTS + 1 } else { 0..LISTS + 1 };
        let Some(at) = tasks.filter(|at| self.due[*at] <= now.mono).min_by_key(|at| self.due[*at]) else { return work };
        self.task(now, at);
        work + 1 + self.hand_on()
    }
}

impl Part for Teller {
    fn finish(self: Box<Self>, _: &mut Report) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::FlowKind;

    fn flow(kind: FlowKind, state: FlowState, id: &str, day: u64) -> Flow {
        let id = Text::new(id.as_bytes()).unwrap();
        Flow { kind, state, id, ts: Wall::from_nanos(day * DAY), ..Flow::default() }
    }

    #[test]
    fn a_movement_is_new_once_in_each_state() {
        let mut known = Known::default();
        let rows = [
            (flow(FlowKind::Deposit, FlowState::Pending, "1", 100), true),
            (flow(FlowKind::Deposit, FlowState::Pending, "1", 101), false),
            (flow(FlowKind::Deposit, FlowState::Done, "1", 102), true),
            (flow(FlowKind::Withdrawal, FlowState::Done, "1", 102), true),
            (flow(FlowKind::Deposit, FlowState::Done, "1", 102), false),
        ];
        for (row, fresh) in rows {
            assert_eq!(known.take(&row), fresh, "{row:?}");
        }
        assert!(known.under_way.is_empty());
        assert_eq!(known.newest[&List::Deposits], Wall::from_nanos(102 * DAY));
    }

    #[test]
    fn what_a_window_reaches_back_to_is_not_forgotten() {
        let mut known = Known::default();
        for day in 0..100 {
            known.take(&flow(FlowKind::Deposit, FlowState::Done, &day.to_string(), day));
            known.take(&flow(FlowKind::Trade, FlowState::Done, &day.to_string(), day));
        }
        known.trim();
        let kept = |kind| known.seen.keys().filter(|(of, _, _)| *of == kind as u8).count();
        assert_eq!((kept(FlowKind::Deposit), kept(FlowKind::Trade)), (32, 1));
        assert!(!known.take(&flow(FlowKind::Deposit, FlowState::Done, "70", 70)), "thirty days back");
    }

    #[test]
    fn evidence_is_the_file_and_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passport");
        let evidence = Evidence { path: path.clone(), sha256: Sha256::digest(b"a passport").into() };
        assert!(!evidence.holds(), "it is missing");
        std::fs::write(&path, "a passport").unwrap();
        assert!(evidence.holds());
        std::fs::write(&path, "another passport").unwrap();
        assert!(!evidence.holds());
    }

    #[test]
    fn a_standing_differs_in_what_matters() {
        let one = Standing { recv: Mono::from_millis(1), at: Wall::from_millis(1), ..Standing::default() };
        let later = Standing { recv: Mono::from_millis(2), at: Wall::from_millis(2), digest: [1; 32], ..one };
        assert!(!differs(&one, &later));
        assert!(differs(&one, &Standing { permissions: Standing::WITHDRAW, ..later }));
        assert!(differs(&one, &Standing { amiss: keel_core::event::Flag::Yes, ..later }));
    }
}

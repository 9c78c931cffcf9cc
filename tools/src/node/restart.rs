//! What dead runs left: a pure fold over the journal's records, and the hand-over to the next run.
//!
//! In: the records of earlier runs, in order. Out: a [`Desk`] with every position and every order that may still be open,
//! the executions the venue may show again, the highest worth, where the brake stood and the limits people agreed to.
//! Never: an order taken for finished because its process died; a fill counted by two runs; a brake that stands better, or
//! limits read half; a guess about a symbol the configuration no longer names: that refuses to start.
//!
//! ```text
//!   Start Instrument.. Trip.. Holding.. Carried.. Seen.. Resumed | Approved Sent Ack OrderUpdate Fill Trip ..  kill -9
//!     '------ taken as it stands, when the fold begins here ------'  '--- each does here what it did in the engine ---'
//!   Start ...                                      succeeded_by: what was on its way is Unknown until the venue speaks
//! ```
//!
//! A run begins by writing down what it took over, so a restart reads back to the last whole beginning and no further. A
//! small file beside the segments says where that is; without it, or when it does not lead to a whole beginning, the
//! fold begins at the oldest record. A beginning without the standing of the brake, as earlier versions wrote it, is not
//! whole.

use anyhow::{Context, Result, ensure};
use keel_core::desk::Desk;
use keel_core::engine::SILENCE;
use keel_core::event::{
    Carried, ExecEvent, ExecKind, Fill, Holding, Kind, Order, OrderUpdate, Resumed, Seen, Start, VenuePosition, Worth,
    read,
};
use keel_core::ids::{InstrumentId, Seq, Symbol, Text};
use keel_core::instrument::{Instrument, Instruments};
use keel_core::orders::{MAX_EXECUTIONS, Orders};
use keel_core::permit::{Log, LogFault};
use keel_core::position::Position;
use keel_core::units::{Notional, Now, Px, Qty, Wall};
use keel_journal::{Entry, Reader};
use keel_risk::decision::Decision;
use keel_risk::latch::Latch;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Executions this much older than the last one known are not read again at the venue, and not carried over. Five times
/// what the gateway reads twice.
const MEMORY: u64 = 5 * keel_gateway::OVERLAP;
/// A reading of the account that came to its end knows of every execution older than this, nanoseconds.
const SETTLED: u64 = 86_400_000_000_000;
/// Where the last whole beginning of a run is: its sequence number, as text.
const BEGINNING: &str = "beginning";

/// The runs so far.
#[derive(Debug)]
pub struct Past {
    /// The last run; 0 when there was none.
    pub run: u32,
    /// It ended in good order.
    pub clean: bool,
    /// Every symbol any run traded, with what is held and open; numbered by itself.
    desk: Desk,
    /// The numbers of the run being read, as numbers of `desk`.
    numbers: Vec<Option<InstrumentId>>,
    /// Nothing but the beginning of the first run was read so far.
    beginning: bool,
    /// The run read first wrote down to its end what it took over.
    whole: bool,
    latch: Latch,
    /// The first record of the run being read.
    start: Seq,
    /// It wrote down where the brake stood.
    braked: bool,
    last: Now,
    known_to: Wall,
    seen: VecDeque<Seen>,
}

/// What the next run takes over.
#[derive(Debug)]
pub struct Succession {
    /// Its run number.
    pub run: u32,
    /// Its desk: our books, the venue has not spoken.
    pub desk: Desk,
    /// Executions before it are counted.
    pub known_to: Wall,
    /// Where its brake begins.
    pub latch: Latch,
    seen: Vec<Seen>,
    resumed: Resumed,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            run: 0,
            clean: true,
            desk: Desk::new(&Instruments::default(), 0),
            numbers: Vec::new(),
            beginning: false,
            whole: false,
            latch: Latch::default(),
            start: Seq::NONE,
            braked: false,
            last: Now::default(),
            known_to: Wall::default(),
            seen: VecDeque::new(),
        }
    }
}

impl Past {
    /// Reads the journal in `dir`, from its last whole beginning on; one that is not there left nothing.
    pub fn read(dir: &Path) -> Result<Self> {
        if !dir.exists() {
            return Ok(Self::default());
        }
        if let Some(from) = beginning(dir)
            && let Some(past) = Self::from(dir, Some(from))?
        {
            return Ok(past);
        }
        Ok(Self::from(dir, None)?.unwrap_or_default())
    }

    /// `None` when there is no whole beginning at `from`.
    fn from(dir: &Path, from: Option<Seq>) -> Result<Option<Self>> {
        let broken = |why| anyhow::anyhow!("reading {}: {why}", dir.display());
        let mut reader = match from {
            Some(seq) => Reader::open_at(dir, seq).map_err(broken)?,
            None => Reader::open(dir).map_err(broken)?,
        };
        let mut past = Self::default();
        let mut first = true;
        while let Some(entry) = reader.poll().map_err(broken)? {
            let misled = from.is_some_and(|seq| entry.seq != seq || entry.kind != Some(Kind::Start));
            if std::mem::take(&mut first) && misled {
                return Ok(None);
            }
            past.take(&entry).with_context(|| format!("record {} of {}", entry.seq.0, dir.display()))?;
        }
        Ok((from.is_none() || past.whole).then_some(past))
    }

    /// Takes in the next record: does what it did to the engine that wrote it.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<()> {
        if entry.code < Kind::Ack.code() {
            return Ok(());
        }
        let now = Now { mono: entry.mono, wall: entry.wall };
        if let Some(kind) = entry.kind {
            self.latch.take(kind, entry.payload);
        }
        match entry.kind {
            Some(Kind::Start) => self.start(now, entry.seq, &fact(entry)?)?,
            Some(Kind::Trip) if self.beginning => self.braked |= entry.cause == self.start,
            Some(Kind::Instrument) => self.instrument(fact(entry)?),
            Some(Kind::Holding) if self.beginning => self.holding(&fact(entry)?)?,
            Some(Kind::Carried) if self.beginning => self.carried(now, fact(entry)?)?,
            Some(Kind::Seen) if self.beginning => self.saw(fact(entry)?),
            Some(Kind::Resumed) if self.beginning => self.resumed(&fact(entry)?)?,
            Some(Kind::Approved) => self.approved(now, fact::<Decision>(entry)?.order)?,
            Some(Kind::Timer) => self.timer(now),
            Some(Kind::Worth) => {
                self.desk.equity.read(&fact::<Worth>(entry)?);
            }
            Some(Kind::Stop) => self.clean = true,
            Some(_) => {
                if let Some(event) = exec(entry)? {
                    self.exec(now, event)?;
                }
            }
            None => {}
        }
        self.last = now;
        Ok(())
    }

    fn start(&mut self, now: Now, seq: Seq, start: &Start) -> Result<()> {
        ensure!(start.run > self.run, "run {} follows run {}: runs are numbered upwards", start.run, self.run);
        let first = self.run == 0;
        (self.run, self.beginning, self.clean, self.start) = (start.run, first, false, seq);
        self.numbers.clear();
        if first {
            self.desk.orders = Orders::new(start.run);
            self.known_to = start.wall;
            return Ok(());
        }
        let orders = std::mem::replace(&mut self.desk.orders, Orders::new(start.run));
        self.desk.orders = orders.succeeded_by(start.run);
        self.desk.orders.rebase(self.last, now);
        self.desk.forget_pictures();
        Ok(())
    }

    fn instrument(&mut self, row: Instrument) {
        let at = row.id.index();
        if at >= keel_core::ids::MAX_INSTRUMENTS {
            return;
        }
        let ours = self.number(row.symbol).unwrap_or_else(|| {
            let id = InstrumentId(u16::try_from(self.desk.seats().len()).unwrap_or(u16::MAX));
            self.desk.seat_one_more(Instrument { id, ..row });
            id
        });
        self.numbers.resize(self.numbers.len().max(at + 1), None);
        self.numbers[at] = Some(ours);
    }

    fn number(&self, symbol: Symbol) -> Option<InstrumentId> {
        self.desk.seats().iter().map(|seat| &seat.instrument).find(|row| row.symbol == symbol).map(|row| row.id)
    }

    fn renumbered(&self, id: InstrumentId) -> Result<InstrumentId> {
        self.numbers.get(id.index()).copied().flatten().with_context(|| format!("instrument {} was never named", id.0))
    }

    fn holding(&mut self, held: &Holding) -> Result<()> {
        ensure!(
            is_within(held.size.raw(), Qty::MAX.raw()) && is_within(held.cost.raw(), Notional::MAX.raw()),
            "a position of {}",
            held.size
        );
        let id = self.renumbered(held.instrument)?;
        let seat = self.desk.seat_mut(id).context("an instrument without a seat")?;
        seat.position = Position {
            size: held.size,
            cost: held.cost,
            realised: held.realised,
            fees: held.fees,
            funding: held.funding,
            life: held.lived.is_set().then_some(held.life),
            seq: held.seq,
            base: held.base,
        };
        Ok(())
    }

    fn carried(&mut self, now: Now, mut row: Carried) -> Result<()> {
        let sane = [row.order.qty, row.amended_qty, row.filled, row.reported].into_iter().all(is_quantity);
        ensure!(sane, "order {} of {}", row.order.client, row.order.qty);
        row.order.instrument = self.renumbered(row.order.instrument)?;
        self.desk.orders.take_over(now.mono, &row).ok().context("more open orders than the table holds")
    }

    fn saw(&mut self, seen: Seen) {
        self.desk.orders.remember(&seen.exec);
        self.remember(seen);
    }

    fn remember(&mut self, seen: Seen) {
        if self.seen.len() == MAX_EXECUTIONS {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    fn resumed(&mut self, end: &Resumed) -> Result<()> {
        let (orders, seen) = (self.desk.orders.open().len(), self.seen.len());
        ensure!(
            orders == end.orders as usize && seen == end.seen as usize,
            "{orders} orders and {seen} executions were carried over, {} and {} were written",
            end.orders,
            end.seen
        );
        self.desk.equity = keel_core::equity::Equity::resumed(end);
        self.known_to = if end.last_fill == Wall::default() { self.known_to } else { end.last_fill };
        (self.beginning, self.whole) = (false, self.braked);
        Ok(())
    }

    fn approved(&mut self, now: Now, mut order: Order) -> Result<()> {
        self.beginning = false;
        ensure!(is_quantity(order.qty), "order {} of {}", order.client, order.qty);
        order.instrument = self.renumbered(order.instrument)?;
        let next = self.desk.orders.next_id();
        ensure!(
            order.op != keel_core::event::Op::New || order.client == next,
            "order {} was approved where {next} was next",
            order.client
        );
        self.desk.orders.admit(now.mono, &order).ok().context("more open orders than the table holds")?;
        Ok(())
    }

    fn timer(&mut self, now: Now) {
        while self.desk.orders.silence(now.mono, SILENCE).is_some() {}
        while self.desk.judge(now.mono).is_some() {}
    }

    fn exec(&mut self, now: Now, mut event: ExecEvent) -> Result<()> {
        self.beginning = false;
        match &mut event {
            ExecEvent::Order(OrderUpdate { instrument, status, .. }) if !status.is_final() => {
                *instrument = self.renumbered(*instrument)?;
            }
            ExecEvent::Fill(Fill { instrument, .. }) | ExecEvent::Position(VenuePosition { instrument, .. }) => {
                *instrument = self.renumbered(*instrument)?;
            }
            ExecEvent::Reconciliation(mark) if mark.complete.is_set() => {
                let settled = Wall::from_nanos(now.wall.nanos().saturating_sub(SETTLED));
                self.known_to = self.known_to.max(settled);
            }
            _ => {}
        }
        let sane = match &event {
            ExecEvent::Fill(fill) => is_quantity(fill.qty) && is_within(fill.px.raw(), Px::MAX.raw()),
            ExecEvent::Order(update) => is_quantity(update.qty) && is_quantity(update.filled),
            ExecEvent::Position(at) => {
                is_within(at.size.raw(), Qty::MAX.raw()) && is_within(at.entry.raw(), Px::MAX.raw())
            }
            _ => true,
        };
        ensure!(sane, "a quantity or a price that is none");
        let effect = self.desk.orders.apply(&event);
        self.desk.exec(&event);
        if let (ExecEvent::Fill(fill), true) = (&event, effect.fresh) {
            self.known_to = self.known_to.max(fill.ts);
            self.remember(Seen { ts: fill.ts, exec: fill.exec });
            let counted = self.desk.filled(fill).is_some() || fill.kind == ExecKind::Funding;
            ensure!(counted, "fill {} does not fit the position", fill.exec);
        }
        Ok(())
    }

    /// Our books so far.
    #[must_use]
    pub const fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Where the brake stood, and what people agreed to.
    #[must_use]
    pub const fn latch(&self) -> &Latch {
        &self.latch
    }

    /// The run read first wrote down to its end what it took over, the brake included: nothing older counts.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Executions counted, the newest of them.
    #[must_use]
    pub const fn seen(&self) -> &VecDeque<Seen> {
        &self.seen
    }

    /// Hands everything to the next run. Refuses when an order or a position is left on a symbol `instruments` does not
    /// name: nobody would watch over it.
    pub fn succeed(mut self, run: u32, now: Now, instruments: &Instruments) -> Result<Succession> {
        let mut desk = Desk::new(instruments, run);
        let mut numbers = Vec::new();
        for seat in self.desk.seats() {
            let row = instruments.by_symbol(seat.instrument.symbol.bytes());
            let id = seat.instrument.id;
            let open = self.desk.orders.open().iter().filter(|row| row.order.instrument == id).count();
            let idle = open == 0 && seat.position.size.is_zero();
            let Some(row) = row else {
                ensure!(
                    idle,
                    "the journal holds a position of {} and {open} open orders on {1}, which the configuration does not \
                     name: name it until they are gone",
                    seat.position.size,
                    seat.instrument.symbol
                );
                numbers.push(id);
                continue;
            };
            numbers.push(row.id);
            if let Some(into) = desk.seat_mut(row.id) {
                into.position = seat.position;
            }
        }
        if self.run > 0 {
            let last = self.last;
            let mut orders = std::mem::replace(&mut self.desk.orders, Orders::new(0)).succeeded_by(run);
            orders.rebase(last, now);
            orders.renumber(|id| numbers.get(id.index()).copied().unwrap_or(id));
            desk.orders = orders;
        }
        desk.equity = self.desk.equity;
        desk.forget_pictures();
        let keep = self.known_to.nanos().saturating_sub(MEMORY);
        let seen: Vec<Seen> = self.seen.into_iter().filter(|seen| seen.ts.nanos() >= keep).collect();
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let known_to = if self.run == 0 { now.wall } else { self.known_to };
        let resumed = desk.equity.left(Resumed {
            last_fill: known_to,
            run: self.run,
            holdings: count(desk.seats().len()),
            orders: count(desk.orders.open().len()),
            seen: count(seen.len()),
            clean: self.clean.into(),
            ..Resumed::default()
        });
        // what is not written down is not taken over: a replay begins where this run does
        desk.equity = keel_core::equity::Equity::resumed(&resumed);
        Ok(Succession { run, desk, known_to, latch: self.latch, seen, resumed })
    }

    /// The number of the next run: one more than the last. The first run of a journal takes the second it begins in, so
    /// that no order of another, earlier journal on the same account has its ids.
    pub fn next_run(&self, first: Wall) -> Result<u32> {
        if self.run == 0 {
            return Ok(u32::try_from(first.nanos() / 1_000_000_000).unwrap_or(u32::MAX).max(1));
        }
        self.run.checked_add(1).context("every run number is used up; begin a new journal")
    }
}

impl Succession {
    /// Writes down what was taken over, and where; `start` is the place of this run's first record.
    pub fn record(&self, log: &mut impl Log, dir: &Path, now: Now, start: Seq) -> Result<()> {
        let full = |fault| anyhow::anyhow!("the journal in {} took no record: {fault:?}", dir.display());
        self.brake(log, now, start).map_err(full)?;
        for seat in self.desk.seats() {
            let it = &seat.position;
            let held = Holding {
                size: it.size,
                cost: it.cost,
                realised: it.realised,
                fees: it.fees,
                funding: it.funding,
                life: it.life.unwrap_or_default(),
                seq: it.seq,
                base: it.base,
                instrument: seat.instrument.id,
                lived: it.life.is_some().into(),
                pad: [0; 5],
            };
            log.fact(now, start, &held).map_err(full)?;
        }
        for row in self.desk.orders.carried(now.mono) {
            log.fact(now, start, &row).map_err(full)?;
        }
        for seen in &self.seen {
            log.fact(now, start, seen).map_err(full)?;
        }
        log.fact(now, start, &self.resumed).map_err(full)?;
        let (file, draft) = (dir.join(BEGINNING), dir.join(format!("{BEGINNING}.new")));
        std::fs::write(&draft, start.0.to_string())
            .and_then(|()| std::fs::rename(&draft, &file))
            .with_context(|| format!("writing {}", file.display()))
    }
}

impl Succession {
    fn brake(&self, log: &mut impl Log, now: Now, start: Seq) -> Result<(), LogFault> {
        for notice in self.latch.standing(now.mono) {
            log.fact(now, start, &notice)?;
        }
        let author = Text::new(b"node").unwrap_or_default();
        let Some((parts, answer)) = self.latch.agreed(now.mono, author) else { return Ok(()) };
        for part in parts {
            log.fact(now, start, &part)?;
        }
        log.fact(now, start, &answer).map(drop)
    }
}

/// A file may hold anything: sums are made of what a venue could have said.
fn is_quantity(qty: Qty) -> bool {
    qty >= Qty::ZERO && qty <= Qty::MAX
}

fn is_within(raw: i64, most: i64) -> bool {
    raw.unsigned_abs() <= most.unsigned_abs()
}

fn beginning(dir: &Path) -> Option<Seq> {
    let path: PathBuf = dir.join(BEGINNING);
    std::fs::read_to_string(path).ok()?.trim().parse().ok().map(Seq)
}

fn fact<T: zerocopy::TryFromBytes>(entry: &Entry<'_>) -> Result<T> {
    read(entry.payload).with_context(|| format!("a record of kind {} that cannot be read", entry.code))
}

/// The private fact an entry holds.
fn exec(entry: &Entry<'_>) -> Result<Option<ExecEvent>> {
    Ok(Some(match entry.kind {
        Some(Kind::Ack) => ExecEvent::Ack(fact(entry)?),
        Some(Kind::OrderUpdate) => ExecEvent::Order(fact(entry)?),
        Some(Kind::Fill) => ExecEvent::Fill(fact(entry)?),
        Some(Kind::VenuePosition) => ExecEvent::Position(fact(entry)?),
        Some(Kind::Wallet) => ExecEvent::Wallet(fact(entry)?),
        Some(Kind::Link) => ExecEvent::Link(fact(entry)?),
        Some(Kind::Sent) => ExecEvent::Sent(fact(entry)?),
        Some(Kind::Reconciliation) => ExecEvent::Reconciliation(fact(entry)?),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
#[path = "restart_tests.rs"]
mod tests;

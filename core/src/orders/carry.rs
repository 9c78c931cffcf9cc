//! The table over a restart: what stands in the journal, and back.
//!
//! In: a table read from the records of dead runs. Out: [`Carried`] facts, or the table they make. Never: a row dropped on
//! the way: what was open in one run is open in the next until the venue proves it is not.

use super::row::{Change, Memory, State, Working, change_from};
use super::{MAX_ORDERS, Orders, OrdersFull};
use crate::event::{Carried, Op};
use crate::ids::{InstrumentId, VenueId};
use crate::units::{Mono, Now, Qty};

impl Orders {
    /// Every row as a fact.
    pub fn carried(&self, now: Mono) -> impl Iterator<Item = Carried> + '_ {
        self.rows.iter().zip(&self.memory).map(move |(row, memory)| {
            let (amended_px, amended_qty) = row.amended.unwrap_or_default();
            let pending = if row.pending.is_some() { Carried::PENDING } else { 0 };
            let amended = if row.amended.is_some() { Carried::AMENDED } else { 0 };
            Carried {
                order: row.order,
                age: now.since(row.asked),
                updated: memory.updated,
                target_px: memory.target.0,
                target_qty: memory.target.1,
                amended_px,
                amended_qty,
                filled: row.filled,
                reported: row.reported,
                venue: row.venue,
                amends: memory.amends,
                state: row.state,
                ending: memory.ending,
                asked: row.pending.unwrap_or(Op::New),
                open_questions: pending | amended,
            }
        })
    }

    /// Takes a row from such a fact. One that is there already, or is finished, changes nothing.
    pub fn take_over(&mut self, now: Mono, carried: &Carried) -> Result<(), OrdersFull> {
        let Err(slot) = self.slot(carried.order.client) else { return Ok(()) };
        if carried.state.is_final() {
            return Ok(());
        }
        if self.rows.len() == MAX_ORDERS {
            return Err(OrdersFull);
        }
        let asks = |bit| carried.open_questions & bit != 0;
        let asked = Mono::from_nanos(now.nanos().saturating_sub(carried.age));
        self.index.set(slot, self.rows.len());
        self.rows.push(Working {
            order: carried.order,
            venue: carried.venue,
            state: carried.state,
            pending: asks(Carried::PENDING).then_some(carried.asked),
            amended: asks(Carried::AMENDED).then_some((carried.amended_px, carried.amended_qty)),
            filled: carried.filled,
            reported: carried.reported,
            asked,
        });
        let (target, amends) = ((carried.target_px, carried.target_qty), carried.amends);
        self.memory.push(Memory { updated: carried.updated, target, amends, ending: carried.ending });
        Ok(())
    }

    /// An execution an earlier run counted. `false` when it was known.
    pub fn remember(&mut self, exec: &VenueId) -> bool {
        self.executions.insert(exec)
    }

    /// The monotonic clock of another process counts from elsewhere: `from` and `to` are the last look at the old one and
    /// the first at the new one. What the new one cannot reach back to was at its beginning.
    pub fn rebase(&mut self, from: Now, to: Now) {
        let between = to.wall.since(from.wall);
        for row in &mut self.rows {
            let age = between.saturating_add(from.mono.since(row.asked));
            row.asked = Mono::from_nanos(to.mono.nanos().saturating_sub(age));
        }
    }

    /// Instruments have other numbers in the next run.
    pub fn renumber(&mut self, of: impl Fn(InstrumentId) -> InstrumentId) {
        for row in &mut self.rows {
            row.order.instrument = of(row.order.instrument);
        }
    }

    /// What every row reserves, as changes from nothing: what a gate that knows none of them must be told.
    pub fn reserved(&self) -> impl Iterator<Item = Change> + '_ {
        self.rows.iter().map(|row| change_from(row, Qty::ZERO, row.worst_px(), State::Recorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Order, OrderStatus, OrderUpdate};
    use crate::ids::ClientId;
    use crate::units::{Px, Wall};

    fn order(count: u32) -> Order {
        Order { client: ClientId::new(3, count), px: Px::whole(100), qty: Qty::whole(2), ..Order::default() }
    }

    fn at(seconds: u64) -> Now {
        Now { mono: Mono::from_millis(seconds * 1_000), wall: Wall::from_millis(1_900_000_000_000 + seconds * 1_000) }
    }

    fn table() -> Orders {
        let mut orders = Orders::new(3);
        for count in 1..=4 {
            orders.admit(at(50).mono, &order(count)).unwrap();
        }
        let shown = OrderUpdate {
            client: ClientId::new(3, 2),
            status: OrderStatus::PartiallyFilled,
            px: Px::whole(100),
            qty: Qty::whole(2),
            filled: Qty::whole(1),
            venue: VenueId::new(b"v-2").unwrap(),
            updated: Wall::from_millis(7),
            ..OrderUpdate::default()
        };
        orders.update(&shown);
        orders.admit(at(51).mono, &Order { op: Op::Amend, px: Px::whole(101), ..order(2) }).unwrap();
        orders.admit(at(52).mono, &Order { op: Op::Cancel, ..order(3) }).unwrap();
        orders
    }

    #[test]
    fn a_table_through_its_facts_is_the_same_table() {
        let orders = table();
        let facts: Vec<_> = orders.carried(at(60).mono).collect();
        let mut back = Orders::new(3);
        for fact in &facts {
            back.take_over(at(60).mono, fact).unwrap();
            back.take_over(at(60).mono, fact).unwrap();
        }
        assert_eq!(back.open(), orders.open());
        assert_eq!(back.carried(at(60).mono).collect::<Vec<_>>(), facts);
        for row in orders.open() {
            assert_eq!(back.get(row.order.client), Some(row));
        }
        let reserved: i64 = back.reserved().map(|change| change.after.raw()).sum();
        assert_eq!(reserved, orders.open().iter().map(|row| row.open().raw()).sum::<i64>());
    }

    #[test]
    fn how_long_ago_something_was_asked_survives_another_clock() {
        let mut orders = table();
        // the old process read 60 s, the new one counts from 100 s, and 5 s lie between
        let (from, to) = (at(60), Now { mono: Mono::from_millis(100_000), wall: at(65).wall });
        orders.rebase(from, to);
        let ages: Vec<_> = orders.open().iter().map(|row| to.mono.since(row.asked) / 1_000_000_000).collect();
        assert_eq!(ages, [15, 14, 13, 15]);
        orders.rebase(to, Now { mono: Mono::from_nanos(1), wall: at(66).wall });
        assert!(orders.open().iter().all(|row| row.asked == Mono::from_nanos(0)));
    }
}

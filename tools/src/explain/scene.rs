//! What the engine knew at a moment: taken from its desk while it runs again.

use crate::replay::follow::Witness;
use crate::replay::page::{Compare, Page};
use crate::replay::story::Taken;
use keel_core::book::Touch;
use keel_core::engine::Engine;
use keel_core::event::{ExecEvent, Level, Side};
use keel_core::ids::{InstrumentId, Seq};
use keel_core::permit::Gate;
use keel_core::position::Position;
use keel_core::signal;
use keel_core::strategy::Strategy;
use keel_core::units::Px;
use std::collections::{BTreeMap, BTreeSet};

/// Levels shown of each side.
const LEVELS: usize = 5;

/// The book, the signals, and what was held and open.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) instrument: InstrumentId,
    pub(super) touch: Option<Touch>,
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
    pub(super) update: u64,
    pub(super) mark: Px,
    pub(super) micro: Option<Px>,
    pub(super) lean: i64,
    pub(super) position: Position,
    pub(super) open: usize,
}

/// A position before and after a fill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    pub(super) before: Position,
    pub(super) after: Position,
    /// The middle of the book when the fill was counted.
    pub(super) mid: Option<Px>,
}

/// Looks at the desk at some records.
#[derive(Debug)]
pub(super) struct Look {
    wanted: BTreeSet<Seq>,
    positions: Vec<Position>,
    pub(super) scenes: BTreeMap<Seq, Scene>,
    pub(super) moves: BTreeMap<Seq, Moved>,
}

impl Look {
    pub(super) fn new(wanted: impl Iterator<Item = Seq>, instruments: usize) -> Self {
        let positions = vec![Position::default(); instruments];
        Self { wanted: wanted.collect(), positions, scenes: BTreeMap::new(), moves: BTreeMap::new() }
    }
}

impl<S: Strategy, G: Gate> Witness<S, G> for Look {
    fn turn(&mut self, page: &Page, taken: &Taken, engine: &Engine<S, G, Compare>) {
        let Some(first) = page.first() else { return };
        let (id, is_fill) = match taken {
            Taken::Market(event) => (event.instrument(), false),
            Taken::Exec(ExecEvent::Fill(fill)) => (Some(fill.instrument), true),
            _ => (None, false),
        };
        let wanted = self.wanted.contains(&first.seq);
        let Some(seat) = id.and_then(|id| engine.desk().seat(id)) else { return };
        if wanted && !is_fill {
            let of = |side| seat.book().levels(side).take(LEVELS).collect();
            let (touch, instrument) = (seat.touch(), seat.instrument.id);
            let scene = Scene {
                instrument,
                touch,
                bids: of(Side::Buy),
                asks: of(Side::Sell),
                update: seat.book().update_id(),
                mark: seat.mark,
                micro: touch.as_ref().and_then(signal::micro_price),
                lean: touch.as_ref().map_or(0, signal::lean_permille),
                position: seat.position,
                open: engine.desk().orders.open().iter().filter(|row| row.order.instrument == instrument).count(),
            };
            self.scenes.insert(first.seq, scene);
        }
        if let (true, Some(kept)) = (wanted && is_fill, self.positions.get(seat.instrument.id.index())) {
            let mid = seat.touch().map(|touch| touch.mid());
            self.moves.insert(first.seq, Moved { before: *kept, after: seat.position, mid });
        }
        if let Some(kept) = self.positions.get_mut(seat.instrument.id.index()) {
            *kept = seat.position;
        }
    }
}

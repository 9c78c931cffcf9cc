//! The node: wires, clocks, threads, and the agents between them.
//!
//! ```text
//!   public socket --feed--> [market ring] --engine--> [order ring] --orders--> trade socket
//!                                            ^  |                      |
//!                            [exec ring] ----+  journal (inline)       +--- private socket, REST answers
//!                            [command ring] -+
//! ```

pub mod account;
pub mod beat;
pub mod board;
pub mod clock;
pub mod door;
pub mod engine;
pub mod feed;
pub mod genesis;
pub mod heritage;
pub mod http;
pub mod inquiry;
pub mod journal;
pub mod lockstep;
pub mod meter;
pub mod metrics;
pub mod money;
pub mod orders;
pub mod plan;
pub mod rest;
pub mod restart;
pub mod run;
pub mod scenarios;
pub mod scout;
mod stamp;
pub mod surveil;
pub mod takeover;
pub mod thread;
pub mod wire;

use hdrhistogram::Histogram;
use keel_core::agent::Agent;
use keel_core::desk::Seat;
use keel_core::engine::Counts;
use keel_core::units::{Notional, Px, Qty};
use keel_journal::{Keeper, Recorded, Writer};
use keel_risk::Approved;
use meter::Hop;

/// Something on a ring, and when it was put there.
#[derive(Clone, Copy, Debug)]
pub struct Timed<T> {
    /// It.
    pub what: T,
    /// Stopwatch reading.
    pub ticks: u64,
}

/// What the engine wants of the gateway.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "an order is moved once, and a box would be an allocation")]
pub enum Departure {
    /// An order on its way to the venue.
    Order {
        /// Permitted and recorded.
        order: Recorded<Approved>,
        /// Stopwatch reading of the bytes that caused it; 0 for none.
        caused: u64,
        /// Stopwatch reading when it was put on the ring.
        pushed: u64,
    },
    /// Everything at the venue is to be cancelled, whoever placed it, until nothing is open.
    CancelAll,
}

/// An agent of the node that says at the end what it did.
pub trait Part: Agent + Send {
    /// Adds to the report.
    fn finish(self: Box<Self>, report: &mut Report);
}

/// What became of one instrument.
#[derive(Clone, Debug)]
pub struct SeatReport {
    /// The venue's name.
    pub symbol: String,
    /// Signed position.
    pub position: Qty,
    /// Average entry; zero when flat.
    pub entry: Px,
    /// Mark or mid price.
    pub mark: Px,
    /// Realised profit without fees.
    pub realised: Notional,
    /// Fees paid.
    pub fees: Notional,
    /// Realised and unrealised profit after fees and funding; `None` when it does not fit.
    pub net: Option<Notional>,
}

impl From<&Seat> for SeatReport {
    fn from(seat: &Seat) -> Self {
        let mark = if seat.mark > Px::ZERO { seat.mark } else { seat.touch().map_or(Px::ZERO, |touch| touch.mid()) };
        Self {
            symbol: seat.instrument.symbol.as_str().to_owned(),
            position: seat.position.size,
            entry: seat.position.entry().unwrap_or_default(),
            mark,
            realised: seat.position.realised,
            fees: seat.position.fees,
            net: seat.position.net(mark),
        }
    }
}

/// What a run was.
#[derive(Debug, Default)]
pub struct Report {
    /// What the engine did.
    pub counts: Counts,
    /// By instrument.
    pub seats: Vec<SeatReport>,
    /// Orders not proven finished.
    pub open_orders: usize,
    /// Market data frames read.
    pub frames: u64,
    /// Frames the decoder refused.
    pub feed_errors: u64,
    /// Times a book was marked stale.
    pub resyncs: u64,
    /// Requests handed to the socket.
    pub sent: u64,
    /// Requests that provably never left.
    pub not_sent: u64,
    /// Records in the journal.
    pub records: u64,
    /// Exact histograms.
    pub hops: Vec<(Hop, Histogram<u64>)>,
    /// The journal's writing side, for its last record.
    pub writer: Option<Writer>,
    /// The journal's keeping side, to close it.
    pub keeper: Option<Keeper>,
}

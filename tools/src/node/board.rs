//! The board: numbers the agents publish and anyone may read while the node runs.
//!
//! Each cell has one writer, an agent, which stores plain values; readers (metrics, health, the status line) never make
//! a writer wait. Nothing here decides anything.

use keel_core::ids::MAX_INSTRUMENTS;
use keel_core::ring::Gauge;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How a cell is shown to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Only grows.
    Counter,
    /// Goes both ways.
    Gauge,
    /// USDT in steps of 1e-8, signed; [`UNKNOWN`] is shown as none.
    Money,
}

macro_rules! cells {
    ($($cell:ident $shape:ident $name:literal $help:literal;)*) => {
        /// One published number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cell {
            $(#[doc = $help] $cell,)*
        }

        impl Cell {
            /// Every cell with its shape, metric name and help text.
            pub const ALL: &'static [(Self, Shape, &'static str, &'static str)] =
                &[$((Self::$cell, Shape::$shape, $name, $help),)*];
        }
    };
}

cells! {
    Frames Counter "keel_feed_frames_total" "Market data frames read";
    FeedErrors Counter "keel_feed_errors_total" "Market data frames refused by the decoder";
    Resyncs Counter "keel_feed_resyncs_total" "Times a book was marked stale";
    Synced Gauge "keel_feed_synced_books" "Instruments whose book is in sequence";
    Facts Counter "keel_engine_facts_total" "Facts the engine consumed";
    Approved Counter "keel_engine_approved_total" "Requests permitted and recorded";
    Refused Counter "keel_engine_refused_total" "Requests the gate refused";
    NotSized Counter "keel_engine_not_sized_total" "Wishes sized to nothing";
    Unrecorded Counter "keel_engine_unrecorded_total" "Facts or decisions the journal did not take";
    Fills Counter "keel_engine_fills_total" "Executions counted";
    Foreign Counter "keel_engine_foreign_total" "Private facts about orders we never placed";
    Unknown Counter "keel_engine_unknown_total" "Orders the venue was silent about for too long";
    Differences Counter "keel_differences_total" "Times our books and the venue's came apart";
    Equity Money "keel_equity_usdt" "Cash and unrealised profit at mark, by our own books";
    Moved Money "keel_moved_usdt" "Money that came in less money that went out, since the journal began";
    HighWater Money "keel_high_water_usdt" "Highest equity so far, money moved left out";
    Drawdown Money "keel_drawdown_usdt" "How far equity, money moved left out, is below its highest";
    InitialMargin Money "keel_initial_margin_usdt" "Initial margin in use";
    MaintenanceMargin Money "keel_maintenance_margin_usdt" "Maintenance margin in use";
    ValueAtRisk Money "keel_value_at_risk_usdt" "Value at risk with everything open filled at worst; NaN when not known";
    Shortfall Money "keel_expected_shortfall_usdt" "Expected shortfall with everything open filled at worst; NaN when not known";
    Stress Money "keel_stress_loss_usdt" "Loss in the worst stress scenario with everything open filled at worst; NaN when not known";
    ValueAtRiskLimit Money "keel_value_at_risk_limit_usdt" "Limit of the value at risk; NaN without one";
    ShortfallLimit Money "keel_expected_shortfall_limit_usdt" "Limit of the expected shortfall; NaN without one";
    StressLimit Money "keel_stress_limit_usdt" "Limit of the loss in a stress scenario";
    OpenOrders Gauge "keel_open_orders" "Orders not proven finished";
    LogHealth Gauge "keel_journal_health" "State of the journal: 0 sound, 1 low, 2 faulty";
    HeadSeq Gauge "keel_journal_head_sequence" "Last record written";
    DurableSeq Gauge "keel_journal_durable_sequence" "Last record known to be on the medium";
    Sent Counter "keel_orders_sent_total" "Requests handed to the venue's socket";
    NotSent Counter "keel_orders_not_sent_total" "Recorded requests that provably never left";
    PublicLink Gauge "keel_link_public_state" "Market data conversation: 0 down, 1 connected, 2 ready";
    PublicLines Gauge "keel_link_public_lines" "Market data connections that stand";
    StatusLink Gauge "keel_link_status_state" "Conversation about maintenance: 0 down or not wanted, 2 ready";
    Announcements Counter "keel_venue_announcements_total" "Announcements of maintenance passed on";
    Duplicates Counter "keel_feed_duplicates_total" "Facts dropped because the other connection brought them first";
    Withdrawn Gauge "keel_feed_withdrawn_instruments" "Instruments the venue changed since the start: not traded until a restart";
    ClockAhead Gauge "keel_clock_venue_ahead_nanoseconds" "How far the venue's clock is ahead of ours; 0 when behind or unknown";
    ClockBehind Gauge "keel_clock_venue_behind_nanoseconds" "How far the venue's clock is behind ours; 0 when ahead or unknown";
    ClockError Gauge "keel_clock_error_nanoseconds" "Half the round trip the clock was read by; 0 when unknown";
    PrivateLink Gauge "keel_link_private_state" "Private conversation: 0 down, 1 connected, 2 ready";
    TradeLink Gauge "keel_link_trade_state" "Order entry conversation: 0 down, 1 connected, 2 ready";
    Reconciled Gauge "keel_reconciled" "The venue's account was read and compared: 0 no, 1 yes";
    BrakeState Gauge "keel_brake_state" "The brake: 0 active, 1 reduce only, 2 cancel only, 3 halted";
    BrakeReason Gauge "keel_brake_reason" "Why it stands there: the code of a reason";
    BrakeVersion Gauge "keel_brake_version" "Moves with every change of any latch; who re-arms must have seen it";
    LimitsVersion Gauge "keel_limits_version" "Version of the limits in force";
    Answered Counter "keel_documents_answered_total" "Signed documents the gate answered";
    Doubt Gauge "keel_documents_last_doubt" "What it said to the last: 0 done, else the code of a doubt";
    RiskDrift Gauge "keel_risk_drift_ppb" "Drift of the incremental risk sums against a full recomputation, 1e-9 of the book";
    Sweeps Counter "keel_sweeps_total" "Times everything was cancelled at the venue and it said that nothing is open";
    SurveilRules Gauge "keel_surveillance_rules" "Rules of surveillance; 0 when it does not run";
    SurveilAlive Gauge "keel_surveillance_rules_alive" "Of these, rules that have the data they need";
    SurveilLag Gauge "keel_surveillance_lag_records" "Records on the medium surveillance has not looked at yet";
    SurveilAlerts Counter "keel_surveillance_alerts_total" "Alerts filed, of whatever rule";
    SurveilDropped Counter "keel_surveillance_dropped_total" "Rows surveillance forgot for want of room: alerts may be missing";
    SurveilBeat Gauge "keel_surveillance_heartbeat_timestamp_seconds" "When a synthetic positive of every rule was last played; 0 before the first";
    SurveilBlind Gauge "keel_surveillance_blind_rules" "Rules whose synthetic positive did not arrive";
    SurveilListAge Gauge "keel_surveillance_list_age_seconds" "Age of the oldest sanctions list; 0 without any";
    SurveilRefused Gauge "keel_surveillance_files_refused" "New parameters or lists cannot be read, the old ones stay: 0 no, 1 yes";
    SurveilBroken Gauge "keel_surveillance_stopped" "Surveillance stopped on an error: 0 no, 1 yes";
    FlowRows Counter "keel_flow_rows_total" "Movements of money handed to the journal";
    FlowRefused Counter "keel_flow_refused_rows_total" "Rows of the venue's lists of money that could not be read";
    FlowFailures Counter "keel_flow_failures_total" "Questions about money or the account that were not answered";
    FlowLogAt Gauge "keel_flow_transaction_log_polled_seconds" "When the transaction log was last read to its end, unix time; 0 never";
    FlowDepositsAt Gauge "keel_flow_deposits_polled_seconds" "When deposits were last read to their end, unix time; 0 never";
    FlowInternalAt Gauge "keel_flow_internal_deposits_polled_seconds" "When internal deposits were last read to their end, unix time; 0 never";
    FlowWithdrawalsAt Gauge "keel_flow_withdrawals_polled_seconds" "When withdrawals were last read to their end, unix time; 0 never";
    FlowTransfersAt Gauge "keel_flow_transfers_polled_seconds" "When transfers were last read to their end, unix time; 0 never";
    FlowUniversalAt Gauge "keel_flow_universal_transfers_polled_seconds" "When universal transfers were last read to their end, unix time; 0 never";
    StandingAt Gauge "keel_standing_polled_seconds" "When the account and its key were last read, unix time; 0 never";
    KycBreaches Gauge "keel_kyc_breaches" "Ways in which the account is not what the registry says: one bit a breach; 0 none";
    HotRounds Counter "keel_hot_rounds_total" "Duty cycles of the thread that carries the engine";
}

/// Money nobody has measured.
pub const UNKNOWN: i64 = i64::MAX;

/// An age before anything was heard.
pub const NEVER: u64 = u64::MAX;

/// What is published about one instrument.
#[derive(Debug, Default)]
pub struct Row {
    /// Signed position, 1e-8 coins.
    pub position: AtomicI64,
    /// Net profit or loss at mark, 1e-8 USDT.
    pub net: AtomicI64,
    /// Fees paid, 1e-8 USDT.
    pub fees: AtomicI64,
    /// Mark or mid price, 1e-8 USDT.
    pub mark: AtomicI64,
    /// How far the mark may move against the position before it is liquidated, 1e-8 of the mark; [`i64::MAX`] when
    /// there is no such price.
    pub distance: AtomicI64,
    /// Nanoseconds since the last news of its book, by the monotonic clock; [`NEVER`] before the first.
    pub book_age: AtomicU64,
    /// Nanoseconds the last news is behind the wall clock, by the venue's; [`NEVER`] before the first.
    pub venue_age: AtomicU64,
    /// The feed's verdict: 0 waiting, 1 synced, 2 stale.
    pub book_state: AtomicU64,
    /// How far the brake is with the position: the code of a stage.
    pub unwind: AtomicU64,
}

/// All of it.
#[derive(Debug)]
pub struct Board {
    cells: Vec<AtomicU64>,
    rows: Vec<Row>,
    symbols: OnceLock<Vec<String>>,
    rings: OnceLock<Vec<(&'static str, Gauge)>>,
}

impl Default for Board {
    fn default() -> Self {
        let unmeasured =
            [Cell::ValueAtRisk, Cell::Shortfall, Cell::Stress, Cell::ValueAtRiskLimit, Cell::ShortfallLimit];
        let begin = |cell| if unmeasured.contains(&cell) { UNKNOWN.cast_unsigned() } else { 0 };
        Self {
            cells: Cell::ALL.iter().map(|row| AtomicU64::new(begin(row.0))).collect(),
            rows: (0..MAX_INSTRUMENTS).map(|_| Row::default()).collect(),
            symbols: OnceLock::new(),
            rings: OnceLock::new(),
        }
    }
}

impl Board {
    /// Publishes.
    pub fn set(&self, cell: Cell, value: u64) {
        self.cells[cell as usize].store(value, Ordering::Release);
    }

    /// Adds to a cell this caller alone writes.
    pub fn add(&self, cell: Cell, by: u64) {
        let cell = &self.cells[cell as usize];
        cell.store(cell.load(Ordering::Relaxed) + by, Ordering::Release);
    }

    /// Reads.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        self.cells[cell as usize].load(Ordering::Acquire)
    }

    /// The row of an instrument.
    #[must_use]
    pub fn row(&self, index: usize) -> &Row {
        &self.rows[index]
    }

    /// Names the rows, once.
    pub fn name_rows(&self, symbols: Vec<String>) {
        let _ = self.symbols.set(symbols);
    }

    /// Names of the rows in use.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        self.symbols.get().map_or(&[], Vec::as_slice)
    }

    /// Names the rings, once.
    pub fn name_rings(&self, rings: Vec<(&'static str, Gauge)>) {
        let _ = self.rings.set(rings);
    }

    /// The rings by name.
    #[must_use]
    pub fn rings(&self) -> &[(&'static str, Gauge)] {
        self.rings.get().map_or(&[], Vec::as_slice)
    }
}

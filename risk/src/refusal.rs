//! Why an order may not leave: one stable code a check, and the table people read.
//!
//! Codes are never reused and never renumbered: they stand in journals. A code is also the number of its bit in
//! [`Decision::failing`](crate::Decision::failing), so there can be at most 63.

use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Where a check leaves what it measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// It only holds or fails.
    None,
    /// In [`Decision::money`](crate::Decision::money).
    Money(usize),
    /// In [`Decision::counts`](crate::Decision::counts).
    Count(usize),
}

macro_rules! refusals {
    ($($code:literal $name:ident $slot:expr, $meaning:literal;)*) => {
        /// Why an order may not leave. 0 is "nothing against it".
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(u16)]
        pub enum Refusal {
            /// Nothing against it.
            #[default]
            None = 0,
            $(#[doc = $meaning] $name = $code,)*
        }

        impl Refusal {
            /// Every code but `None`, in code order.
            pub const ALL: [Self; [$($code),*].len()] = [$(Self::$name),*];

            /// The stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    Self::None => "None",
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it says, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    Self::None => "Nothing against it.",
                    $(Self::$name => $meaning,)*
                }
            }

            /// Where its measure stands.
            #[must_use]
            pub const fn slot(self) -> Slot {
                match self {
                    Self::None => Slot::None,
                    $(Self::$name => $slot,)*
                }
            }
        }
    };
}

refusals! {
    1 Halted Slot::None, "The brake allows nothing but cancels.";
    2 ReducingOnly Slot::None, "The brake, its silence, or a journal short of room allows only orders tagged reduce-only.";
    3 JournalFaulty Slot::None, "The journal takes no records, so nothing can leave.";
    4 UnknownInstrument Slot::None, "No such instrument.";
    5 UnknownStrategy Slot::None, "No such strategy, or it may not trade this instrument.";
    6 UnknownOrder Slot::None, "The amend or cancel is about an order that is finished, not ours, or not as described.";
    7 Form Slot::None, "A market order that is not tagged reduce-only, or that could rest.";
    8 NotTrading Slot::None, "The instrument is not open for trading.";
    9 Price Slot::None, "The price is off the grid or outside the instrument's range.";
    10 Quantity Slot::None, "The quantity is off the grid or outside the instrument's range.";
    11 MinimumValue Slot::None, "The order is worth less than the venue accepts.";
    12 NoMark Slot::None, "No mark price.";
    13 StaleBook Slot::Money(0), "The book is missing, out of sequence, crossed or too old (ns).";
    14 StaleMark Slot::None, "The mark price is too old.";
    15 Spread Slot::None, "The spread is too wide.";
    16 MarkGap Slot::None, "Mid and mark, or mark and index, disagree.";
    17 LinkDown Slot::None, "The private stream or the order link is not ready.";
    18 Unreconciled Slot::None, "Orders and positions were not compared with the venue since the last break, or a position differs.";
    19 Unproven Slot::None, "The venue owes us proof of an earlier order.";
    20 Maintenance Slot::None, "The venue is in maintenance, or funding is about to be exchanged.";
    21 MessageRate Slot::Count(0), "Too many messages (tokens needed, tokens left).";
    22 StrategyRate Slot::None, "Too many messages from this strategy.";
    23 Executions Slot::None, "The strategy traded so often that a person must look at it first.";
    24 Collar Slot::Count(1), "The price is too far through the reference price (bps).";
    25 VenueBand Slot::None, "The price is outside the venue's band: it would be moved without a word.";
    26 OrderQty Slot::Money(1), "The order is too large (coins).";
    27 OrderValue Slot::Money(2), "The order is worth too much (USDT).";
    28 OpenOrders Slot::Count(2), "Too many open orders.";
    29 Position Slot::Money(3), "The position could grow too large if everything open filled (USDT).";
    30 Gross Slot::Money(4), "Gross exposure could grow too large if everything open filled (USDT).";
    31 Net Slot::Money(5), "Net exposure could grow too large if everything open filled (USDT).";
    32 Margin Slot::Money(6), "Margin could grow too large if everything open filled, or equity is unknown (USDT).";
    33 ValueAtRisk Slot::Count(3), "Too many scenarios lose more than the limit if everything open filled against us.";
    34 Shortfall Slot::Money(7), "The expected shortfall could exceed its limit (USDT).";
    35 Stress Slot::Money(8), "The worst stress scenario could lose too much (USDT).";
    36 NotReducing Slot::None, "Tagged reduce-only, but larger than what is left to reduce, or on the wrong side.";
    37 Duplicate Slot::None, "The same order was allowed a moment ago.";
    38 SelfMatch Slot::None, "It would trade against an order of our own.";
    39 Rejects Slot::None, "The venue refused so many orders of this strategy that a person must look at it first.";
    40 AmendPending Slot::None, "An earlier amend of this order is not answered yet.";
    41 Walk Slot::Count(4), "Our own fills already walked the price this far (bps).";
    42 Participation Slot::Money(9), "Too large a share of what the market trades in a minute would be ours (coins).";
    43 RestingValue Slot::Money(10), "An order that may rest is worth too much (USDT).";
    44 Model Slot::None, "It names no model version that is approved, loaded as approved, and within its time.";
    45 SignalAge Slot::Count(5), "The signal behind it is too old (ms).";
    46 OrderToTrade Slot::Count(6), "The strategy sends too many messages a fill.";
}

impl Refusal {
    /// Its bit in [`Decision::failing`](crate::Decision::failing).
    #[must_use]
    pub const fn bit(self) -> u64 {
        match self {
            Self::None => 0,
            code => 1 << code as u16,
        }
    }

    /// The code in the journal.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{COUNT_SLOTS, MONEY_SLOTS};

    #[test]
    fn the_table_of_the_crate_is_the_enum() {
        let table: String = Refusal::ALL
            .iter()
            .map(|code| format!("//! | {} | `{}` | {} |\n", code.code(), code.name(), code.meaning()))
            .collect();
        assert!(
            include_str!("lib.rs").contains(&format!("//! |---|---|---|\n{table}\n")),
            "write this into lib.rs:\n{table}"
        );
    }

    #[test]
    fn every_code_has_its_check() {
        // an instrument nobody knows is refused before there is anything to check
        assert_eq!(crate::checks::COUNT, Refusal::ALL.len() - 1);
    }

    #[test]
    fn codes_are_distinct_bits_and_slots_are_used_once() {
        let (mut bits, mut money, mut counts) = (0u64, [0; MONEY_SLOTS], [0; COUNT_SLOTS]);
        for code in Refusal::ALL {
            assert!(code.code() < 64 && bits & code.bit() == 0, "{code:?}");
            bits |= code.bit();
            match code.slot() {
                Slot::None => {}
                Slot::Money(at) => money[at] += 1,
                Slot::Count(at) => counts[at] += 1,
            }
        }
        assert_eq!((money, counts), ([1; MONEY_SLOTS], [1; COUNT_SLOTS]));
    }
}

//! What every rule is held against: whole numbers with ranges, one section a rule, each section with its version.
//!
//! In: names and numbers from a file. Out: the same as fields; why a number does not fit. Never: a number outside its
//! range, a section that differs from what ships under the version that ships: an alert names the version it was found
//! by, and two meanings of one version could not be told apart.

use keel_core::event::Rule;

/// One number of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// What ships.
    pub usual: i64,
    /// Least it may be.
    pub low: i64,
    /// Most it may be.
    pub high: i64,
}

/// Why a value was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// There is no such section.
    Section,
    /// The section has no such number.
    Name,
    /// It is outside its range.
    Range(Field),
    /// The section differs from what ships and has the version that ships.
    Version(&'static str),
}

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Section => write!(f, "there is no such rule"),
            Self::Name => write!(f, "the rule has no such parameter"),
            Self::Range(field) => {
                write!(f, "{}: {}; {} to {} fits", field.name, field.help, field.low, field.high)
            }
            Self::Version(section) => write!(
                f,
                "[{section}] differs from what ships but says the version that ships: say version = 2 or more, \
                 and another one at each change"
            ),
        }
    }
}

macro_rules! parameters {
    ($($(#[$doc:meta])* $section:ident $name:ident $rule:ident {
        $($field:ident = $usual:literal, $low:literal to $high:literal, $help:literal;)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name {
                /// Of this section; in every alert.
                pub version: u16,
                $(#[doc = $help] pub $field: i64,)*
            }

            impl Default for $name {
                fn default() -> Self {
                    Self { version: 1, $($field: $usual,)* }
                }
            }

            impl $name {
                const FIELDS: &'static [Field] = &[$(Field {
                    name: stringify!($field), help: $help, usual: $usual, low: $low, high: $high,
                },)*];

                fn slot(&mut self, name: &str) -> Option<&mut i64> {
                    match name {
                        $(stringify!($field) => Some(&mut self.$field),)*
                        _ => None,
                    }
                }
            }
        )*

        /// All of them.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Parameters {
            $($(#[$doc])* pub $section: $name,)*
        }

        /// Sections in order: name, rule, numbers.
        pub const SECTIONS: &[(&str, Rule, &[Field])] = &[$((stringify!($section), Rule::$rule, $name::FIELDS),)*];

        impl Parameters {
            /// Version of a rule.
            #[must_use]
            pub fn version(&self, rule: Rule) -> u16 {
                match rule {
                    $(Rule::$rule => self.$section.version,)*
                    Rule::None => 0,
                }
            }

            /// Says which version a section is.
            pub fn set_version(&mut self, section: &str, version: u16) -> Result<(), Unfit> {
                match section {
                    $(stringify!($section) => self.$section.version = version,)*
                    _ => return Err(Unfit::Section),
                }
                Ok(())
            }

            fn slot(&mut self, section: &str, name: &str) -> Result<&mut i64, Unfit> {
                match section {
                    $(stringify!($section) => self.$section.slot(name).ok_or(Unfit::Name),)*
                    _ => Err(Unfit::Section),
                }
            }

            /// Does every changed section say so?
            pub fn check(&self) -> Result<(), Unfit> {
                $(
                    let usual = $name::default();
                    if self.$section != usual && self.$section.version <= usual.version {
                        return Err(Unfit::Version(stringify!($section)));
                    }
                )*
                Ok(())
            }
        }
    };
}

impl Parameters {
    /// Sets one number.
    pub fn set(&mut self, section: &str, name: &str, value: i64) -> Result<(), Unfit> {
        let slot = self.slot(section, name)?;
        let (_, _, fields) = SECTIONS.iter().find(|(known, ..)| *known == section).ok_or(Unfit::Section)?;
        let field = fields.iter().find(|field| field.name == name).ok_or(Unfit::Name)?;
        if value < field.low || value > field.high {
            return Err(Unfit::Range(*field));
        }
        *slot = value;
        Ok(())
    }
}

parameters! {
    /// TM1: at least `count` transfers of [share of T, T) that together reach T, within a day or within `days`.
    structuring Structuring Structuring {
        low_permille = 700, 100 to 999, "share of a threshold from which an amount is near it, permille";
        count = 3, 2 to 100, "transfers that make a pattern";
        days = 7, 1 to 30, "the longer window, days; the shorter is one day";
        threshold_low_usd = 1000, 1 to 1000000000, "lowest reporting threshold, USD";
        threshold_mid_usd = 3000, 1 to 1000000000, "middle reporting threshold, USD";
        threshold_high_usd = 10000, 1 to 1000000000, "highest reporting threshold, USD";
    }
    /// TM2: what came in goes out within `hours`, at least `out_permille` of it, with little traded between.
    pass_through PassThrough PassThrough {
        hours = 24, 1 to 720, "hours between in and out";
        out_permille = 800, 1 to 1000, "share of what came in that goes out, permille";
        traded_permille = 100, 1 to 100000, "traded volume below this share of what came in, permille";
        floor_usd = 1000, 0 to 1000000000, "deposits in the window below this are not looked at, USD";
    }
    /// TM3: a day's amount or count far above the account's own last 90 days (median and MAD), and above a floor.
    velocity Velocity Velocity {
        z_permille = 5000, 1000 to 100000, "robust z above which a day stands out, permille";
        floor_usd = 10000, 0 to 1000000000, "a day below this amount never stands out, USD";
        floor_count = 10, 1 to 100000, "a day below this many movements never stands out by count";
        days = 90, 7 to 90, "days of the baseline";
        needed = 14, 1 to 90, "days of history before anything is compared";
    }
    /// TM4: a young account, or one that slept, moves more than a multiple of its declared month within 30 days.
    burst Burst Burst {
        young_days = 30, 1 to 365, "days after its first movement an account is young";
        asleep_days = 90, 7 to 730, "days without movement after which it slept";
        declared_permille = 2000, 100 to 100000, "multiple of the declared month, permille";
        usual_usd = 25000, 1 to 1000000000, "taken for the declared month where none is declared, USD";
    }
    /// TM5: a counterparty never seen before, an address younger than two days, fan-in, fan-out.
    counterparty Counterparty Counterparty {
        fan = 5, 2 to 100, "distinct counterparties in a day";
        fresh_hours = 48, 1 to 720, "an address added less than this before its use is fresh, hours";
        floor_usd = 1000, 1 to 1000000000, "first use below this is not told, USD";
    }
    /// TM6: an address or a name on a list; a share of tainted money above a bound; a coin that hides its trail.
    sanctioned Sanctioned Sanctioned {
        indirect_permille = 100, 1 to 1000, "indirect exposure that opens a case, permille";
        name_permille = 920, 800 to 1000, "likeness from which a name is told, permille";
        weak_permille = 970, 800 to 1000, "the same for an alias the list itself calls weak, permille";
    }
    /// TM7: a coin comes in, is converted, and leaves as another coin on another chain.
    chain_hop ChainHop ChainHop {
        minutes = 60, 1 to 10080, "minutes between in and out";
        out_permille = 500, 1 to 1000, "share of what came in that leaves, permille";
    }
    /// TM8: the same amount, or round amounts, again and again.
    repeated Repeated Repeated {
        count = 4, 2 to 100, "movements of the same amount";
        days = 7, 1 to 30, "within, days";
        round_usd = 1000, 1 to 1000000000, "an amount that is a multiple of this is round, USD";
        floor_usd = 100, 0 to 1000000000, "movements below this are not looked at, USD";
    }
    /// TM9: the venue's region of the owner is another than declared, or on the list; the key is bound to no address, or
    /// to one nobody declared; money from or to a high-risk place.
    geography Geography Geography {
        quiet_days = 7, 1 to 365, "days before the same finding is told again";
    }
    /// TM10: fees far above what was ever earned or held: trading that does not mind to lose.
    loss_indifferent LossIndifferent LossIndifferent {
        days = 1, 1 to 30, "window, days";
        cost_permille = 900, 1 to 100000, "costs and losses of this share of the money that came in, permille";
        turnover_permille = 10000, 1000 to 10000000, "traded volume above this share of the largest exposure, permille";
        floor_usd = 1000, 1 to 1000000000, "costs below this are not looked at, USD";
    }
    /// TM11: money whose sender is not the owner.
    third_party ThirdParty ThirdParty {
        floor_usd = 0, 0 to 1000000000, "deposits below this are not looked at, USD";
    }
    /// TM12: money round and round between own accounts.
    maze Maze Maze {
        hops = 4, 3 to 8, "transfers a cycle has at most";
        hours = 24, 1 to 720, "within, hours";
        floor_usd = 100, 0 to 1000000000, "transfers below this are not looked at, USD";
    }
    /// Own buy and own sell of nearly one price and size, close together, that leave the position where it was.
    wash Wash Wash {
        seconds = 1, 1 to 3600, "between the two, seconds";
        price_bps_tenths = 20, 0 to 1000, "distance of the two prices, tenths of a basis point";
        qty_permille = 50, 0 to 500, "difference of the two quantities, permille";
        repeats = 3, 1 to 1000, "pairs that make a pattern; a fill of the two against each other counts at once";
        within_minutes = 10, 1 to 1440, "pairs count for so long, minutes";
    }
    /// A large order near the touch, a fill on the other side, and the large order gone: again and again.
    spoofing Spoofing Spoofing {
        size_permille = 5000, 1000 to 1000000, "of the own median order, permille";
        depth_permille = 200, 1 to 1000, "of the first three levels, permille";
        ticks = 5, 0 to 1000, "from the touch, ticks";
        fill_seconds = 10, 1 to 600, "between the large order and the fill, seconds";
        cancel_millis = 2000, 1 to 60000, "between the fill and the cancel, milliseconds";
        cancel_permille = 800, 1 to 1000, "of the large order that is cancelled, permille";
        repeats = 3, 1 to 100, "times";
        within_minutes = 10, 1 to 1440, "within, minutes";
    }
    /// Several levels of one side, all gone right after a fill on the other.
    layering Layering Layering {
        levels = 3, 2 to 50, "different prices of one side";
        cancel_millis = 2000, 1 to 60000, "between the fill and the last cancel, milliseconds";
    }
    /// Messages at a sustained rate with hardly a fill.
    stuffing Stuffing Stuffing {
        venue_rate = 20, 1 to 10000, "messages a second the venue allows";
        rate_permille = 500, 1 to 1000, "of it, permille";
        seconds = 1, 1 to 60, "sustained, seconds";
        fill_permille = 10, 0 to 1000, "fills of these messages, below, permille";
    }
    /// A push with a large share of the volume, a move, and the position turned into it.
    ignition Ignition Ignition {
        share_permille = 300, 1 to 1000, "own aggressive share of the volume, permille";
        seconds = 60, 5 to 60, "window of the push, seconds";
        sigmas_permille = 3000, 100 to 20000, "the move, permille of the usual deviation of such a window";
        unwind_permille = 700, 1 to 1000, "of the position built that is turned, permille";
        unwind_minutes = 5, 1 to 60, "within, minutes";
    }
    /// A large share of the volume right before a funding stamp, with a move that helps the position.
    marking Marking Marking {
        share_permille = 200, 1 to 1000, "own share of the volume, permille";
        seconds = 60, 5 to 60, "window before the stamp, seconds";
        sigmas_permille = 2000, 100 to 20000, "the move, permille of the usual deviation of such a window";
    }
    /// A row of small own trades of one side at ever better prices.
    painting Painting Painting {
        trades = 8, 3 to 100, "in a row";
        seconds = 60, 1 to 600, "within, seconds";
        small_permille = 500, 1 to 1000, "each at most this share of the own median order, permille";
    }
    /// Own volume moves one market while a position in a related one gains.
    cross_product CrossProduct CrossProduct {
        share_permille = 300, 1 to 1000, "own aggressive share of the volume, permille";
        seconds = 60, 5 to 60, "window, seconds";
        sigmas_permille = 3000, 100 to 20000, "the move, permille of the usual deviation of such a window";
        ratio_permille = 1000, 1 to 100000, "value of the related position at least this share of the trade, permille";
    }
    /// A house order, then a client's of the same side.
    front_running FrontRunning FrontRunning {
        seconds = 60, 1 to 3600, "between the two, seconds";
        size_permille = 1000, 1 to 100000, "the client's value at least this share of the house's, permille";
    }
    /// Many small immediate orders, then a large one of the same side.
    pinging Pinging Pinging {
        probes = 10, 2 to 1000, "small immediate orders";
        seconds = 60, 1 to 3600, "within, seconds";
        minimum_permille = 2000, 1000 to 100000, "a probe is at most this multiple of the smallest order, permille";
        large_permille = 10000, 2000 to 10000000, "the large order is at least this multiple of the probes' mean, permille";
    }
    /// A position built before the news.
    insider Insider Insider {
        hours = 72, 1 to 720, "before the news, hours";
        value_usd = 5000, 1 to 1000000000, "value built, USD";
        built_permille = 800, 1 to 1000, "of the position at the news built in that time, permille";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_has_a_section_and_every_number_fits_its_range() {
        for (section, rule, fields) in SECTIONS {
            assert_eq!(Parameters::default().version(*rule), 1, "{section}");
            for field in *fields {
                assert!(field.low <= field.usual && field.usual <= field.high, "{section}.{}", field.name);
                let mut all = Parameters::default();
                assert_eq!(all.set(section, field.name, field.low), Ok(()));
                assert_eq!(all.set(section, field.name, field.high), Ok(()));
                assert_eq!(all.set(section, field.name, field.low - 1), Err(Unfit::Range(*field)));
                assert_eq!(all.set(section, field.name, field.high + 1), Err(Unfit::Range(*field)));
            }
        }
        assert_eq!(SECTIONS.len(), super::super::RULES.len());
    }

    #[test]
    fn a_change_needs_a_version() {
        let mut all = Parameters::default();
        assert_eq!(all.set("wash", "seconds", 61), Ok(()));
        assert_eq!(all.check(), Err(Unfit::Version("wash")));
        all.set_version("wash", 2).unwrap();
        assert_eq!((all.check(), all.version(Rule::Wash)), (Ok(()), 2));
        assert_eq!(all.set("wash", "minutes", 1), Err(Unfit::Name));
        assert_eq!(all.set("none", "minutes", 1), Err(Unfit::Section));
    }
}

//! Returns of several instruments on the same days: what a historical value at risk is computed from.
//!
//! In: one [`Series`] an instrument. Out: a rectangle of simple returns, oldest first. Never: a return made up for a day
//! an instrument did not have; a young or broken instrument that makes the table of all others short: it is left out by
//! name, and who is not in the table must not be traded on its strength.
//!
//! ```text
//!            BTC   ETH   NEW (listed last week: left out)
//!   day 1     r     r
//!   day 2     r     r        a day that one of the columns lacks is no row
//!   day 4     r     r
//! ```

use super::Series;
use keel_core::ids::Symbol;
use keel_core::units::Wall;
use std::collections::BTreeMap;

/// A rectangle of returns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    days: Vec<Wall>,
    columns: Vec<(Symbol, Vec<f64>)>,
    left_out: Vec<(Symbol, usize)>,
}

impl Table {
    /// The last `most` days on which every column has a return. A series with fewer than `least` returns is left out.
    #[must_use]
    pub fn align(series: &[(Symbol, &Series)], least: usize, most: usize) -> Self {
        let mut table = Self::default();
        let mut by_day: BTreeMap<Wall, Vec<f64>> = BTreeMap::new();
        for (symbol, series) in series {
            let returns: Vec<(Wall, f64)> = series.returns().collect();
            if returns.len() < least.max(1) {
                table.left_out.push((*symbol, returns.len()));
                continue;
            }
            for (day, value) in returns {
                by_day.entry(day).or_default().push(value);
            }
            table.columns.push((*symbol, Vec::new()));
        }
        by_day.retain(|_, row| row.len() == table.columns.len());
        let skip = by_day.len().saturating_sub(most);
        for (day, row) in by_day.into_iter().skip(skip) {
            table.days.push(day);
            for ((_, column), value) in table.columns.iter_mut().zip(row) {
                column.push(value);
            }
        }
        table
    }

    /// First instants of the days, oldest first.
    #[must_use]
    pub fn days(&self) -> &[Wall] {
        &self.days
    }

    /// The columns, each as long as there are days: `close / close before - 1`.
    #[must_use]
    pub fn columns(&self) -> &[(Symbol, Vec<f64>)] {
        &self.columns
    }

    /// Who has too short a history, and how many returns.
    #[must_use]
    pub fn left_out(&self) -> &[(Symbol, usize)] {
        &self.left_out
    }
}

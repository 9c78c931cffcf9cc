//! A page of Prometheus text, and the words people read it by.

use std::collections::BTreeMap;

/// Values by name and labels.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Without labels.
    pub(super) plain: BTreeMap<String, f64>,
    /// Name, value of the one label, value.
    pub(super) labelled: BTreeMap<String, BTreeMap<String, f64>>,
    /// Hop to cumulative counts by upper bound, seconds.
    pub(super) hops: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Page {
    /// Reads Prometheus text; a line it does not understand is left out.
    #[must_use]
    pub(super) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let Some((name, labels)) = name.split_once('{') else {
                page.plain.insert(name.to_owned(), value);
                continue;
            };
            let labels: Vec<(&str, &str)> =
                labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('=')).collect();
            let of = |wanted: &str| {
                labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"').to_owned())
            };
            match (of("hop"), of("le"), labels.first()) {
                (Some(hop), Some(le), _) if name == "keel_hop_seconds_bucket" => {
                    let bound = le.parse().unwrap_or(f64::INFINITY);
                    page.hops.entry(hop).or_default().push((bound, value));
                }
                (None, None, Some((_, label))) => {
                    let row = page.labelled.entry(name.to_owned()).or_default();
                    row.insert(label.trim_matches('"').to_owned(), value);
                }
                _ => {}
            }
        }
        page
    }

    /// A value without labels.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.plain.get(name).copied()
    }

    /// A value by its one label.
    #[must_use]
    pub(super) fn of(&self, name: &str, label: &str) -> Option<f64> {
        self.labelled.get(name)?.get(label).copied()
    }

    /// Counts of a hop by upper bound, not cumulative, since the page before.
    #[must_use]
    pub(super) fn counts(&self, hop: &str, before: Option<&Self>) -> Vec<(f64, f64)> {
        let empty = Vec::new();
        let now = self.hops.get(hop).unwrap_or(&empty);
        let then = before.and_then(|before| before.hops.get(hop)).unwrap_or(&empty);
        let mut below = 0.0;
        now.iter()
            .enumerate()
            .map(|(at, (bound, count))| {
                let since = count - then.get(at).map_or(0.0, |(_, count)| *count);
                let own = since - below;
                below = since;
                (*bound, own.max(0.0))
            })
            .collect()
    }
}

/// The upper bound of the bucket that holds the quantile; `None` of nothing.
#[must_use]
pub(super) fn quantile(counts: &[(f64, f64)], share: f64) -> Option<f64> {
    let all: f64 = counts.iter().map(|(_, count)| count).sum();
    let mut below = 0.0;
    counts.iter().find_map(|(bound, count)| {
        below += count;
        (all > 0.0 && below >= all * share).then_some(*bound)
    })
}

/// A state by its name.
#[must_use]
pub(super) fn word(value: Option<f64>, words: &[&'static str]) -> &'static str {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    value.and_then(|value| words.get(value as usize).copied()).unwrap_or("?")
}

/// How much a second since the page before.
#[must_use]
pub(super) fn rate(since: Option<(&Page, f64)>, now: f64, of: impl Fn(&Page) -> Option<f64>) -> String {
    let rate = since.and_then(|(before, seconds)| Some((now - of(before)?) / seconds));
    rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"))
}

/// Seconds for people.
#[must_use]
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s.is_infinite() => "> 1 s".to_owned(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s => format!("{s:.1} s"),
    }
}

/// USDT for people; a dash for what is not known.
#[must_use]
pub(super) fn money(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// State of the three links, whether the account was compared, and the brake.
#[must_use]
pub(super) fn standing(page: &Page) -> (String, &'static str) {
    const LINK: &[&str] = &["DOWN", "connected", "ready"];
    let link = |name: &str| word(page.get(&format!("keel_link_{name}_state")), LINK);
    let reconciled = word(page.get("keel_reconciled"), &["NO", "yes"]);
    let brake = page
        .get("keel_brake_state")
        .map_or("not published", |state| word(Some(state), &["active", "REDUCE ONLY", "CANCEL ONLY", "HALTED"]));
    let (public, private, trade) = (link("public"), link("private"), link("trade"));
    (format!("public {public}, private {private}, trade {trade}; account compared: {reconciled}"), brake)
}

/// The journal: health, last record, how many are not on the medium.
#[must_use]
pub(super) fn journal(page: &Page) -> String {
    let number = |name| page.get(name).unwrap_or(0.0);
    let (sequence, durable) = (number("keel_journal_head_sequence"), number("keel_journal_durable_sequence"));
    let health = word(page.get("keel_journal_health"), &["sound", "LOW", "FAULTY"]);
    let behind = (sequence - durable).max(0.0);
    format!("{health}, record {sequence:.0}, {behind:.0} of them not yet on the medium")
}

/// Value at risk, shortfall and stress, each beside its limit.
#[must_use]
pub(super) fn risk(page: &Page) -> String {
    let of = |name: &str, limit: &str| format!("{} of {}", money(page.get(name)), money(page.get(limit)));
    let var = of("keel_value_at_risk_usdt", "keel_value_at_risk_limit_usdt");
    let shortfall = of("keel_expected_shortfall_usdt", "keel_expected_shortfall_limit_usdt");
    let stress = of("keel_stress_loss_usdt", "keel_stress_limit_usdt");
    format!("value at risk {var}, shortfall {shortfall}, stress {stress} USDT")
}

/// How far each store of a shipper is.
#[must_use]
pub(super) fn ship(page: Option<&Page>) -> String {
    let Some(page) = page else { return "not watched; --ship ADDR".to_owned() };
    let Some(stores) = page.labelled.get("keel_ship_lag_records") else { return "no answer".to_owned() };
    let one = |(store, lag): (&String, &f64)| {
        let age = page.of("keel_ship_oldest_unshipped_seconds", store).unwrap_or(0.0);
        format!("{store} {lag:.0} records behind, the oldest {}", time(age))
    };
    stores.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_metric_is_left_out() {
        let page = Page::read("# HELP a b\nkeel_a 1\nkeel_b\nkeel_c{x=\"y\"} z\nkeel_d{x=\"y\"} 2\n\u{7f}{{{ 3");
        assert_eq!((page.plain.len(), page.of("keel_d", "y")), (1, Some(2.0)));
    }
}

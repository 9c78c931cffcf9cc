//! May this account, with this key, on this clock, go live? One question a line, every answer with its remedy.
//!
//! In: what the venue says of key, account, settings and time, and the policy of whoever runs keel. Out: [`Finding`]s;
//! none means yes. Never: an unknown taken for a good one. What could not be asked is a finding too.

use crate::rest::{Account, KeyFacts};
use core::fmt;

/// What must hold before an order may leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The account the key must belong to; 0 accepts any.
    pub user: u64,
    /// Addresses the key must be bound to at least one of; empty: bound to any.
    pub addresses: Vec<String>,
    /// Days an unbound key must have left; keys bound to an address do not die.
    pub min_days: i64,
    /// Accept a key bound to no address (demo, loopback).
    pub unbound: bool,
    /// Verification levels accepted, the venue's words.
    pub kyc_levels: Vec<String>,
    /// Countries of residence refused, ISO 3166 alpha-3.
    pub refused_regions: Vec<String>,
    /// Margin mode required, the venue's word.
    pub margin_mode: String,
    /// Largest difference between our clock and the venue's, milliseconds. The venue's forward edge is 1000.
    pub max_clock_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            user: 0,
            addresses: Vec::new(),
            min_days: 14,
            unbound: false,
            kyc_levels: vec!["LEVEL_1".to_owned(), "LEVEL_2".to_owned()],
            refused_regions: ["USA", "CHN", "PRK", "IRN", "CUB", "SYR"].map(str::to_owned).to_vec(),
            margin_mode: "REGULAR_MARGIN".to_owned(),
            max_clock_ms: 250,
        }
    }
}

/// What the venue said; `None` where it could not be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// `query-api`.
    pub key: Option<KeyFacts>,
    /// `account/info`.
    pub account: Option<Account>,
    /// It re-prices orders outside the band instead of refusing them.
    pub reprices: Option<bool>,
    /// Hedge mode was seen on any of our instruments.
    pub hedged: Option<bool>,
    /// Our clock less the venue's, milliseconds.
    pub clock_ms: Option<i64>,
}

/// One reason not to go live. Names are stable: they stand in records and runbooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An answer is missing: which.
    Unasked(&'static str),
    /// The key belongs to another account.
    WrongAccount(u64),
    /// The key may only read.
    ReadOnly,
    /// The key may not place orders or manage positions.
    NoTrade,
    /// The key may withdraw.
    Withdraws,
    /// The key is bound to no address.
    Unbound,
    /// The key is bound to addresses, none of them ours.
    WrongAddress,
    /// The key dies in so many days.
    Expires(i64),
    /// The person behind the account is not verified as required.
    Kyc(String),
    /// The person behind the account lives where we may not trade for them, or nobody says where.
    Region(String),
    /// Not a unified account.
    NotUnified,
    /// Another margin mode.
    MarginMode(String),
    /// Positions are kept in hedge mode.
    HedgeMode,
    /// The venue would move our prices.
    Reprices,
    /// The clocks are apart, milliseconds.
    Clock(i64),
}

impl Finding {
    /// Its stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unasked(_) => "unasked",
            Self::WrongAccount(_) => "wrong_account",
            Self::ReadOnly => "read_only",
            Self::NoTrade => "no_trade",
            Self::Withdraws => "withdraws",
            Self::Unbound => "unbound",
            Self::WrongAddress => "wrong_address",
            Self::Expires(_) => "expires",
            Self::Kyc(_) => "kyc",
            Self::Region(_) => "region",
            Self::NotUnified => "not_unified",
            Self::MarginMode(_) => "margin_mode",
            Self::HedgeMode => "hedge_mode",
            Self::Reprices => "reprices",
            Self::Clock(_) => "clock",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked(what) => {
                write!(f, "the venue did not answer about {what}: try again, or look at its status page")
            }
            Self::WrongAccount(user) => {
                write!(f, "the key belongs to account {user}: use the key of the configured one")
            }
            Self::ReadOnly => f.write_str("the key may only read: make one with contract trading allowed"),
            Self::NoTrade => f.write_str("the key lacks contract orders or positions: allow both"),
            Self::Withdraws => f.write_str("the key may withdraw: make one that may not; trading needs no such right"),
            Self::Unbound => f.write_str("the key is bound to no address: bind it to this machine's"),
            Self::WrongAddress => f.write_str("the key is bound to other addresses: add this machine's"),
            Self::Expires(days) => write!(f, "the key dies in {days} days: renew it, or bind it to an address"),
            Self::Kyc(level) => write!(f, "the account is verified as {level}: the policy asks for more"),
            Self::Region(region) => write!(f, "the account's region is {region}: the policy refuses it"),
            Self::NotUnified => f.write_str("the account is not a unified one: upgrade it at the venue"),
            Self::MarginMode(mode) => write!(f, "the margin mode is {mode}: switch it, or change the policy"),
            Self::HedgeMode => f.write_str("positions are in hedge mode: switch to one-way"),
            Self::Reprices => f.write_str("the venue re-prices orders outside the band: set it to reject them"),
            Self::Clock(off) => write!(f, "our clock is {off} ms off the venue's: let NTP set it"),
        }
    }
}

/// Every reason not to go live.
#[must_use]
pub fn account_checks(policy: &Policy, answers: &Answers) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &answers.key {
        None => findings.push(Finding::Unasked("the key")),
        Some(key) => key_checks(policy, key, &mut findings),
    }
    match &answers.account {
        None => findings.push(Finding::Unasked("the account")),
        Some(account) => {
            let unified = account.unified >= UNIFIED;
            refuse(&mut findings, unified, Finding::NotUnified);
            let mode = account.margin_mode == policy.margin_mode;
            refuse(&mut findings, mode, Finding::MarginMode(account.margin_mode.clone()));
        }
    }
    match answers.reprices {
        None => findings.push(Finding::Unasked("price limits")),
        Some(reprices) => refuse(&mut findings, !reprices, Finding::Reprices),
    }
    match answers.hedged {
        None => findings.push(Finding::Unasked("the position mode")),
        Some(hedged) => refuse(&mut findings, !hedged, Finding::HedgeMode),
    }
    match answers.clock_ms {
        None => findings.push(Finding::Unasked("the time")),
        Some(off) => refuse(&mut findings, off.unsigned_abs() <= policy.max_clock_ms, Finding::Clock(off)),
    }
    findings
}

/// `unifiedMarginStatus` of a unified account 2.0; higher numbers are its later forms.
const UNIFIED: i32 = 5;

fn key_checks(policy: &Policy, key: &KeyFacts, findings: &mut Vec<Finding>) {
    let ours = policy.user == 0 || policy.user == key.user;
    refuse(findings, ours, Finding::WrongAccount(key.user));
    refuse(findings, !key.read_only, Finding::ReadOnly);
    refuse(findings, key.trades && key.positions, Finding::NoTrade);
    refuse(findings, !key.withdraws, Finding::Withdraws);
    let bound = !key.ips.is_empty() && key.ips.iter().all(|ip| ip != "*");
    if bound {
        let here = policy.addresses.is_empty() || policy.addresses.iter().any(|have| key.ips.contains(have));
        refuse(findings, here, Finding::WrongAddress);
    } else {
        refuse(findings, policy.unbound, Finding::Unbound);
        refuse(findings, key.days_left >= policy.min_days, Finding::Expires(key.days_left));
    }
    refuse(findings, policy.kyc_levels.contains(&key.kyc_level), Finding::Kyc(key.kyc_level.clone()));
    let known = !key.kyc_region.is_empty() && !policy.refused_regions.contains(&key.kyc_region);
    refuse(findings, known, Finding::Region(key.kyc_region.clone()));
    refuse(findings, key.unified, Finding::NotUnified);
}

fn refuse(findings: &mut Vec<Finding>, holds: bool, finding: Finding) {
    if !holds && !findings.contains(&finding) {
        findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Answers {
        Answers {
            key: Some(KeyFacts {
                user: 7,
                trades: true,
                positions: true,
                ips: vec!["203.0.113.9".to_owned()],
                days_left: -2,
                kyc_level: "LEVEL_1".to_owned(),
                kyc_region: "MYS".to_owned(),
                unified: true,
                ..KeyFacts::default()
            }),
            account: Some(Account { margin_mode: "REGULAR_MARGIN".to_owned(), unified: 6 }),
            reprices: Some(false),
            hedged: Some(false),
            clock_ms: Some(-120),
        }
    }

    #[test]
    fn a_good_account_goes_live_and_each_fault_is_named() {
        assert_eq!(account_checks(&Policy::default(), &good()), []);
        fn key(spoil: fn(&mut KeyFacts)) -> Answers {
            let mut answers = good();
            spoil(answers.key.as_mut().unwrap());
            answers
        }
        let strict = Policy { user: 8, addresses: vec!["198.51.100.1".to_owned()], ..Policy::default() };
        let rows: Vec<(Policy, Answers, &[&str])> = vec![
            (strict, good(), &["wrong_account", "wrong_address"]),
            (Policy::default(), key(|k| k.read_only = true), &["read_only"]),
            (Policy::default(), key(|k| k.trades = false), &["no_trade"]),
            (Policy::default(), key(|k| k.positions = false), &["no_trade"]),
            (Policy::default(), key(|k| k.withdraws = true), &["withdraws"]),
            (Policy::default(), key(|k| (k.ips, k.days_left) = (Vec::new(), 30)), &["unbound"]),
            (Policy::default(), key(|k| (k.ips, k.days_left) = (vec!["*".to_owned()], 13)), &["unbound", "expires"]),
            (Policy::default(), key(|k| k.kyc_level = "LEVEL_DEFAULT".to_owned()), &["kyc"]),
            (Policy::default(), key(|k| k.kyc_region = "USA".to_owned()), &["region"]),
            (Policy::default(), key(|k| k.kyc_region.clear()), &["region"]),
            (Policy::default(), key(|k| k.unified = false), &["not_unified"]),
            (Policy::default(), Answers { reprices: Some(true), ..good() }, &["reprices"]),
            (Policy::default(), Answers { hedged: Some(true), ..good() }, &["hedge_mode"]),
            (Policy::default(), Answers { clock_ms: Some(251), ..good() }, &["clock"]),
            (Policy::default(), Answers { clock_ms: Some(i64::MIN), ..good() }, &["clock"]),
            (Policy::default(), Answers::default(), &["unasked"; 5]),
        ];
        for (policy, answers, expected) in rows {
            let names: Vec<_> = account_checks(&policy, &answers).iter().map(Finding::name).collect();
            assert_eq!(names, expected, "{answers:?}");
        }
    }

    #[test]
    fn a_finding_says_what_to_do() {
        let said = Finding::Withdraws.to_string();
        assert!(said.contains("withdraw") && said.contains(':'), "{said}");
    }
}

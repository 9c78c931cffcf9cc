//! The registry of the account: who it belongs to, what evidence there is of it, and what the venue has to say of it.
//!
//! In: the section `[kyc]`. Out: a [`KycPolicy`] without anything personal in it, the evidence to look after, and rows for
//! `keel kyc show`. Never: a name, a reference or an address in a log: what is personal prints as nothing.

use super::{Config, within};
use crate::node::money::{Evidence, Terms};
use anyhow::{Context, Result, bail, ensure};
use keel_core::event::Standing;
use keel_core::units::Wall;
use keel_risk::kyc::KycPolicy;
use rust_decimal::Decimal;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// How money and the account are watched.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flows {
    /// Seconds between two polls of each of the venue's lists of money, and of the account and its key.
    pub poll_seconds: u64,
    /// Days the first run reads back.
    pub lookback_days: u64,
}

impl Default for Flows {
    fn default() -> Self {
        Self { poll_seconds: 2, lookback_days: 7 }
    }
}

impl Flows {
    pub(super) fn check(&self) -> Result<()> {
        within("flows.poll_seconds", self.poll_seconds, 1, 60, "s")?;
        within("flows.lookback_days", self.lookback_days, 0, 180, "days")
    }
}

impl Config {
    /// What the account has to be; `None` without a registry.
    pub fn policy(&self) -> Result<Option<KycPolicy>> {
        let uid = self.account.user.map_or_else(String::new, |user| user.to_string());
        self.kyc.as_ref().map(|kyc| kyc.policy(uid)).transpose()
    }

    /// What the teller goes by.
    pub fn terms(&self) -> Result<Terms> {
        Ok(Terms {
            every: self.flows.poll_seconds * 1_000_000_000,
            lookback: self.flows.lookback_days * 86_400_000_000_000,
            policy: self.policy()?,
            evidence: self.kyc.as_ref().map_or_else(|| Ok(Vec::new()), Kyc::documents)?,
        })
    }
}

/// A text that is nobody else's business.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Private(String);

impl Private {
    /// The text itself. Do not log it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(private)")
    }
}

/// One document of evidence.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What it is.
    pub what: String,
    /// Where it is.
    pub file: PathBuf,
    /// SHA-256 of it, 64 hexadecimal digits.
    pub sha256: String,
}

/// The registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kyc {
    /// Whose account it is.
    pub legal_name: Private,
    /// How the owner is called in the operator's files.
    pub reference: Private,
    /// Where the owner lives, ISO 3166 alpha-3.
    pub residence: Private,
    /// What the owner said would come and go in a month, USD.
    pub declared_monthly_usd: Option<Decimal>,
    /// Whom the owner said money would come from and go to.
    #[serde(default)]
    pub counterparties: Vec<Private>,
    /// Addresses the owner said money would come from and go to.
    #[serde(default)]
    pub declared_addresses: Vec<Private>,
    /// The documents behind it.
    #[serde(default)]
    pub evidence: Vec<Document>,
    /// The last day before which the account must be reviewed again, like 2027-01-31.
    pub review_by: String,
    /// How well the venue must know the owner, at least: its word.
    pub level: String,
    /// The owner's region, as the venue names it.
    pub region: String,
    /// What the key may do: `trade`, `transfer`, `other`.
    pub permissions: Vec<String>,
    /// The key must be bound to an address.
    #[serde(default = "yes")]
    pub bound: bool,
    /// Addresses it may be bound to; none: to any.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Days a key that expires must have left.
    #[serde(default = "two_weeks")]
    pub key_days: u64,
}

fn yes() -> bool {
    true
}

fn two_weeks() -> u64 {
    14
}

impl Kyc {
    /// What the account of this UID has to be.
    pub fn policy(&self, uid: String) -> Result<KycPolicy> {
        let word = |name: &str, text: &str| {
            let fits = !text.is_empty() && text.len() <= 31 && text.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(fits, "kyc.{name}: one word of at most 31 plain characters");
            Ok(text.to_owned())
        };
        ensure!(
            (1..=365).contains(&self.key_days),
            "kyc.key_days is {}; it must be between 1 and 365 days",
            self.key_days
        );
        let (level, region) = (word("level", &self.level)?, word("region", &self.region)?);
        let day: jiff::civil::Date = self.review_by.parse().context("kyc.review_by: a day like 2027-01-31")?;
        let end = day.tomorrow().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC)).context("kyc.review_by")?;
        let end = u64::try_from(end.timestamp().as_millisecond()).context("kyc.review_by: after 1970")?;
        let bit = |word: &String| match word.as_str() {
            "trade" => Ok(Standing::TRADE),
            "transfer" => Ok(Standing::TRANSFER),
            "other" => Ok(Standing::OTHER),
            _ => {
                bail!("kyc.permissions: {word:?}: trade, transfer or other; a key that may withdraw is never permitted")
            }
        };
        let permissions = self.permissions.iter().map(bit).try_fold(0, |bits, bit| bit.map(|bit| bits | bit))?;
        self.documents()?;
        let addresses = self.addresses.iter().map(ToString::to_string).collect();
        let (bound, key_days, review) = (self.bound, self.key_days, Wall::from_millis(end));
        Ok(KycPolicy { uid, level, region, permissions, bound, addresses, key_days, review })
    }

    /// The evidence to look after.
    pub fn documents(&self) -> Result<Vec<Evidence>> {
        let row = |document: &Document| {
            let sha256 = keel_risk::consent::hex(&document.sha256);
            let sha256 =
                sha256.with_context(|| format!("kyc.evidence {:?}: sha256 is 64 hexadecimal digits", document.what))?;
            Ok(Evidence { path: document.file.clone(), sha256 })
        };
        self.evidence.iter().map(row).collect()
    }

    /// All of it, for the person who asked.
    #[must_use]
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let list = |all: &[Private]| all.iter().map(Private::reveal).collect::<Vec<_>>().join(", ");
        let addresses = self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        vec![
            ("legal name", self.legal_name.reveal().to_owned()),
            ("reference", self.reference.reveal().to_owned()),
            ("residence", self.residence.reveal().to_owned()),
            ("declared monthly", self.declared_monthly_usd.map_or_else(|| "-".to_owned(), |usd| format!("{usd} USD"))),
            ("counterparties", list(&self.counterparties)),
            ("addresses", list(&self.declared_addresses)),
            ("review by", self.review_by.clone()),
            ("level", self.level.clone()),
            ("region", self.region.clone()),
            ("permissions", self.permissions.join(", ")),
            ("bound to", if self.bound { format!("an address {addresses}") } else { "-".to_owned() }),
            ("key days", self.key_days.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        legal_name = "Ann Owner"
        reference = "C-1"
        residence = "MYS"
        declared_monthly_usd = 50000
        counterparties = ["A Bank"]
        declared_addresses = ["T9zP"]
        review_by = "2030-01-31"
        level = "LEVEL_1"
        region = "MYS"
        permissions = ["trade"]
        addresses = ["203.0.113.9"]
        evidence = [{ what = "passport", file = "/etc/keel/kyc/passport.pdf", sha256 = "00" }]
    "#;

    fn read(text: &str) -> Result<KycPolicy> {
        let text = text.replace("\"00\"", &format!("\"{}\"", "0a".repeat(32)));
        toml::from_str::<Kyc>(&text)?.policy("7".to_owned())
    }

    #[test]
    fn a_registry_is_a_policy_without_anything_personal() {
        let policy = read(GOOD).unwrap();
        assert_eq!((policy.permissions, policy.bound, policy.key_days), (Standing::TRADE, true, 14));
        assert_eq!(policy.review.millis(), 1_896_134_400_000, "to the end of the day");
        let kyc: Kyc = toml::from_str(GOOD).unwrap();
        let printed = format!("{kyc:?}{}", policy.text());
        for personal in ["Ann", "C-1", "A Bank", "T9zP"] {
            assert!(!printed.contains(personal), "{printed}");
            assert!(kyc.rows().iter().any(|(_, value)| value.contains(personal)), "{personal}");
        }
    }

    #[test]
    fn a_fault_of_the_registry_is_named() {
        for (from, to, fault) in [
            ("2030-01-31", "soon", "kyc.review_by"),
            ("\"trade\"", "\"withdraw\"", "never permitted"),
            ("LEVEL_1", "", "kyc.level"),
            ("region = \"MYS\"", "region = \"two words\"", "kyc.region"),
            ("\"00\"", "\"0\"", "sha256 is 64"),
            ("203.0.113.9", "nowhere", "addresses"),
            ("legal_name", "name", "unknown field"),
        ] {
            let why = format!("{:#}", read(&GOOD.replace(from, to)).unwrap_err());
            assert!(why.contains(fault), "{why}");
        }
    }
}

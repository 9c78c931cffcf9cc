//! What surveillance is made from, read from files: parameters and declarations in one TOML file, lists in a directory.
//!
//! In: paths, or none for what ships. Out: [`Terms`], with the SHA-256 of everything they came from. Never: an unknown
//! name, a number outside its range, a changed rule under an old version: each is one sentence.

use super::sanctions::{self, Loaded};
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::{StrategyId, Symbol, Text};
use keel_core::units::{Notional, SCALE, Wall};
use keel_risk::surveil::Terms;
use keel_risk::surveil::parameters::{Parameters, SECTIONS};
use keel_risk::surveil::registry::{Account, Address, MAX_ROWS, News, Registry};
use keel_risk::surveil::screen::{self, Lists};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;

/// What ships.
const SHIPPED: &str = include_str!("../../../deploy/surveillance.toml");

/// Where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Parameters and declarations; `None` for those that ship.
    pub parameters: Option<PathBuf>,
    /// Directory of the lists in force; `None` for none.
    pub lists: Option<PathBuf>,
}

/// Them, and what is worth knowing about their lists.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// For the fold.
    pub terms: Terms,
    /// When the oldest list was loaded; `None` without any.
    pub oldest: Option<Wall>,
    /// Changes when a file did.
    pub mark: [u8; 32],
}

impl Files {
    /// Reads all of them.
    pub fn read(&self) -> Result<Read> {
        let text = self.text()?;
        let told = || {
            self.parameters.as_ref().map_or("the parameters that ship".to_owned(), |path| path.display().to_string())
        };
        let (parameters, registry) = parse(&text).with_context(told)?;
        let Loaded { lists, oldest, digest: manifest } = match &self.lists {
            Some(dir) => sanctions::load(dir)?,
            None => Loaded::default(),
        };
        let mut all = Sha256::new();
        all.update(&text);
        lists.iter().for_each(|list| all.update(list.digest));
        let terms = Terms { parameters, registry, lists: Arc::new(Lists::new(lists)), digest: all.finalize().into() };
        Ok(Read { terms, oldest, mark: mark(&text, manifest) })
    }

    /// What [`Read::mark`] would be now, without reading the lists themselves.
    pub fn look(&self) -> Result<[u8; 32]> {
        let manifest = self.lists.as_deref().map_or(Ok(Loaded::default().digest), sanctions::mark)?;
        Ok(mark(&self.text()?, manifest))
    }

    fn text(&self) -> Result<String> {
        match &self.parameters {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display())),
            None => Ok(SHIPPED.to_owned()),
        }
    }
}

fn mark(text: &str, manifest: [u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(text).chain_update(manifest).finalize().into()
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Declared {
    high_risk: Vec<String>,
    privacy_coins: Vec<String>,
    clients: Vec<u16>,
    related: Vec<(String, String)>,
    linked: Vec<(String, String)>,
    scored: bool,
    account: Vec<DeclaredAccount>,
    address: Vec<DeclaredAddress>,
    news: Vec<DeclaredNews>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredAccount {
    uid: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    residence: String,
    #[serde(default)]
    monthly_usd: i64,
    opened: Option<String>,
    #[serde(default)]
    ips: Vec<String>,
    #[serde(default)]
    parties: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredAddress {
    address: String,
    added: Option<String>,
    #[serde(default)]
    country: String,
    #[serde(default)]
    own: bool,
    #[serde(default)]
    exposure_permille: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeclaredNews {
    at: String,
    symbol: String,
}

/// Parameters and declarations in a text.
pub fn parse(text: &str) -> Result<(Parameters, Registry)> {
    let all: toml::Table = toml::from_str(text).context("not TOML")?;
    let (mut parameters, mut registry) = (Parameters::default(), Registry::default());
    for (section, value) in all {
        if section == "registry" {
            registry = declared(value.try_into().context("[registry]")?)?;
            continue;
        }
        ensure!(
            SECTIONS.iter().any(|(known, ..)| *known == section),
            "[{section}]: there is no such rule; deploy/surveillance.toml names them all"
        );
        let toml::Value::Table(fields) = value else { bail!("{section}: a section is expected, [{section}]") };
        for (name, value) in fields {
            let number =
                value.as_integer().with_context(|| format!("[{section}] {name}: a whole number is expected"))?;
            if name == "version" {
                let version = u16::try_from(number).ok().filter(|version| *version > 0);
                let version = version.with_context(|| format!("[{section}] version: 1 to 65535 fits"))?;
                parameters.set_version(&section, version).map_err(|why| anyhow::anyhow!("[{section}]: {why}"))?;
            } else {
                let set = parameters.set(&section, &name, number);
                set.map_err(|why| anyhow::anyhow!("[{section}] {name} = {number}: {why}"))?;
            }
        }
    }
    parameters.check().map_err(|why| anyhow::anyhow!("{why}"))?;
    Ok((parameters, registry))
}

fn text<const N: usize>(what: &str, written: &str) -> Result<Text<N>> {
    Text::new(written.as_bytes())
        .with_context(|| format!("[registry] {what} {written:?}: at most {N} printable ASCII characters, no spaces"))
}

fn texts<const N: usize>(what: &str, written: &[String]) -> Result<Vec<Text<N>>> {
    written.iter().map(|one| text(what, one)).collect()
}

fn moment(what: &str, written: Option<&str>) -> Result<Wall> {
    let Some(written) = written else { return Ok(Wall::default()) };
    let at = crate::moment::parse(written, Wall::default());
    at.with_context(|| format!("[registry] {what} {written:?}: not a time (2026-11-22, 2026-11-22 17:00)"))
}

fn declared(it: Declared) -> Result<Registry> {
    let longest = [it.account.len(), it.address.len(), it.news.len(), it.related.len(), it.linked.len()];
    ensure!(longest.into_iter().all(|rows| rows <= MAX_ROWS), "[registry] more than {MAX_ROWS} rows of one kind");
    let symbol = |written: &String| -> Result<Symbol> { text("symbol", written) };
    let account = |row: &DeclaredAccount| {
        ensure!(
            row.monthly_usd >= 0 && row.monthly_usd <= 90_000_000_000,
            "[registry] monthly_usd: 0 to 90000000000 fits"
        );
        Ok(Account {
            uid: text("uid", &row.uid)?,
            name: row.name.clone(),
            residence: text("residence", &row.residence)?,
            monthly: Notional::from_raw(row.monthly_usd * SCALE),
            opened: moment("opened", row.opened.as_deref())?,
            ips: texts("ips", &row.ips)?,
            parties: texts("parties", &row.parties)?,
        })
    };
    let address = |row: &DeclaredAddress| {
        ensure!((0..=1000).contains(&row.exposure_permille), "[registry] exposure_permille: 0 to 1000 fits");
        let (added, country) = (moment("added", row.added.as_deref())?, text("country", &row.country)?);
        let (own, exposure) = (row.own, row.exposure_permille);
        Ok(Address { address: screen::address(&row.address), added, country, own, exposure })
    };
    let news = |row: &DeclaredNews| Ok(News { at: moment("at", Some(&row.at))?, symbol: symbol(&row.symbol)? });
    let registry = Registry {
        accounts: it.account.iter().map(account).collect::<Result<_>>()?,
        linked: it.linked.iter().map(|(a, b)| Ok((text("linked", a)?, text("linked", b)?))).collect::<Result<_>>()?,
        addresses: it.address.iter().map(address).collect::<Result<_>>()?,
        scored: it.scored,
        high_risk: texts("high_risk", &it.high_risk)?,
        privacy_coins: texts("privacy_coins", &it.privacy_coins)?,
        clients: it.clients.iter().map(|number| StrategyId(*number)).collect(),
        related: it.related.iter().map(|(a, b)| Ok((symbol(a)?, symbol(b)?))).collect::<Result<_>>()?,
        news: it.news.iter().map(news).collect::<Result<_>>()?,
    };
    Ok(registry.sorted())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_ships_holds_what_ships() {
        let (parameters, registry) = parse(SHIPPED).unwrap();
        assert_eq!(parameters, Parameters::default());
        assert_eq!((registry.privacy_coins.len(), registry.accounts.len()), (3, 0));
        for (section, _, fields) in SECTIONS {
            let from = SHIPPED.find(&format!("[{section}]")).unwrap_or_else(|| panic!("{section} is not in the file"));
            for field in *fields {
                let said = format!("{} to {}: {}", field.low, field.high, field.help);
                assert!(SHIPPED[from..].contains(&said), "{section}.{}: {said}", field.name);
            }
        }
        let read = Files::default().read().unwrap();
        assert_eq!((read.mark, read.oldest), (Files::default().look().unwrap(), None));
    }

    #[test]
    fn what_does_not_fit_is_one_sentence() {
        for (text, words) in [
            ("[wsah]\nversion = 2", "no such rule"),
            ("[wash]\nseconds = 61", "version = 2 or more"),
            ("[wash]\nversion = 2\nseconds = 0", "1 to 3600 fits"),
            ("[wash]\nversion = 2\nminutes = 1", "no such parameter"),
            ("[wash]\nversion = 0", "1 to 65535"),
            ("[wash]\nseconds = 1.5", "whole number"),
            ("wash = 3", "section is expected"),
            ("[wash", "not TOML"),
            ("[registry]\nhigh_risk = [\"a b\"]", "printable ASCII"),
            ("[registry]\nhigh = []", "registry"),
            ("[[registry.news]]\nat = \"soon\"\nsymbol = \"BTCUSDT\"", "not a time"),
            ("[[registry.address]]\naddress = \"x\"\nexposure_permille = 1001", "0 to 1000"),
        ] {
            let why = format!("{:#}", parse(text).unwrap_err());
            assert!(why.contains(words), "{text}: {why}");
        }
        let (changed, _) = parse("[wash]\nversion = 2\nseconds = 61").unwrap();
        assert_eq!((changed.wash.seconds, changed.wash.version), (61, 2));
    }
}

//! One TOML file, every value typed with its unit and range, unknown keys refused; secrets only by reference.
//!
//! In: a path. Out: a [`Config`] whose every number was checked, or one sentence that names the key, what it is, and
//! what it may be. Secrets are read from the environment, a file, or a systemd credential, and never printed.

#![allow(clippy::disallowed_methods, reason = "the one reader of the environment")]

use crate::compliance::terms::Files;
use crate::node::feed::Lines;
use crate::node::plan::Plan;
use crate::node::scout::Rounds;
use anyhow::{Context, Result, bail, ensure};
use keel_core::ids::{MAX_INSTRUMENTS, Symbol};
use keel_core::units::{Notional, parse_decimal};
use keel_gateway::account::Policy;
use keel_risk::consent::{Name, People};
use rust_decimal::Decimal;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use registry::{Flows, Kyc, Private};

mod registry;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the venue is.
    pub venue: Venue,
    /// Who we are to it.
    pub keys: Keys,
    /// How this process runs.
    pub node: Node,
    /// How market data comes in.
    #[serde(default)]
    pub feed: Feed,
    /// The record.
    #[serde(default)]
    pub journal: Journal,
    /// `/metrics` and `/healthz`.
    #[serde(default)]
    pub http: Http,
    /// The quoter.
    #[serde(default)]
    pub quoter: Quoter,
    /// What every order is cut to.
    #[serde(default)]
    pub sizing: Sizing,
    /// What no order may exceed.
    #[serde(default)]
    pub limits: Limits,
    /// Who may release the brake and change the limits: names, and public keys as `keel keys new` prints them.
    #[serde(default)]
    pub people: std::collections::BTreeMap<String, String>,
    /// What value at risk is taken over.
    #[serde(default)]
    pub scenarios: Scenarios,
    /// What the account must be before an order may leave.
    #[serde(default)]
    pub account: Account,
    /// How money and the account are watched.
    #[serde(default)]
    pub flows: Flows,
    /// Who the account belongs to, and what it has to be.
    pub kyc: Option<Kyc>,
    /// Surveillance; without this section none runs.
    pub surveillance: Option<Surveillance>,
    /// The second process, which cancels everything when this one falls silent.
    pub deadman: Option<Deadman>,
}

/// What value at risk is taken over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenarios {
    /// A file of daily returns: the columns `date` and one an instrument. Absent: the venue's daily closes.
    pub file: Option<PathBuf>,
    /// Days asked of the venue.
    pub days: u64,
}

impl Default for Scenarios {
    fn default() -> Self {
        Self { file: None, days: 500 }
    }
}

/// Addresses of the venue. All four must belong to the same environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Venue {
    /// `https://api-testnet.bybit.com`
    pub rest: String,
    /// `wss://stream-testnet.bybit.com/v5/public/linear`
    pub public: String,
    /// `wss://stream-testnet.bybit.com/v5/private`
    pub private: String,
    /// `wss://stream-testnet.bybit.com/v5/trade`
    pub trade: String,
    /// PEM file of the only authority to trust; the web's roots when absent.
    pub authority: Option<PathBuf>,
}

/// Where the two halves of the key are found.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The public half.
    pub key: Secret,
    /// The secret half.
    pub secret: Secret,
}

/// A reference to a secret, never the secret.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Secret {
    /// Name of an environment variable.
    Env(String),
    /// Path of a file that only this user may read.
    File(PathBuf),
    /// Name of a systemd credential (`LoadCredential=`).
    Credential(String),
}

/// The process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Directory of the journal; made when missing.
    pub data_dir: PathBuf,
    /// What to trade.
    pub symbols: Vec<String>,
    /// Which agent runs on which thread.
    #[serde(default = "default_plan")]
    pub plan: String,
    /// Hot threads spin without pause; only sensible when each has a core of its own.
    #[serde(default)]
    pub spin: bool,
    /// Seed of every jitter.
    #[serde(default)]
    pub seed: u64,
}

/// Market data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// Parallel connections to the public stream; of two, the first arrival counts.
    pub connections: usize,
    /// `wss://stream-testnet.bybit.com/v5/public/misc/status`; maintenance is not listened to when absent.
    pub status: Option<String>,
    /// Seconds between two readings of the venue's clock.
    pub clock_seconds: u64,
    /// Minutes between two readings of the instruments. One that changed is not traded until a restart.
    pub refresh_minutes: u64,
    /// Ask the kernel when it received each byte.
    pub kernel_stamps: bool,
}

/// The record.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Size of one segment, MiB.
    pub segment_mib: u64,
    /// When an order may leave: see [`Durability`].
    pub durability: Durability,
}

/// What the loss of the host may cost.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Records of the last moments, at most those above the durable watermark.
    #[default]
    Window,
    /// No decision: each waits for the medium before its order leaves.
    Sync,
}

/// The listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// The quoter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quoter {
    /// Position value at which it quotes one side only, USDT.
    pub inventory_usdt: Decimal,
    /// Ticks a quote may be off before it is moved.
    pub tolerance_ticks: u32,
    /// Milliseconds between two changes of one side.
    pub patience_ms: u64,
    /// Milliseconds it stays quiet on a side after a refusal.
    pub penance_ms: u64,
    /// Lean of the touch, permille, at which it takes its way out.
    pub alarm_permille: u32,
}

/// What every order is cut to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sizing {
    /// Value of one order, USDT.
    pub clip_usdt: Decimal,
    /// Value of a position, USDT.
    pub position_usdt: Decimal,
    /// Share of the touch a taking order may want, permille.
    pub participation_permille: u32,
}

/// What no order may exceed. Whatever is not given keeps the value of the demo account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Value of one order, USDT.
    pub order_usdt: Option<Decimal>,
    /// Sum of all positions and open orders, USDT.
    pub gross_usdt: Option<Decimal>,
    /// Value of one position if everything open on it filled, USDT.
    pub position_usdt: Option<Decimal>,
    /// Value at risk of one day at 99 %, if everything open filled, USDT.
    pub var_usdt: Option<Decimal>,
    /// Expected shortfall of the same, USDT; at least `var_usdt`.
    pub shortfall_usdt: Option<Decimal>,
    /// Messages a second over all strategies.
    pub messages_per_second: Option<u32>,
    /// Basis points of a minute's volume that may be ours, an order included; 0 is off.
    pub volume_bps: Option<i64>,
}

/// What the account must be before an order may leave. Whatever is not given keeps the strict value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    /// The account the key must belong to.
    pub user: Option<u64>,
    /// Addresses the key must be bound to at least one of.
    pub addresses: Vec<String>,
    /// Accept a key bound to no address.
    pub unbound: bool,
    /// Days an unbound key must have left.
    pub min_days: Option<i64>,
    /// Verification levels accepted, the venue's words.
    pub kyc_levels: Option<Vec<String>>,
    /// Countries of residence refused, ISO 3166 alpha-3.
    pub refused_regions: Option<Vec<String>>,
    /// Margin mode required, the venue's word.
    pub margin_mode: Option<String>,
    /// Largest difference between our clock and the venue's, milliseconds.
    pub max_clock_ms: Option<u64>,
    /// Seconds of silence after which the venue itself cancels everything, where the account has that.
    pub disconnect_seconds: Option<u16>,
}

impl Account {
    /// As the gateway's checks take it.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let usual = Policy::default();
        Policy {
            user: self.user.unwrap_or(usual.user),
            addresses: self.addresses.clone(),
            min_days: self.min_days.unwrap_or(usual.min_days),
            unbound: self.unbound,
            kyc_levels: self.kyc_levels.clone().unwrap_or(usual.kyc_levels),
            refused_regions: self.refused_regions.clone().unwrap_or(usual.refused_regions),
            margin_mode: self.margin_mode.clone().unwrap_or(usual.margin_mode),
            max_clock_ms: self.max_clock_ms.unwrap_or(usual.max_clock_ms),
        }
    }
}

/// Surveillance: what it watches by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Surveillance {
    /// Parameters and declarations; those of deploy/surveillance.toml when absent.
    pub parameters: Option<PathBuf>,
    /// Directory of the sanctions lists in force (`keel sanctions load`); none when absent.
    pub lists: Option<PathBuf>,
}

impl Surveillance {
    /// As the agent takes it.
    #[must_use]
    pub fn files(&self) -> Files {
        Files { parameters: self.parameters.clone(), lists: self.lists.clone() }
    }
}

/// The dead man's switch: its own key, its own patience.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadman {
    /// The public half of its own key.
    pub key: Secret,
    /// The secret half.
    pub secret: Secret,
    /// Milliseconds of silence after which it acts.
    #[serde(default = "default_silence")]
    pub silence_ms: u64,
    /// Close every position too, reduce-only, in slices.
    #[serde(default)]
    pub flatten: bool,
    /// Value of one slice, USDT.
    #[serde(default = "default_slice")]
    pub slice_usdt: Decimal,
}

fn default_silence() -> u64 {
    2_000
}

fn default_slice() -> Decimal {
    5_000.into()
}

fn default_plan() -> String {
    "feed+engine+orders | journal+http".to_owned()
}

impl Default for Feed {
    fn default() -> Self {
        Self { connections: 1, status: None, clock_seconds: 10, refresh_minutes: 60, kernel_stamps: true }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self { segment_mib: 64, durability: Durability::default() }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

impl Default for Quoter {
    fn default() -> Self {
        Self {
            inventory_usdt: 4_000.into(),
            tolerance_ticks: 2,
            patience_ms: 250,
            penance_ms: 1_000,
            alarm_permille: 900,
        }
    }
}

impl Default for Sizing {
    fn default() -> Self {
        Self { clip_usdt: 1_000.into(), position_usdt: 5_000.into(), participation_permille: 500 }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))?;
        let config: Self = toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
        config.check().with_context(|| format!("{} is not valid", path.display()))?;
        Ok(config)
    }

    /// Are all values within their ranges?
    pub fn check(&self) -> Result<()> {
        let usdt = |name, value: Decimal, most: i64| within(name, value, Decimal::ONE, most.into(), "USDT");
        within("feed.connections", self.feed.connections, 1, 2, "connections")?;
        within("feed.clock_seconds", self.feed.clock_seconds, 1, 3_600, "s")?;
        within("feed.refresh_minutes", self.feed.refresh_minutes, 1, 1_440, "minutes")?;
        within("journal.segment_mib", self.journal.segment_mib, 1, keel_journal::segment::MAX_BYTES >> 20, "MiB")?;
        within("quoter.patience_ms", self.quoter.patience_ms, 1, 60_000, "ms")?;
        within("quoter.penance_ms", self.quoter.penance_ms, 1, 60_000, "ms")?;
        within("quoter.tolerance_ticks", self.quoter.tolerance_ticks, 0, 10_000, "ticks")?;
        within("quoter.alarm_permille", self.quoter.alarm_permille, 1, 1_000, "permille")?;
        within("sizing.participation_permille", self.sizing.participation_permille, 1, 1_000, "permille")?;
        usdt("quoter.inventory_usdt", self.quoter.inventory_usdt, 1_000_000_000)?;
        usdt("sizing.clip_usdt", self.sizing.clip_usdt, 1_000_000_000)?;
        usdt("sizing.position_usdt", self.sizing.position_usdt, 1_000_000_000)?;
        for (name, value) in [
            ("limits.order_usdt", self.limits.order_usdt),
            ("limits.gross_usdt", self.limits.gross_usdt),
            ("limits.position_usdt", self.limits.position_usdt),
            ("limits.var_usdt", self.limits.var_usdt),
            ("limits.shortfall_usdt", self.limits.shortfall_usdt),
        ] {
            value.map_or(Ok(()), |value| usdt(name, value, 10_000_000_000))?;
        }
        within("scenarios.days", self.scenarios.days, 250, 4_000, "days")?;
        self.people()?;
        if let Some(share) = self.limits.volume_bps {
            within("limits.volume_bps", share, 0, 100_000, "basis points")?;
        }
        if let Some(rate) = self.limits.messages_per_second {
            within("limits.messages_per_second", rate, 1, 100, "messages a second")?;
        }
        if let Some(seconds) = self.account.disconnect_seconds {
            within("account.disconnect_seconds", seconds, 3, 300, "s")?;
        }
        if let Some(deadman) = &self.deadman {
            within("deadman.silence_ms", deadman.silence_ms, 200, 60_000, "ms")?;
            usdt("deadman.slice_usdt", deadman.slice_usdt, 1_000_000_000)?;
        }
        self.flows.check()?;
        self.policy()?;
        self.plan()?;
        self.symbols().map(|_| ())
    }

    /// Those who may release the brake and change the limits.
    pub fn people(&self) -> Result<Vec<(Name, [u8; 32])>> {
        let row = |(name, key): (&String, &String)| {
            let known = Name::new(name.as_bytes()).filter(|name| !name.is_empty());
            let known = known.with_context(|| format!("people: {name:?} is no name"))?;
            let bytes = keel_risk::consent::hex(key);
            Ok((known, bytes.with_context(|| format!("people.{name}: not a public key of 64 hexadecimal digits"))?))
        };
        let rows = self.people.iter().map(row).collect::<Result<Vec<_>>>()?;
        People::new(&rows).map_err(|why| anyhow::anyhow!("people: {why:?}: each key stands once, and is a key"))?;
        Ok(rows)
    }

    /// How market data comes in.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let feed = &self.feed;
        let rounds = Rounds {
            clock_every: feed.clock_seconds * 1_000_000_000,
            refresh_every: feed.refresh_minutes * 60_000_000_000,
        };
        let (connections, status) = (feed.connections, feed.status.clone());
        Lines { connections, status, rounds: Some(rounds), stamps: feed.kernel_stamps }
    }

    /// The plan, parsed.
    pub fn plan(&self) -> Result<Plan> {
        self.node.plan.parse().context("node.plan")
    }

    /// The symbols, checked.
    pub fn symbols(&self) -> Result<Vec<Symbol>> {
        let names = &self.node.symbols;
        within("number of node.symbols", names.len(), 1, MAX_INSTRUMENTS, "symbols")?;
        let mut seen = Vec::new();
        for name in names {
            let symbol = Symbol::new(name.as_bytes()).filter(|s| !s.is_empty());
            let symbol = symbol.with_context(|| format!("node.symbols: {name:?} is not a symbol"))?;
            ensure!(!seen.contains(&symbol), "node.symbols: {name} stands twice");
            seen.push(symbol);
        }
        Ok(seen)
    }
}

/// `value` between `least` and `most`, or a sentence.
fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T, unit: &str) -> Result<()> {
    ensure!(value >= least && value <= most, "{name} is {value}; it must be between {least} and {most} {unit}");
    Ok(())
}

/// Decimal USDT to money. The range was checked at load.
pub fn notional(value: Decimal) -> Result<Notional> {
    let raw = parse_decimal(value.normalize().to_string().as_bytes());
    raw.map(Notional::from_raw)
        .map_err(|why| anyhow::anyhow!("{value} USDT cannot be counted in steps of 1e-8: {why:?}"))
}

impl Secret {
    /// The secret itself. Do not print it.
    pub fn read(&self) -> Result<String> {
        let text = match self {
            Self::Env(name) => {
                std::env::var(name).with_context(|| format!("environment variable {name} is not set"))?
            }
            Self::File(path) => private_file(path)?,
            Self::Credential(name) => {
                let dir = std::env::var("CREDENTIALS_DIRECTORY")
                    .context("no systemd credentials here: start keel through its unit, or use env or file")?;
                private_file(&Path::new(&dir).join(name))?
            }
        };
        let text = text.trim().to_owned();
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            bail!("{self:?} holds no usable secret: it must be printable ASCII without spaces");
        }
        Ok(text)
    }
}

fn private_file(path: &Path) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).with_context(|| format!("secret file {}", path.display()))?.permissions().mode();
    ensure!(
        mode & 0o077 == 0,
        "secret file {} may be read by others (mode {:o}): chmod 600 it",
        path.display(),
        mode & 0o777
    );
    std::fs::read_to_string(path).with_context(|| format!("secret file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [venue]
        rest = "http://127.0.0.1:1"
        public = "ws://127.0.0.1:1/v5/public/linear"
        private = "ws://127.0.0.1:1/v5/private"
        trade = "ws://127.0.0.1:1/v5/trade"
        [keys]
        key = { env = "KEEL_KEY" }
        secret = { file = "/nonexistent" }
        [node]
        data_dir = "d"
        symbols = ["BTCUSDT"]
    "#;

    #[test]
    fn every_fault_is_named_with_its_key() {
        let rows = [
            ("", ""),
            ("[http]\nlisten = \"nowhere\"", "listen"),
            ("[journal]\nsegment_mib = 0", "journal.segment_mib is 0; it must be between 1 and 2048 MiB"),
            ("[feed]\nconnections = 3", "feed.connections is 3; it must be between 1 and 2 connections"),
            ("[feed]\nrefresh_minutes = 0", "feed.refresh_minutes is 0"),
            ("[feed]\nconnections = 2\nstatus = \"ws://127.0.0.1:1/v5/public/misc/status\"", ""),
            ("[journal]\nsegment_mib = 4096", "journal.segment_mib is 4096; it must be between 1 and 2048 MiB"),
            ("[journal]\ndurability = \"sync\"", ""),
            ("[journal]\ndurability = \"maybe\"", "unknown variant `maybe`"),
            ("[journal]\nsegments = 3", "unknown field `segments`"),
            ("[quoter]\nalarm_permille = 2000", "quoter.alarm_permille is 2000"),
            ("[sizing]\nclip_usdt = 0", "sizing.clip_usdt is 0"),
            ("[sizing]\nclip_usdt = \"much\"", "clip_usdt"),
            ("[limits]\nposition_usdt = -1", "limits.position_usdt is -1"),
            ("[flows]\npoll_seconds = 0", "flows.poll_seconds is 0"),
            ("[kyc]\nlegal_name = \"A\"", "missing field"),
        ];
        for (more, fault) in rows {
            let parsed = toml::from_str::<Config>(&format!("{GOOD}\n{more}")).map_err(anyhow::Error::from);
            let outcome = parsed.and_then(|config| config.check());
            match (outcome, fault) {
                (Ok(()), "") => {}
                (Ok(()), _) => panic!("{more} was accepted"),
                (Err(error), _) => assert!(!fault.is_empty() && format!("{error:#}").contains(fault), "{error:#}"),
            }
        }
        for (from, to, fault) in [
            ("[\"BTCUSDT\"]", "[]", "number of node.symbols is 0"),
            ("[\"BTCUSDT\"]", "[\"A\", \"A\"]", "stands twice"),
            ("data_dir = \"d\"", "data_dir = \"d\"\nplan = \"feed\"", "no thread"),
        ] {
            let config: Config = toml::from_str(&GOOD.replace(from, to)).unwrap();
            let error = format!("{:#}", config.check().unwrap_err());
            assert!(error.contains(fault), "{error}");
        }
    }

    #[test]
    fn a_secret_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("keel-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let open = Secret::File(path.clone()).read().unwrap_err().to_string();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let closed = Secret::File(path.clone()).read().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(open.contains("chmod 600") && closed == "s3cret", "{open}");
        assert!(Secret::Env("KEEL_NO_SUCH".into()).read().is_err());
    }

    #[test]
    fn money_is_exact() {
        assert_eq!(notional("1000.5".parse().unwrap()).unwrap(), Notional::parse(b"1000.5").unwrap());
        assert!(notional("0.000000001".parse().unwrap()).is_err());
    }
}

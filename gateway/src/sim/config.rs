//! What an exchange is told at the start.

use super::spec::Spec;
use keel_core::units::Notional;

/// Permissions and binding of one API key.
#[derive(Clone, Debug)]
pub struct KeyConfig {
    /// Public part.
    pub key: String,
    /// Secret part.
    pub secret: String,
    /// May only read.
    pub read_only: bool,
    /// `ContractTrade` permissions are present.
    pub trade: bool,
    /// `Withdraw` permission is present.
    pub withdraw: bool,
    /// `AccountTransfer` permission is present.
    pub transfer: bool,
    /// Days until it dies while it is bound to no address.
    pub days: u16,
    /// Addresses the key is bound to; empty is any.
    pub ips: Vec<String>,
}

/// One trading account and its keys.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// API keys.
    pub keys: Vec<KeyConfig>,
    /// USDT at the start.
    pub wallet: Notional,
    /// Calls a second on each order endpoint.
    pub order_limit: u32,
    /// `vipLevel` as `query-api` tells it.
    pub vip: String,
    /// `kycLevel` as `query-api` tells it.
    pub kyc: String,
    /// `kycRegion` as `query-api` tells it.
    pub region: String,
    /// Fee rates (taker, maker) in 1e-8 instead of the instrument's.
    pub fees: Option<(i64, i64)>,
}

impl AccountConfig {
    /// An account with one unrestricted key and default limits.
    #[must_use]
    pub fn new(key: &str, secret: &str, wallet: Notional) -> Self {
        let key = KeyConfig {
            key: key.to_owned(),
            secret: secret.to_owned(),
            read_only: false,
            trade: true,
            withdraw: false,
            transfer: false,
            days: 83,
            ips: Vec::new(),
        };
        Self {
            keys: vec![key],
            wallet,
            order_limit: 10,
            vip: "No VIP".to_owned(),
            kyc: "LEVEL_1".to_owned(),
            region: "MYS".to_owned(),
            fees: None,
        }
    }

    /// The account of a stranger's first minute: `demo-key`, `demo-secret`, 100,000 USDT, the highest limits.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            order_limit: 1_200,
            vip: "PRO6".to_owned(),
            ..Self::new("demo-key", "demo-secret", Notional::whole(100_000))
        }
    }
}

/// Where a symbol's market comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarketSource {
    /// Frames arrive as [`super::Input::Tape`].
    #[default]
    Tape,
    /// Generated from the seed.
    Generated,
}

/// Everything an exchange is told at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What trades, each with the source of its market.
    pub symbols: Vec<(Spec, MarketSource)>,
    /// Who trades.
    pub accounts: Vec<AccountConfig>,
    /// Requests one address may make in 5 s before it gets HTTP 403.
    pub ip_limit: u32,
    /// WebSockets one address may open in five minutes; one more is closed at once.
    pub connect_limit: u32,
    /// WebSockets one address may hold; one more is closed at once.
    pub sockets_limit: usize,
    /// Milliseconds of silence after which a socket is closed, unless its URL says otherwise.
    pub idle_ms: u64,
    /// Milliseconds an answer on a WebSocket takes, as over any network; what follows on that socket waits behind it.
    pub answer_ms: u64,
    /// The admin endpoint answers (`/sim/...`).
    pub admin: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            symbols: Spec::majors().into_iter().map(|spec| (spec, MarketSource::Generated)).collect(),
            accounts: vec![AccountConfig::demo()],
            ip_limit: 600,
            connect_limit: 500,
            sockets_limit: 1_000,
            idle_ms: 600_000,
            answer_ms: 0,
            admin: true,
        }
    }
}

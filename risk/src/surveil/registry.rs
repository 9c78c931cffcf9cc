//! What people declare and the venue does not say: who owns which account, which addresses are known, whose orders are
//! whose, when news came out. A rule whose declaration is missing says so; it never takes silence for innocence.

use keel_core::ids::{StrategyId, Symbol, Text};
use keel_core::units::{Notional, Wall};

/// Rows of one kind a registry may have; a longer one is refused where it is loaded.
pub const MAX_ROWS: usize = 10_000;

/// One account of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The venue's UID.
    pub uid: Text<31>,
    /// Legal name of the owner.
    pub name: String,
    /// Where the owner lives, as the venue names regions.
    pub residence: Text<31>,
    /// What it may be expected to move in a month; zero when not declared.
    pub monthly: Notional,
    /// When it was opened; zero when not declared.
    pub opened: Wall,
    /// Addresses its key may be used from.
    pub ips: Vec<Text<63>>,
    /// The owner's own names at other places: UIDs, VASPs, names.
    pub parties: Vec<Text<63>>,
}

/// One address people know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// It, normalised as [`super::screen::address`] does.
    pub address: String,
    /// When it was added to the venue's address book; zero when long ago.
    pub added: Wall,
    /// The country it belongs to, when known.
    pub country: Text<31>,
    /// It is our own.
    pub own: bool,
    /// What a provider says of it: share of its money that came indirectly from listed places, permille; zero is clean.
    pub exposure: i64,
}

/// News that moves prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// When it came out.
    pub at: Wall,
    /// About what.
    pub symbol: Symbol,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// Accounts of ours.
    pub accounts: Vec<Account>,
    /// Accounts that belong together beyond what the journal shows.
    pub linked: Vec<(Text<31>, Text<31>)>,
    /// Known addresses, sorted by address.
    pub addresses: Vec<Address>,
    /// A provider scored the addresses.
    pub scored: bool,
    /// Regions of high risk.
    pub high_risk: Vec<Text<31>>,
    /// Coins that hide their trail.
    pub privacy_coins: Vec<Text<15>>,
    /// Strategies that trade for clients.
    pub clients: Vec<StrategyId>,
    /// Instruments whose prices move each other: the traded one, the one that profits.
    pub related: Vec<(Symbol, Symbol)>,
    /// News, in order of time.
    pub news: Vec<News>,
}

impl Registry {
    /// The account with this UID.
    #[must_use]
    pub fn account(&self, uid: &Text<31>) -> Option<&Account> {
        self.accounts.iter().find(|account| account.uid == *uid)
    }

    /// What is known of a normalised address.
    #[must_use]
    pub fn address(&self, address: &str) -> Option<&Address> {
        let at = self.addresses.binary_search_by(|row| row.address.as_str().cmp(address)).ok()?;
        self.addresses.get(at)
    }

    /// Brings the rows into the order look-ups need.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.addresses.sort_by(|a, b| a.address.cmp(&b.address));
        self.news.sort_by_key(|news| news.at);
        self
    }
}

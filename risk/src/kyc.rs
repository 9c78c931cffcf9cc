//! Is the account, with its owner and its key, what the registry says?
//!
//! In: a [`KycPolicy`] that stands in the journal as a document, and each [`Standing`] the venue was read for. Out:
//! [`Breaches`]; any of them makes the account reduce-only until two people have looked. Never: a word nobody knows taken
//! for a good one; an account that was not read taken for a sound one; anything personal: names, references and evidence
//! stay in the registry, only whether the evidence holds comes in.
//!
//! ```text
//!   [kyc] of the configuration --text--> Document --read--> KycPolicy --breaches(Standing)--> brake: account, ReduceOnly
//! ```

use crate::brake::{Reason, Scope, State};
use crate::gate::Gate;
use core::fmt::Write as _;
use keel_core::event::Standing;
use keel_core::units::Wall;

/// What the account has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KycPolicy {
    /// The account's UID; empty accepts any.
    pub uid: String,
    /// How well the venue must know the owner, at least: its word.
    pub level: String,
    /// The owner's region, the venue's word.
    pub region: String,
    /// What the key may do: bits of [`Standing`].
    pub permissions: u64,
    /// The key must be bound to an address.
    pub bound: bool,
    /// Addresses it may be bound to; none: to any.
    pub addresses: Vec<String>,
    /// Days a key that expires must have left.
    pub key_days: u64,
    /// Until when people must have looked at the account again; zero: never.
    pub review: Wall,
}

macro_rules! breaches {
    ($($bit:literal $name:ident $word:literal, $meaning:literal;)*) => {
        /// One way in which an account is not what the registry says. Bits are stable and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Breach {
            $(#[doc = $meaning] $name = $bit,)*
        }

        impl Breach {
            /// Every breach, in the order of their bits.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its stable name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it says, and what to do.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }
        }
    };
}

breaches! {
    0 Unread "unread", "The venue did not say what the account is: look at the key and the links.";
    1 Account "account", "The key belongs to another account: use the key of the one in the registry.";
    2 Withdraw "withdraw", "The key may withdraw: make one that may not; trading needs no such right.";
    3 Permission "permission", "The key may do more than the registry permits: make one that may not.";
    4 Unbound "unbound", "The key is bound to no address: bind it.";
    5 Address "address", "The key is bound to an address the registry does not name: bind it to those alone.";
    6 Level "kyc_level", "The venue knows the owner less well than expected: have the owner verified again.";
    7 Region "kyc_region", "The owner's region is not the expected one: find out why, then change the registry.";
    8 Evidence "evidence", "A document of the registry is missing, or is not the one it names: find it, or correct the registry.";
    9 Review "review", "The review of the account is overdue: do it, then write down the next date.";
    10 Expires "expires", "The key is about to expire: make a new one, or bind it to an address.";
}

/// Some of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaches(u32);

impl Breaches {
    fn note(&mut self, breach: Breach, holds: bool) {
        self.0 |= u32::from(!holds) << breach as u8;
    }

    /// None of them.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Which.
    pub fn iter(self) -> impl Iterator<Item = Breach> {
        Breach::ALL.iter().copied().filter(move |breach| self.0 >> *breach as u8 & 1 == 1)
    }
}

/// The venue's words for how well it knows an owner, from less to more.
const LEVELS: [&str; 3] = ["LEVEL_DEFAULT", "LEVEL_1", "LEVEL_2"];
const DAY: u64 = 86_400_000_000_000;

impl KycPolicy {
    /// What is not as it has to be. An account nobody read is not.
    #[must_use]
    pub fn breaches(&self, standing: Option<&Standing>) -> Breaches {
        let mut found = Breaches::default();
        let Some(standing) = standing else {
            found.note(Breach::Unread, false);
            return found;
        };
        found.note(Breach::Account, self.uid.is_empty() || self.uid == standing.uid.as_str());
        found.note(Breach::Withdraw, !standing.may(Standing::WITHDRAW));
        found.note(Breach::Permission, standing.permissions & !self.permissions & !Standing::WITHDRAW == 0);
        let ips = standing.ips.as_str();
        let bound = !ips.is_empty() && ips.split(',').all(|ip| ip != "*");
        found.note(Breach::Unbound, bound || !self.bound);
        let named = |ip: &str| self.addresses.iter().any(|have| have == ip);
        found.note(Breach::Address, !bound || self.addresses.is_empty() || ips.split(',').all(named));
        found.note(Breach::Level, self.knows(standing.kyc_level.as_str()));
        found.note(Breach::Region, self.region == standing.kyc_region.as_str());
        found.note(Breach::Evidence, !standing.amiss.is_set());
        found.note(Breach::Review, self.review.nanos() == 0 || standing.at <= self.review);
        let left = standing.expires.since(standing.at);
        found.note(Breach::Expires, standing.expires.nanos() == 0 || left >= self.key_days.saturating_mul(DAY));
        found
    }

    /// At least as well as expected; a word nobody knows only if it is the expected one.
    fn knows(&self, word: &str) -> bool {
        let rank = |word: &str| LEVELS.iter().position(|level| *level == word);
        match (rank(word), rank(&self.level)) {
            (Some(have), Some(wanted)) => have >= wanted,
            _ => word == self.level,
        }
    }

    /// As the text of a document.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in [
            ("uid", self.uid.clone()),
            ("level", self.level.clone()),
            ("region", self.region.clone()),
            ("permissions", self.permissions.to_string()),
            ("bound", u8::from(self.bound).to_string()),
            ("addresses", self.addresses.join(",")),
            ("key_days", self.key_days.to_string()),
            ("review", self.review.nanos().to_string()),
        ] {
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }

    /// Back from its text; `None` for anything [`Self::text`] would not write.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut word = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(" = ");
        let policy = Self {
            uid: word("uid")?.to_owned(),
            level: word("level")?.to_owned(),
            region: word("region")?.to_owned(),
            permissions: word("permissions")?.parse().ok()?,
            bound: word("bound")? == "1",
            addresses: word("addresses")?.split(',').filter(|ip| !ip.is_empty()).map(str::to_owned).collect(),
            key_days: word("key_days")?.parse().ok()?,
            review: Wall::from_nanos(word("review")?.parse().ok()?),
        };
        (policy.text() == text).then_some(policy)
    }
}

impl Gate {
    /// Holds the account against this from here on.
    #[must_use]
    pub fn knowing(mut self, policy: Option<KycPolicy>) -> Self {
        self.kyc = policy;
        self
    }

    /// What is not as the registry says; `None` without one.
    #[must_use]
    pub fn kyc(&self) -> Option<Breaches> {
        self.kyc.as_ref().map(|policy| policy.breaches(self.account.as_ref()))
    }

    /// Stops risk from growing while something is not. Whoever releases the brake meanwhile releases it for nothing.
    pub(crate) fn uphold(&mut self) {
        if self.kyc().is_some_and(|found| !found.is_empty()) {
            self.brake.trip(Scope::Account, State::ReduceOnly, Reason::Kyc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::tests::{Desk, limits};
    use crate::refusal::Refusal;
    use keel_core::event::{Flag, Side};
    use keel_core::ids::Text;
    use keel_core::permit::Gate as _;

    fn policy() -> KycPolicy {
        KycPolicy {
            uid: "7".to_owned(),
            level: "LEVEL_1".to_owned(),
            region: "MYS".to_owned(),
            permissions: Standing::TRADE,
            bound: true,
            addresses: vec!["203.0.113.9".to_owned(), "203.0.113.10".to_owned()],
            key_days: 14,
            review: Wall::from_nanos(100 * DAY),
        }
    }

    fn text<const N: usize>(word: &str) -> Text<N> {
        Text::new(word.as_bytes()).unwrap()
    }

    fn good() -> Standing {
        Standing {
            at: Wall::from_nanos(50 * DAY),
            permissions: Standing::TRADE,
            uid: text("7"),
            kyc_level: text("LEVEL_2"),
            kyc_region: text("MYS"),
            ips: text("203.0.113.9"),
            ..Standing::default()
        }
    }

    #[test]
    fn a_good_account_breaches_nothing_and_each_fault_is_named() {
        use Standing as S;
        assert!(policy().breaches(Some(&good())).is_empty());
        let rows: [(S, &[&str]); 17] = [
            (S { uid: text("8"), ..good() }, &["account"]),
            (S { permissions: S::TRADE | S::WITHDRAW, ..good() }, &["withdraw"]),
            (S { permissions: S::TRADE | S::TRANSFER, ..good() }, &["permission"]),
            (S { permissions: S::OTHER, ..good() }, &["permission"]),
            (S { permissions: u64::MAX, ..good() }, &["withdraw", "permission"]),
            (S { ips: text("*"), ..good() }, &["unbound"]),
            (S { ips: Text::EMPTY, ..good() }, &["unbound"]),
            (S { ips: text("203.0.113.9,198.51.100.1"), ..good() }, &["address"]),
            (S { ips: text("203.0.113.9,*"), ..good() }, &["unbound"]),
            (S { kyc_level: text("LEVEL_DEFAULT"), ..good() }, &["kyc_level"]),
            (S { kyc_level: text("LEVEL_9"), ..good() }, &["kyc_level"]),
            (S { kyc_level: Text::EMPTY, ..good() }, &["kyc_level"]),
            (S { kyc_region: text("IRN"), ..good() }, &["kyc_region"]),
            (S { amiss: Flag::Yes, ..good() }, &["evidence"]),
            (S { at: Wall::from_nanos(100 * DAY + 1), ..good() }, &["review"]),
            (S { expires: Wall::from_nanos(64 * DAY - 1), ..good() }, &["expires"]),
            (S { expires: Wall::from_nanos(DAY), ..good() }, &["expires"]),
        ];
        for (standing, expected) in rows {
            let found: Vec<_> = policy().breaches(Some(&standing)).iter().map(Breach::name).collect();
            assert_eq!(found, expected, "{standing:?}");
        }
        let late = S { expires: Wall::from_nanos(64 * DAY), ..good() };
        assert!(policy().breaches(Some(&late)).is_empty());
        assert_eq!(policy().breaches(None).iter().collect::<Vec<_>>(), [Breach::Unread]);
    }

    #[test]
    fn bits_are_the_order_of_the_table_and_names_are_unique() {
        for (breach, bit) in Breach::ALL.iter().zip(0u8..) {
            assert_eq!(*breach as u8, bit);
            assert_eq!(Breach::ALL.iter().filter(|other| other.name() == breach.name()).count(), 1);
        }
    }

    #[test]
    fn a_policy_comes_back_from_its_text_and_from_no_other() {
        let open = KycPolicy { uid: String::new(), addresses: Vec::new(), bound: false, ..policy() };
        for policy in [policy(), open] {
            assert_eq!(KycPolicy::read(&policy.text()), Some(policy.clone()));
        }
        let text = policy().text();
        let spoilt = [
            String::new(),
            text.replace("level = ", "levels = "),
            text.replace("bound = 1", "bound = yes"),
            text.replace("permissions = 1", "permissions = 01"),
            text.replace("review = ", "review = -"),
            format!("{text}more = 1\n"),
            text.trim_end().to_owned(),
        ];
        for text in spoilt {
            assert_eq!(KycPolicy::read(&text), None, "{text}");
        }
    }

    #[test]
    fn a_breach_lets_risk_shrink_and_a_release_does_not_outlive_it() {
        let mut desk = Desk::new(limits());
        desk.gate.kyc = Some(policy());
        let order = desk.order(Side::Buy, "0.01", "50000");
        desk.gate.standing(desk.now, &good());
        assert_eq!(desk.ask(&order).first, Refusal::None);
        desk.gate.standing(desk.now, &Standing { kyc_level: text("LEVEL_DEFAULT"), ..good() });
        assert_eq!(desk.ask(&order).first, Refusal::ReducingOnly);
        assert_eq!(desk.gate.brake().worst().reason, Reason::Kyc);
        assert!(desk.gate.stops(&order), "what rests goes");
        let told = core::iter::from_fn(|| desk.gate.notice(desk.now)).find_map(|notice| match notice {
            crate::notice::Notice::Trip(trip) => Some((trip.after, trip.reason, trip.measured)),
            _ => None,
        });
        assert_eq!(told, Some((State::ReduceOnly, Reason::Kyc, 1 << Breach::Level as u8)));
        desk.arm();
        assert_eq!(desk.ask(&order).first, Refusal::ReducingOnly, "released while it lasts: not released");
        desk.gate.standing(desk.now, &good());
        assert_eq!(desk.ask(&order).first, Refusal::ReducingOnly, "it is latched");
        desk.arm();
        let other = desk.order(Side::Buy, "0.02", "50000");
        assert_eq!(desk.ask(&other).first, Refusal::None);
    }

    #[test]
    fn an_account_nobody_read_is_not_released_where_there_is_a_registry() {
        let mut desk = Desk::asleep(limits(), None);
        desk.gate.kyc = Some(policy());
        desk.arm();
        assert_eq!(desk.gate.brake().standing(Scope::Account).reason, Reason::Kyc);
        assert_eq!(desk.gate.kyc().map(Breaches::bits), Some(1));
    }
}

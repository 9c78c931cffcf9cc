//! Who may work on cases, in which role, and within which terms. The document stands in the compliance journal: what was
//! signed yesterday is judged by the roles of yesterday.
//!
//! ```text
//! keel roles 1
//! version 1
//! file-days 30                    from detection, when there is a suspect
//! file-days-without-suspect 60
//! follow-up-days 120
//! retain-days 2557
//! person ann analyst 8a88e3dd...
//! person ben reviewer ...
//! person cat mlro ...
//! ```
//!
//! The first version is the founder's word. Every later one needs the signature of an `mlro` of the version before, and
//! of a second person of it.

use super::ledger::No;
use crate::consent::{Name, Signed, hex, unsigned};
use core::fmt::Write as _;
use ed25519_dalek::Signature;
pub use ed25519_dalek::VerifyingKey as PublicKey;
use keel_core::units::Wall;

/// People one journal may name.
const MAX_PEOPLE: usize = 64;
/// Longest term, in days: a hundred years.
const MAX_DAYS: u64 = 36_525;
/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks into alerts, writes reports.
    Analyst,
    /// Reads what analysts wrote, agrees or not.
    Reviewer,
    /// Answers for it: files, and may do what an analyst does.
    Mlro,
}

/// Every role with its word.
pub const ROLES: [(Role, &str); 3] = [(Role::Analyst, "analyst"), (Role::Reviewer, "reviewer"), (Role::Mlro, "mlro")];

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Their name.
    pub name: Name,
    /// Their role.
    pub role: Role,
    /// Their public key.
    pub key: PublicKey,
}

/// Roles and terms.
#[derive(Clone, Debug)]
pub struct Roles {
    /// Counted from 1.
    pub version: u64,
    /// Days to file when there is a suspect.
    pub file_days: u64,
    /// Days to file when there is none.
    pub file_days_without_suspect: u64,
    /// Days after which what goes on is looked at again.
    pub follow_up_days: u64,
    /// Days everything is kept after the end.
    pub retain_days: u64,
    /// Those who may.
    pub people: Vec<Person>,
}

/// `days` after `wall`.
#[must_use]
pub fn days_after(wall: Wall, days: u64) -> Wall {
    wall.after(days.saturating_mul(DAY).min(u64::MAX - wall.nanos()))
}

impl Roles {
    /// The first version, with the usual terms.
    #[must_use]
    pub const fn new(people: Vec<Person>) -> Self {
        Self {
            version: 1,
            file_days: 30,
            file_days_without_suspect: 60,
            follow_up_days: 120,
            retain_days: 2557,
            people,
        }
    }

    /// The text people sign.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { version, file_days, file_days_without_suspect, follow_up_days, retain_days, people } = self;
        let mut text = format!(
            "keel roles 1\nversion {version}\nfile-days {file_days}\nfile-days-without-suspect \
             {file_days_without_suspect}\nfollow-up-days {follow_up_days}\nretain-days {retain_days}"
        );
        for Person { name, role, key } in people {
            let _ = write!(text, "\nperson {name} {} ", super::act::word(&ROLES, *role));
            key.to_bytes().iter().for_each(|byte| {
                let _ = write!(text, "{byte:02x}");
            });
        }
        text
    }

    /// From a document, with the signatures below it; `None` when it is not in its one form.
    #[must_use]
    pub fn read(document: &[u8]) -> Option<(Self, Vec<Signed>)> {
        let (text, signed) = unsigned(document).ok()?;
        let mut lines = text.split('\n');
        let mut number = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
        if number("keel roles")? != 1 {
            return None;
        }
        let mut roles = Self {
            version: number("version")?,
            file_days: number("file-days")?,
            file_days_without_suspect: number("file-days-without-suspect")?,
            follow_up_days: number("follow-up-days")?,
            retain_days: number("retain-days")?,
            people: Vec::new(),
        };
        for line in lines {
            let mut words = line.strip_prefix("person ")?.split(' ');
            let name = Name::new(words.next()?.as_bytes()).filter(|name| !name.is_empty())?;
            let role = words.next()?;
            let role = ROLES.iter().find(|(_, word)| *word == role)?.0;
            let key = PublicKey::from_bytes(&hex(words.next()?)?).ok().filter(|key| !key.is_weak())?;
            let known = roles.people.iter().any(|person| person.name == name || person.key == key);
            if known || words.next().is_some() || roles.people.len() == MAX_PEOPLE || name.bytes() == SYSTEM {
                return None;
            }
            roles.people.push(Person { name, role, key });
        }
        let terms = [roles.file_days, roles.file_days_without_suspect, roles.follow_up_days, roles.retain_days];
        let fits = terms.iter().all(|days| (1..=MAX_DAYS).contains(days)) && roles.version > 0;
        (fits && roles.text() == text).then_some((roles, signed))
    }

    /// The person of this name.
    #[must_use]
    pub fn person(&self, name: Name) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }

    /// The person of this key.
    #[must_use]
    pub fn holder(&self, key: &[u8; 32]) -> Option<&Person> {
        self.people.iter().find(|person| person.key.as_bytes() == key)
    }

    /// Did this person sign these bytes?
    pub fn signed(&self, message: &[u8], signed: &Signed) -> Result<&Person, No> {
        let person = self.person(signed.name).ok_or(No::Stranger)?;
        let signature = Signature::from_bytes(&signed.signature);
        person.key.verify_strict(message, &signature).map_err(|_| No::Signature)?;
        Ok(person)
    }

    /// May `next` replace these roles?
    pub fn replaced(&self, next: &Self, signed: &[Signed]) -> Result<(), No> {
        if self.version.checked_add(1) != Some(next.version) {
            return Err(No::Overtaken);
        }
        let mut names = Vec::new();
        let mut mlro = false;
        for each in signed {
            let person = self.signed(next.text().as_bytes(), each)?;
            mlro |= person.role == Role::Mlro;
            if !names.contains(&each.name) {
                names.push(each.name);
            }
        }
        if !mlro {
            return Err(No::Role);
        }
        if names.len() < 2 { Err(No::FourEyes) } else { Ok(()) }
    }
}

/// The name acts of the machine itself carry; nobody else may have it.
pub const SYSTEM: &[u8] = b"surveillance";

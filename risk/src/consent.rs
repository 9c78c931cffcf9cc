//! What people agreed to: re-arming, and new limits. Signatures, not passwords.
//!
//! In: people's public keys, a request, signatures, the time. Out: consent or the reason there is none. One person may
//! tighten; it takes two to loosen or to re-arm. Never: one person twice, a request signed for another state of the brake or
//! another version of the limits, a request older than it says it may be.
//!
//! The signed bytes of both requests start with their own name, so that a signature under one is none under the other. As
//! a document they are those bytes, and below them one line a signature:
//!
//! ```text
//! keel arm 1                          keel limits 1
//! brake 7                             replaces 3
//! limits 3                            version = 4
//! issued 1790000000000000000          max_gross = 20000000000000
//! expires 1790000600000000000         ...
//! reason positions compared, feed back
//! signed ann 5f0c...                  signed ann 77e1...
//! signed ben 91aa...
//! ```

use crate::limits::Limits;
use crate::models::Approval;
use crate::register;
use core::fmt::Write as _;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use keel_core::ids::Text;
use keel_core::units::Wall;
use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};

/// Signatures it takes to loosen or to re-arm.
pub const QUORUM: usize = 2;
/// Longest a request to re-arm may be valid, nanoseconds.
pub const MAX_VALIDITY: u64 = 15 * 60 * 1_000_000_000;

/// A person's name, as in commands.
pub type Name = Text<39>;

/// Those who may consent. By default nobody may.
#[derive(Clone, Debug, Default)]
pub struct People {
    rows: Vec<(Name, VerifyingKey)>,
}

/// One signature.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// Whose.
    pub name: Name,
    /// Ed25519.
    pub signature: [u8; 64],
}

/// A person's own half of a key. It belongs to the person, not to the host that trades.
#[derive(Clone, Debug)]
pub struct Key {
    name: Name,
    key: SigningKey,
}

impl Key {
    /// From 32 bytes nobody can guess.
    #[must_use]
    pub fn new(name: Name, secret: &[u8; 32]) -> Self {
        Self { name, key: SigningKey::from_bytes(secret) }
    }

    /// Whose it is.
    #[must_use]
    pub const fn name(&self) -> Name {
        self.name
    }

    /// The half everyone may know.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Signs the message of a request.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signed {
        Signed { name: self.name, signature: self.key.sign(message).to_bytes() }
    }
}

/// Why there is no consent. Codes are journaled and never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, TryFromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(u8)]
pub enum Doubt {
    /// There is consent.
    #[default]
    None = 0,
    /// A key that is none, weak, or stands twice; a name that is empty or stands twice.
    BadKey,
    /// Signed by someone who may not consent.
    Stranger,
    /// A signature that does not fit the request.
    BadSignature,
    /// Fewer people than it takes.
    TooFew,
    /// No reason given.
    NoReason,
    /// Not valid yet, not any more, or for longer than [`MAX_VALIDITY`].
    Time,
    /// Made for another state of the brake, or other limits, than those in force.
    Overtaken,
    /// The limits do not fit; see [`Limits::check`].
    BadLimits,
    /// Not a document of this kind, or not in its one form.
    Malformed,
    /// Halts too often: within a day of the last one it takes one more person, or tighter limits.
    TooSoon,
}

/// A request to release the brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// [`crate::brake::Brake::version`] they saw.
    pub brake: u64,
    /// Version of the limits they saw.
    pub limits: u32,
    /// When it was made.
    pub issued: Wall,
    /// Until when it is valid.
    pub expires: Wall,
    /// Why it is safe to go on.
    pub reason: String,
}

impl Arm {
    /// The bytes people sign.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let Self { brake, limits, issued, expires, reason } = self;
        let (issued, expires) = (issued.nanos(), expires.nanos());
        format!("keel arm 1\nbrake {brake}\nlimits {limits}\nissued {issued}\nexpires {expires}\nreason {reason}")
            .into_bytes()
    }
}

/// The bytes people sign under new limits: which version they replace, and every number of the new one.
#[must_use]
pub fn limits_message(replaces: u32, after: &Limits) -> Vec<u8> {
    format!("keel limits 1\nreplaces {replaces}\n{}", register::text(after)).into_bytes()
}

/// A request with its signatures below it, as it is brought.
#[must_use]
pub fn signed_text(message: &[u8], signed: &[Signed]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(message).trim_end_matches('\n').to_owned();
    for Signed { name, signature } in signed {
        let _ = write!(text, "\nsigned {name} ");
        signature.iter().for_each(|byte| {
            let _ = write!(text, "{byte:02x}");
        });
    }
    text.push('\n');
    text.into_bytes()
}

/// Signatures a document may carry; one with more is none.
const MAX_SIGNATURES: usize = 16;

/// The message of a document as it was signed: that of limits ends with a line end, that of a request to release does not.
#[must_use]
pub fn message_of(unsigned: &str) -> Vec<u8> {
    let end = if unsigned.starts_with("keel limits ") { "\n" } else { "" };
    format!("{unsigned}{end}").into_bytes()
}

/// Takes a document apart: what was signed, without its last line end, and the signatures.
pub fn unsigned(text: &[u8]) -> Result<(&str, Vec<Signed>), Doubt> {
    let text = core::str::from_utf8(text).map_err(|_| Doubt::Malformed)?;
    let text = text.strip_suffix('\n').ok_or(Doubt::Malformed)?;
    let Some((message, below)) = text.split_once("\nsigned ") else { return Ok((text, Vec::new())) };
    let mut signed = Vec::new();
    for line in below.split("\nsigned ") {
        let (name, digits) = line.split_once(' ').ok_or(Doubt::Malformed)?;
        let name = Name::new(name.as_bytes()).filter(|name| !name.is_empty()).ok_or(Doubt::Malformed)?;
        let signature = hex(digits).ok_or(Doubt::Malformed)?;
        if signed.len() == MAX_SIGNATURES {
            return Err(Doubt::Malformed);
        }
        signed.push(Signed { name, signature });
    }
    Ok((message, signed))
}

/// Exactly `N` bytes in lower-case hexadecimal digits.
#[must_use]
pub fn hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

/// A request to release the brake, read from its document.
pub fn read_arm(text: &[u8]) -> Result<(Arm, Vec<Signed>), Doubt> {
    let (message, signed) = unsigned(text)?;
    let mut lines = message.lines();
    let mut word = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let arm = (|| {
        let (version, brake, limits) = (word("keel arm")?, word("brake")?, word("limits")?);
        let (issued, expires, reason) = (word("issued")?, word("expires")?, word("reason")?);
        let wall = |text: &str| text.parse().ok().map(Wall::from_nanos);
        let (brake, limits) = (brake.parse().ok()?, limits.parse().ok()?);
        (version == "1").then_some(Arm { brake, limits, issued: wall(&issued)?, expires: wall(&expires)?, reason })
    })();
    // one form only: what was read must be what writing it again gives
    arm.filter(|arm| arm.message() == message.as_bytes()).map(|arm| (arm, signed)).ok_or(Doubt::Malformed)
}

/// New limits, read from their document: the version they replace, and they.
pub fn read_limits(text: &[u8]) -> Result<(u32, Limits, Vec<Signed>), Doubt> {
    let (message, signed) = unsigned(text)?;
    let read = (|| {
        let (replaces, rest) = message.strip_prefix("keel limits 1\nreplaces ")?.split_once('\n')?;
        Some((replaces.parse().ok()?, register::read(&format!("{rest}\n")).ok()?))
    })();
    let (replaces, after) = read.ok_or(Doubt::Malformed)?;
    let whole = limits_message(replaces, &after);
    if whole.strip_suffix(b"\n") != Some(message.as_bytes()) {
        return Err(Doubt::Malformed);
    }
    Ok((replaces, after, signed))
}

impl People {
    /// Each person once, each key once.
    pub fn new(rows: &[(Name, [u8; 32])]) -> Result<Self, Doubt> {
        let mut people = Self { rows: Vec::with_capacity(rows.len()) };
        for (name, bytes) in rows {
            let key = VerifyingKey::from_bytes(bytes).map_err(|_| Doubt::BadKey)?;
            let known = people.rows.iter().any(|(n, k)| n == name || *k == key);
            if name.is_empty() || known || key.is_weak() {
                return Err(Doubt::BadKey);
            }
            people.rows.push((*name, key));
        }
        Ok(people)
    }

    /// May the brake be released now?
    pub fn arm(&self, arm: &Arm, signed: &[Signed], now: Wall, brake: u64, limits: u32) -> Result<(), Doubt> {
        if arm.reason.trim().is_empty() {
            return Err(Doubt::NoReason);
        }
        if (arm.brake, arm.limits) != (brake, limits) {
            return Err(Doubt::Overtaken);
        }
        let valid = arm.issued <= now && now <= arm.expires && arm.expires.since(arm.issued) <= MAX_VALIDITY;
        if !valid {
            return Err(Doubt::Time);
        }
        self.count(&arm.message(), signed, QUORUM)
    }

    /// How many there are.
    #[must_use]
    pub const fn count_all(&self) -> usize {
        self.rows.len()
    }

    /// May these limits replace those in force? One person is enough when nothing loosens.
    pub fn limits(&self, before: &Limits, after: &Limits, signed: &[Signed]) -> Result<(), Doubt> {
        after.check().map_err(|_| Doubt::BadLimits)?;
        if before.version.checked_add(1) != Some(after.version) {
            return Err(Doubt::Overtaken);
        }
        let loosens = register::differences(before, after).iter().any(|change| change.loosens);
        self.count(&limits_message(before.version, after), signed, if loosens { QUORUM } else { 1 })
    }

    /// May this model drive its strategy? It takes two.
    pub fn model(&self, approval: &Approval, signed: &[Signed]) -> Result<(), Doubt> {
        self.count(&approval.message(), signed, QUORUM)
    }

    /// Did so many different people sign? One signature that does not fit spoils them all.
    fn count(&self, message: &[u8], signed: &[Signed], needed: usize) -> Result<(), Doubt> {
        let mut seen: Vec<Name> = Vec::with_capacity(signed.len());
        for Signed { name, signature } in signed {
            let (_, key) = self.rows.iter().find(|(n, _)| n == name).ok_or(Doubt::Stranger)?;
            key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| Doubt::BadSignature)?;
            if !seen.contains(name) {
                seen.push(*name);
            }
        }
        if seen.len() >= needed { Ok(()) } else { Err(Doubt::TooFew) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::units::Notional;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn people() -> People {
        let row = |who, seed| (name(who), key(seed).verifying_key().to_bytes());
        People::new(&[row("ann", 1), row("ben", 2)]).unwrap()
    }

    fn sign(who: &str, seed: u8, message: &[u8]) -> Signed {
        Signed { name: name(who), signature: key(seed).sign(message).to_bytes() }
    }

    fn arm() -> Arm {
        let (issued, expires) = (Wall::from_millis(1_000), Wall::from_millis(61_000));
        Arm { brake: 7, limits: 3, issued, expires, reason: "positions reconciled, feed back".to_owned() }
    }

    #[test]
    fn it_takes_two_people_to_arm() {
        let (people, arm, now) = (people(), arm(), Wall::from_millis(2_000));
        let message = arm.message();
        let (ann, ben) = (sign("ann", 1, &message), sign("ben", 2, &message));
        let ask = |signed: &[Signed]| people.arm(&arm, signed, now, 7, 3);
        assert_eq!(ask(&[ann, ben]), Ok(()));
        assert_eq!(ask(&[ann]), Err(Doubt::TooFew));
        assert_eq!(ask(&[ann, ann]), Err(Doubt::TooFew), "one person twice");
        assert_eq!(ask(&[]), Err(Doubt::TooFew));
        assert_eq!(ask(&[ann, sign("eve", 3, &message)]), Err(Doubt::Stranger));
        assert_eq!(ask(&[ann, sign("ben", 3, &message)]), Err(Doubt::BadSignature));
        assert_eq!(ask(&[ann, sign("ben", 2, b"keel arm 1\n")]), Err(Doubt::BadSignature));
    }

    #[test]
    fn what_was_signed_for_another_moment_does_not_arm() {
        let (people, arm) = (people(), arm());
        let message = arm.message();
        let signed = [sign("ann", 1, &message), sign("ben", 2, &message)];
        for (now, brake, limits, doubt) in [
            (2_000, 8, 3, Doubt::Overtaken),
            (2_000, 7, 4, Doubt::Overtaken),
            (999, 7, 3, Doubt::Time),
            (61_001, 7, 3, Doubt::Time),
        ] {
            assert_eq!(people.arm(&arm, &signed, Wall::from_millis(now), brake, limits), Err(doubt));
        }
        let forever = Arm { expires: Wall::from_millis(10_000_000), ..arm.clone() };
        assert_eq!(people.arm(&forever, &signed, Wall::from_millis(2_000), 7, 3), Err(Doubt::Time));
        let silent = Arm { reason: " ".to_owned(), ..arm };
        assert_eq!(people.arm(&silent, &signed, Wall::from_millis(2_000), 7, 3), Err(Doubt::NoReason));
    }

    #[test]
    fn one_person_may_tighten_and_two_may_loosen() {
        let (people, before) = (people(), Limits::demo());
        let tighter = Limits { version: 2, max_net: Notional::whole(50_000), ..before.clone() };
        let looser = Limits { version: 2, max_net: Notional::whole(150_000), ..before.clone() };
        for (after, alone) in [(&tighter, Ok(())), (&looser, Err(Doubt::TooFew))] {
            let message = limits_message(before.version, after);
            let (ann, ben) = (sign("ann", 1, &message), sign("ben", 2, &message));
            assert_eq!(people.limits(&before, after, &[ann]), alone);
            assert_eq!(people.limits(&before, after, &[ann, ben]), Ok(()));
            assert_eq!(people.limits(after, after, &[ann, ben]), Err(Doubt::Overtaken));
        }
        let message = limits_message(before.version, &tighter);
        let signed = [sign("ann", 1, &message), sign("ben", 2, &message)];
        assert_eq!(people.limits(&before, &looser, &signed), Err(Doubt::BadSignature));
        let broken = Limits { version: 2, max_net: Notional::ZERO, ..before.clone() };
        assert_eq!(people.limits(&before, &broken, &signed), Err(Doubt::BadLimits));
    }

    #[test]
    fn it_takes_two_people_to_approve_a_model() {
        let (from, until) = (Wall::from_millis(1), Wall::from_millis(2));
        let strategy = keel_core::ids::StrategyId(1);
        let approval = Approval { strategy, version: 4, artifact: [1; 32], features: [2; 32], from, until };
        let message = approval.message();
        let (ann, ben) = (sign("ann", 1, &message), sign("ben", 2, &message));
        assert_eq!(people().model(&approval, &[ann, ben]), Ok(()));
        assert_eq!(people().model(&approval, &[ann, ann]), Err(Doubt::TooFew));
        let other = Approval { artifact: [9; 32], ..approval };
        assert_eq!(people().model(&other, &[ann, ben]), Err(Doubt::BadSignature), "signed for other bytes");
    }

    #[test]
    fn a_document_has_one_form_and_what_was_signed_is_what_is_read() {
        let arm = arm();
        let message = arm.message();
        let signed = [sign("ann", 1, &message), sign("ben", 2, &message)];
        let text = signed_text(&message, &signed);
        let (read, names) = read_arm(&text).unwrap();
        assert_eq!((&read, names.len(), names[1].signature), (&arm, 2, signed[1].signature));
        assert_eq!(people().arm(&read, &names, Wall::from_millis(2_000), 7, 3), Ok(()));
        let text = String::from_utf8(text).unwrap();
        for (from, to) in [
            ("brake 7", "brake 07"),
            ("brake 7", "brake  7"),
            ("brake 7\n", ""),
            ("keel arm 1", "keel arm 2"),
            ("reason", "Reason"),
            ("limits 3", "limits 3\nlimits 3"),
            ("signed ben ", "signed ben"),
            ("signed ann ", "signed ann ff"),
            ("signed ann", "signed "),
        ] {
            assert_eq!(read_arm(text.replace(from, to).as_bytes()).err(), Some(Doubt::Malformed), "{from} -> {to}");
        }
        assert_eq!(read_arm(text.trim_end().as_bytes()).err(), Some(Doubt::Malformed), "cut off");
        let after = Limits { version: 2, ..Limits::demo() };
        let message = limits_message(1, &after);
        let text = signed_text(&message, &[sign("ann", 1, &message)]);
        let (replaces, read, signed) = read_limits(&text).unwrap();
        assert_eq!((replaces, &read), (1, &after));
        assert_eq!(people().limits(&Limits::demo(), &read, &signed), Ok(()));
    }

    #[test]
    fn no_byte_a_stranger_sends_is_more_than_a_doubt() {
        let message = arm().message();
        let text = signed_text(&message, &[sign("ann", 1, &message)]);
        for at in 0..text.len() {
            for byte in [0, b'\n', b' ', b'0', 0xff] {
                let mut spoilt = text.clone();
                spoilt[at] = byte;
                let _ = (read_arm(&spoilt), read_limits(&spoilt), read_arm(&spoilt[..at]));
            }
        }
    }

    #[test]
    fn keys_and_names_stand_once() {
        let key = |seed| key(seed).verifying_key().to_bytes();
        assert_eq!(People::new(&[(name("ann"), key(1)), (name("ben"), key(1))]).err(), Some(Doubt::BadKey));
        assert_eq!(People::new(&[(name("ann"), key(1)), (name("ann"), key(2))]).err(), Some(Doubt::BadKey));
        assert_eq!(People::new(&[(name("ann"), [0; 32])]).err(), Some(Doubt::BadKey), "a weak key");
    }
}

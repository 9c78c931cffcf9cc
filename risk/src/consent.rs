//! What people agreed to: re-arming, and new limits. Signatures, not passwords.
//!
//! In: people's public keys, a request, signatures, the time. Out: consent or the reason there is none. One person may
//! tighten; it takes two to loosen or to re-arm. Never: one person twice, a request signed for another state of the brake or
//! another version of the limits, a request older than it says it may be.
//!
//! The signed bytes of both requests start with their own name, so that a signature under one is none under the other.

use crate::limits::Limits;
use crate::models::Approval;
use crate::register;
use ed25519_dalek::{Signature, VerifyingKey};
use keel_core::ids::Text;
use keel_core::units::Wall;

/// Signatures it takes to loosen or to re-arm.
pub const QUORUM: usize = 2;
/// Longest a request to re-arm may be valid, nanoseconds.
pub const MAX_VALIDITY: u64 = 15 * 60 * 1_000_000_000;

/// A person's name, as in commands.
pub type Name = Text<39>;

/// Those who may consent.
#[derive(Clone, Debug)]
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

/// Why there is no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
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
pub fn limits_message(before: &Limits, after: &Limits) -> Vec<u8> {
    format!("keel limits 1\nreplaces {}\n{}", before.version, register::text(after)).into_bytes()
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

    /// May these limits replace those in force? One person is enough when nothing loosens.
    pub fn limits(&self, before: &Limits, after: &Limits, signed: &[Signed]) -> Result<(), Doubt> {
        after.check().map_err(|_| Doubt::BadLimits)?;
        if before.version.checked_add(1) != Some(after.version) {
            return Err(Doubt::Overtaken);
        }
        let loosens = register::differences(before, after).iter().any(|change| change.loosens);
        self.count(&limits_message(before, after), signed, if loosens { QUORUM } else { 1 })
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
    use ed25519_dalek::{Signer, SigningKey};
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
            let message = limits_message(&before, after);
            let (ann, ben) = (sign("ann", 1, &message), sign("ben", 2, &message));
            assert_eq!(people.limits(&before, after, &[ann]), alone);
            assert_eq!(people.limits(&before, after, &[ann, ben]), Ok(()));
            assert_eq!(people.limits(after, after, &[ann, ben]), Err(Doubt::Overtaken));
        }
        let message = limits_message(&before, &tighter);
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
    fn keys_and_names_stand_once() {
        let key = |seed| key(seed).verifying_key().to_bytes();
        assert_eq!(People::new(&[(name("ann"), key(1)), (name("ben"), key(1))]).err(), Some(Doubt::BadKey));
        assert_eq!(People::new(&[(name("ann"), key(1)), (name("ann"), key(2))]).err(), Some(Doubt::BadKey));
        assert_eq!(People::new(&[(name("ann"), [0; 32])]).err(), Some(Doubt::BadKey), "a weak key");
    }
}

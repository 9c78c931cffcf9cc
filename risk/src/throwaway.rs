//! Two people who exist for one run: for demonstrations, drills and tests, and nobody else.
//!
//! Their keys follow from a seed anyone can know, so what they sign proves nothing; it only walks the way real signatures
//! walk. Never: a venue with money behind it.

use crate::consent::{Arm, Key, Name, People, QUORUM, Signed, limits_message};
use crate::limits::Limits;
use keel_core::units::Wall;

/// Nanoseconds a request they sign is valid.
const VALIDITY: u64 = crate::consent::MAX_VALIDITY;

/// The two.
#[derive(Clone, Debug)]
pub struct Throwaway {
    keys: [Key; QUORUM],
}

impl Throwaway {
    /// The same two for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let key = |name: &str, mark: u8| {
            let mut bytes = [mark; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            Key::new(Name::new(name.as_bytes()).unwrap_or_default(), &bytes)
        };
        Self { keys: [key("throwaway-a", 1), key("throwaway-b", 2)] }
    }

    /// As those who may sign.
    #[must_use]
    pub fn people(&self) -> People {
        People::new(&self.rows()).unwrap_or_default()
    }

    /// Their names and public keys.
    #[must_use]
    pub fn rows(&self) -> Vec<(Name, [u8; 32])> {
        self.keys.iter().map(|key| (key.name(), key.public())).collect()
    }

    fn sign(&self, message: &[u8]) -> Vec<Signed> {
        self.keys.iter().map(|key| key.sign(message)).collect()
    }

    /// A signed request to release the brake, as text.
    #[must_use]
    pub fn arm(&self, brake: u64, limits: u32, now: Wall, reason: &str) -> Vec<u8> {
        let arm = Arm { brake, limits, issued: now, expires: now.after(VALIDITY), reason: reason.to_owned() };
        let message = arm.message();
        crate::consent::signed_text(&message, &self.sign(&message))
    }

    /// New limits, signed by both, as text.
    #[must_use]
    pub fn limits(&self, before: u32, after: &Limits) -> Vec<u8> {
        let message = limits_message(before, after);
        crate::consent::signed_text(&message, &self.sign(&message))
    }
}

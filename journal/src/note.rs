//! Signed notes: text under Ed25519 signatures, in the format of c2sp.org/signed-note, with the key strings of Go's
//! `note` package, so that other people's tools check what keel signs.
//!
//! ```text
//!   text line
//!   text line
//!
//!   — name base64(key id 4 | signature 64)        key id = SHA-256(name | 0x0A | 0x01 | public key)[..4]
//!
//!   signing key   PRIVATE+KEY+name+keyid+base64(0x01 | seed)
//!   public key                name+keyid+base64(0x01 | public key)
//! ```
//!
//! A signature by a key on the same host proves nothing against whoever owns that host: sign elsewhere, or keep what was
//! signed elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use core::fmt;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use sha2::{Digest, Sha256};

const ED25519: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";
/// Longest note read: more than sixteen post-quantum signatures.
pub const MAX_NOTE: usize = 128 * 1024;

/// Why a key or a note was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// Not a key string.
    Key,
    /// A name with a space or a plus, or none.
    Name,
    /// Not a signed note.
    Malformed,
    /// The key did not sign it.
    Unsigned,
    /// The signature of the key does not fit the text.
    BadSignature,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "not a key",
            Self::Name => "a key name has no spaces and no plus",
            Self::Malformed => "not a signed note",
            Self::Unsigned => "not signed by this key",
            Self::BadSignature => "the signature does not fit the text",
        })
    }
}

impl std::error::Error for NoteError {}

/// Signs.
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.name)
    }
}

/// Checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl SecretKey {
    /// From 32 random bytes.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// From `PRIVATE+KEY+...`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, seed) = parts(text.trim().strip_prefix(PRIVATE).ok_or(NoteError::Key)?)?;
        let key = Self::new(name, &seed)?;
        if key.public().id() == id { Ok(key) } else { Err(NoteError::Key) }
    }

    /// As `PRIVATE+KEY+...`.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{PRIVATE}{}", joined(&self.name, self.public().id(), self.key.as_bytes()))
    }

    /// The key others check with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// `text`, which ends in a newline, as a signed note.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        if !text.ends_with('\n') || !is_text(text) {
            return Err(NoteError::Malformed);
        }
        let mut bytes = self.public().id().to_vec();
        bytes.extend(self.key.sign(text.as_bytes()).to_bytes());
        Ok(format!("{text}\n\u{2014} {} {}\n", self.name, STANDARD.encode(bytes)))
    }
}

impl PublicKey {
    /// From `name+id+base64`.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, bytes) = parts(text.trim())?;
        let key = Self { name: name.to_owned(), key: VerifyingKey::from_bytes(&bytes).map_err(|_| NoteError::Key)? };
        if key.id() == id { Ok(key) } else { Err(NoteError::Key) }
    }

    /// As `name+id+base64`.
    #[must_use]
    pub fn to_text(&self) -> String {
        joined(&self.name, self.id(), self.key.as_bytes())
    }

    /// Who signs with it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> [u8; 4] {
        let mut hash = Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update([b'\n', ED25519]);
        hash.update(self.key.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// The text of a note this key signed. Signatures of other keys are ignored.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        if note.len() > MAX_NOTE || !is_text(note) {
            return Err(NoteError::Malformed);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        let mut signed = false;
        for line in signatures.strip_suffix('\n').ok_or(NoteError::Malformed)?.split('\n') {
            let (name, bytes) = signature(line).ok_or(NoteError::Malformed)?;
            let Some((id, bytes)) = bytes.split_first_chunk::<4>() else { return Err(NoteError::Malformed) };
            if name != self.name || *id != self.id() {
                continue;
            }
            let signature = Signature::from_slice(bytes).map_err(|_| NoteError::BadSignature)?;
            self.key.verify(text.as_bytes(), &signature).map_err(|_| NoteError::BadSignature)?;
            signed = true;
        }
        if signed { Ok(text) } else { Err(NoteError::Unsigned) }
    }
}

fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    check_name(name).ok()?;
    Some((name, STANDARD.decode(bytes).ok()?))
}

fn joined(name: &str, id: [u8; 4], key: &[u8; 32]) -> String {
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", STANDARD.encode([&[ED25519], &key[..]].concat()))
}

fn parts(text: &str) -> Result<(&str, [u8; 4], [u8; 32]), NoteError> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(NoteError::Key);
    };
    check_name(name)?;
    let id = if id.len() == 8 { u32::from_str_radix(id, 16).ok() } else { None };
    let key = STANDARD.decode(key).ok();
    let key = key.as_deref().and_then(|key| key.strip_prefix(&[ED25519])).and_then(|key| key.try_into().ok());
    id.map(u32::to_be_bytes).zip(key).map(|(id, key)| (name, id, key)).ok_or(NoteError::Key)
}

fn check_name(name: &str) -> Result<(), NoteError> {
    if name.is_empty() || name.contains('+') || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(NoteError::Name);
    }
    Ok(())
}

fn is_text(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || c >= ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's `note` package.
    const SECRET: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const SIGNED: &str = "\n\u{2014} PeterNeumann \
        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn what_gos_note_package_signs_is_what_keel_signs() {
        let (secret, public) = (SecretKey::parse(SECRET).unwrap(), PublicKey::parse(PUBLIC).unwrap());
        assert_eq!(secret.public(), public);
        assert_eq!((secret.to_text().as_str(), public.to_text().as_str()), (SECRET, PUBLIC));
        let note = secret.sign(TEXT).unwrap();
        assert_eq!(note, format!("{TEXT}{SIGNED}"));
        assert_eq!(public.open(&note), Ok(TEXT));
    }

    #[test]
    fn a_note_changed_anywhere_is_refused() {
        let secret = SecretKey::new("keel.example/log", &[7; 32]).unwrap();
        let public = secret.public();
        let note = secret.sign(TEXT).unwrap();
        for at in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(changed) = String::from_utf8(bytes) {
                assert!(public.open(&changed).is_err(), "byte {at}");
            }
            if let Some(cut) = note.get(..at) {
                assert!(public.open(cut).is_err(), "cut to {at}");
            }
        }
        let other = SecretKey::new("keel.example/log", &[8; 32]).unwrap();
        assert_eq!(public.open(&other.sign(TEXT).unwrap()), Err(NoteError::Unsigned));
        let twice = format!("{note}{}", other.sign(TEXT).unwrap().rsplit_once("\n\n").unwrap().1);
        assert_eq!(public.open(&twice), Ok(TEXT), "signatures of strangers are ignored");
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for text in ["", "+", "++", "a+b+c", &PUBLIC[1..], &PUBLIC[..PUBLIC.len() - 4], &PUBLIC.replace("c74f", "c74e")]
        {
            assert!(PublicKey::parse(text).is_err(), "{text}");
            assert!(SecretKey::parse(&format!("{PRIVATE}{text}")).is_err(), "{text}");
        }
        assert!(SecretKey::new("a b", &[0; 32]).is_err() && SecretKey::new("", &[0; 32]).is_err());
        assert!(SecretKey::parse(SECRET).unwrap().sign("no newline").is_err());
    }
}

//! Signatures: HMAC-SHA256 over exactly the bytes the venue will see, as lower-case hex.
//!
//! In: the key pair once, then text and time. Out: the `auth` argument of a WebSocket, the headers of a request. Never:
//! the secret in a `Debug`, a log or a copy; it lives only as the two absorbed blocks of the MAC, wiped on drop.
//!
//! ```text
//!   WebSocket   "GET/realtime" expires
//!   REST GET    timestamp key recv_window query            without the `?`
//!   REST POST   timestamp key recv_window body             as sent: never serialised again
//! ```

use crate::text::hex_into;
use core::fmt;
use hmac::{Hmac, KeyInit, Mac};
use keel_core::units::Wall;
use sha2::Sha256;

/// How old a request may be when it arrives, milliseconds. The forward edge is the venue's own hard second.
pub const RECV_WINDOW_MS: u64 = 5_000;

/// A signature: 64 hex digits.
pub type Signature = [u8; 64];

/// One key pair.
#[derive(Clone)]
pub struct Signer {
    key: String,
    keyed: Hmac<Sha256>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(redacted)")
    }
}

impl Signer {
    /// The caller keeps, and wipes, its own copy of `secret`.
    #[must_use]
    pub fn new(key: &str, secret: &[u8]) -> Self {
        let keyed = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of every length");
        Self { key: key.to_owned(), keyed }
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Signs the parts as one text.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> Signature {
        let mut mac = self.keyed.clone();
        for part in parts {
            mac.update(part);
        }
        let mut text = [0u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(mac.finalize().into_bytes()) {
            hex_into(pair, u64::from(byte));
        }
        text
    }

    /// The frame that authenticates a WebSocket until `expires`.
    #[must_use]
    pub fn auth_frame(&self, expires: Wall) -> String {
        let expires = expires.millis().to_string();
        let signature = self.sign(&[b"GET/realtime", expires.as_bytes()]);
        format!(r#"{{"op":"auth","args":["{}",{expires},"{}"]}}"#, self.key, ascii(&signature))
    }

    /// The headers of a private request; `payload` is the query of a GET or the body of a POST.
    #[must_use]
    pub fn headers(&self, now: Wall, payload: &str) -> [(&'static str, String); 4] {
        let (timestamp, window) = (now.millis().to_string(), RECV_WINDOW_MS.to_string());
        let parts = [timestamp.as_bytes(), self.key.as_bytes(), window.as_bytes(), payload.as_bytes()];
        let signature = self.sign(&parts);
        [
            ("X-BAPI-API-KEY", self.key.clone()),
            ("X-BAPI-SIGN", ascii(&signature).to_owned()),
            ("X-BAPI-TIMESTAMP", timestamp),
            ("X-BAPI-RECV-WINDOW", window),
        ]
    }
}

fn ascii(signature: &Signature) -> &str {
    core::str::from_utf8(signature).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new("K3Y", b"S3CRET")
    }

    #[test]
    fn the_three_vectors_of_the_contract() {
        let now = Wall::from_millis(1_900_000_001_000);
        let rows = [
            ("category=linear&symbol=ABCUSDT", "666d97b4246d669bae28ef0546c6644d11ff00fadf74bf804447ee4b63262530"),
            (
                r#"{"category":"linear","symbol":"ABCUSDT","orderId":"7d1e0000"}"#,
                "f2dc67a65267a5ec2a8ebf583042fcfb4179d683911e789d4a11a28bbccffe2f",
            ),
        ];
        for (payload, expected) in rows {
            assert_eq!(signer().headers(now, payload)[1].1, expected, "{payload}");
        }
        let frame = signer().auth_frame(Wall::from_millis(1_900_000_005_000));
        let expected = "a9d2c871d9d4ef5e05c18d09d2af641c970c757c167aedd6246906b4398e32e5";
        assert_eq!(frame, format!(r#"{{"op":"auth","args":["K3Y",1900000005000,"{expected}"]}}"#));
    }

    #[test]
    fn a_printed_signer_shows_nothing() {
        let shown = format!("{:?}", signer());
        assert!(!shown.contains("K3Y") && !shown.contains("S3CRET"), "{shown}");
    }

    #[test]
    fn secrets_of_every_length_sign() {
        for len in [0usize, 1, 63, 64, 65, 200] {
            let long = Signer::new("K3Y", &vec![7u8; len]);
            assert_ne!(long.sign(&[b"x"]), signer().sign(&[b"x"]), "{len}");
        }
    }
}

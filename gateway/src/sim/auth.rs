//! Signatures: HMAC-SHA256 over the bytes on the wire, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Is `hex` the lowercase hexadecimal HMAC-SHA256 of `parts` under `secret`?
pub(super) fn verify(secret: &str, parts: &[&[u8]], hex: &[u8]) -> bool {
    let Some(tag) = unhex(hex) else { return false };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(&tag).is_ok()
}

fn unhex(hex: &[u8]) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            b'A'..=b'F' => Some(c - b'A' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_vectors_verify_and_a_changed_byte_does_not() {
        let rows: [(&[&[u8]], &str); 3] = [
            (
                &[b"1900000001000K3Y5000", b"category=linear&symbol=ABCUSDT"],
                "666d97b4246d669bae28ef0546c6644d11ff00fadf74bf804447ee4b63262530",
            ),
            (
                &[b"1900000001000K3Y5000", br#"{"category":"linear","symbol":"ABCUSDT","orderId":"7d1e0000"}"#],
                "f2dc67a65267a5ec2a8ebf583042fcfb4179d683911e789d4a11a28bbccffe2f",
            ),
            (&[b"GET/realtime", b"1900000005000"], "a9d2c871d9d4ef5e05c18d09d2af641c970c757c167aedd6246906b4398e32e5"),
        ];
        for (parts, hex) in rows {
            assert!(verify("S3CRET", parts, hex.as_bytes()));
            assert!(!verify("S3CREU", parts, hex.as_bytes()));
            assert!(!verify("S3CRET", &[b"x"], hex.as_bytes()));
            assert!(!verify("S3CRET", parts, &hex.as_bytes()[..63]));
        }
    }
}

//! TLS 1.3 records (RFC 8446, 5): one direction of a conversation whose keys somebody else agreed on.
//!
//! In: a key and its place in the sequence, plain bytes or a whole record. Out: records, or what one says and of what kind.
//! Never: an allocation, a record larger than the RFC lets one be, or a byte of one that was changed on its way.
//!
//! ```text
//!   23 | 3 3 | length | sealed( content | kind | zeros ) | tag        nonce: iv xor sequence; header: authenticated
//! ```

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

/// Bytes before what is sealed.
pub(super) const HEADER: usize = 5;
/// Most plain bytes of one record.
pub(super) const MOST_PLAIN: usize = 1 << 14;
/// Most bytes after the header of one.
const MOST_SEALED: usize = MOST_PLAIN + 256;
/// Room for the largest.
pub(super) const MOST: usize = HEADER + MOST_SEALED;
const TAG: usize = 16;
/// What every record says it is after the handshake.
const OUTER: u8 = 23;

/// Why a conversation cannot go on.
pub(super) type Broken = &'static str;

/// What a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end, or why it is one.
    Alert,
    /// Tickets and new keys.
    Handshake,
    /// What the conversation is about.
    Data,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::Data => OUTER,
        }
    }

    const fn of(code: u8) -> Result<Self, Broken> {
        match code {
            21 => Ok(Self::Alert),
            22 => Ok(Self::Handshake),
            OUTER => Ok(Self::Data),
            _ => Err("a TLS record of no known kind"),
        }
    }
}

/// The key of one direction.
pub(super) struct Key {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Key {
    /// What a handshake or a new key left.
    pub(super) fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Broken> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err("a TLS cipher keel does not speak"),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| "a TLS key of the wrong length")?;
        let iv = iv.as_ref().try_into().map_err(|_| "a TLS iv of the wrong length")?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    /// Records under this key so far.
    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    fn nonce(&mut self) -> Result<Nonce, Broken> {
        let mut nonce = self.iv;
        for (byte, count) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence = self.sequence.checked_add(1).ok_or("a TLS key used up")?;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Appends one record; more than [`MOST_PLAIN`] bytes are refused.
    pub(super) fn seal(&mut self, kind: Kind, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let sealed = plain.len() + 1 + TAG;
        let length =
            u16::try_from(sealed).ok().filter(|_| plain.len() <= MOST_PLAIN).ok_or("too much for a TLS record")?;
        let [high, low] = length.to_be_bytes();
        let header = [OUTER, 3, 3, high, low];
        let nonce = self.nonce()?;
        out.extend_from_slice(&header);
        let at = out.len();
        out.extend_from_slice(plain);
        out.push(kind.code());
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[at..])
            .map_err(|_| "a TLS record that cannot be sealed")?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens one whole record where it lies: its kind, and how many bytes after [`HEADER`] it says.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(Kind, usize), Broken> {
        let Some((header, sealed)) = record.split_first_chunk_mut::<HEADER>() else { return Err("half a TLS record") };
        if header[0] != OUTER {
            return Err("a TLS record in the clear");
        }
        let nonce = self.nonce()?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(*header), sealed)
            .map_err(|_| "a TLS record that was changed or does not follow")?;
        let kind = plain.iter().rposition(|byte| *byte != 0).ok_or("a TLS record of no kind")?;
        if kind > MOST_PLAIN {
            return Err("a TLS record larger than one may be");
        }
        Ok((Kind::of(plain[kind])?, kind))
    }
}

/// How long the record is that these bytes begin with; `None` when that is not to be seen yet.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let Some(&[_, major, _, high, low]) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let sealed = usize::from(u16::from_be_bytes([high, low]));
    if major != 3 {
        return Err("not a TLS record");
    }
    if sealed > MOST_SEALED {
        return Err("a TLS record larger than one may be");
    }
    Ok(Some(HEADER + sealed))
}

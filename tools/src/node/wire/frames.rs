//! WebSocket frames as a client reads and writes them (RFC 6455, 5).
//!
//! In: the bytes a conversation brought so far; text to send. Out: the next message and how many bytes it took; masked
//! frames. Never: an allocation for a message no larger than one before it, a message larger than asked for, or text
//! that is none.
//!
//! ```text
//!   fin, opcode | mask, length 7 | length 16 or 64 | key, when masked | payload
//! ```

use rand::rngs::{StdRng, SysRng};
use rand::{Rng as _, SeedableRng as _};
use std::ops::Range;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Most bytes a control frame carries.
const MOST_CONTROL: usize = 125;

/// What a server did that it must not.
pub(super) type Violation = &'static str;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of the message before.
    More = 0,
    /// A message of text.
    Text = 1,
    /// A message of bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Is anybody there?
    Ping = 9,
    /// Somebody is.
    Pong = 10,
}

impl Opcode {
    const fn of(code: u8) -> Result<Self, Violation> {
        Ok(match code {
            0 => Self::More,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err("a frame of no known kind"),
        })
    }

    const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

struct Head {
    last: bool,
    opcode: Opcode,
    header: usize,
    payload: usize,
}

/// The head these bytes begin with, once it is whole.
fn head(bytes: &[u8], most: usize) -> Result<Option<Head>, Violation> {
    let Some(&[first, second]) = bytes.first_chunk::<2>() else { return Ok(None) };
    if first & RESERVED != 0 {
        return Err("a frame with reserved bits");
    }
    if second & MASKED != 0 {
        return Err("a masked frame from a server");
    }
    let opcode = Opcode::of(first & 0x0f)?;
    let last = first & FIN != 0;
    let short = usize::from(second & !MASKED);
    if opcode.is_control() && (short > MOST_CONTROL || !last) {
        return Err("a control frame that is long or in parts");
    }
    let rest = &bytes[2..];
    let (header, payload) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (2, short as u64),
    };
    let payload = usize::try_from(payload).ok().filter(|length| *length <= most).ok_or(TOO_LARGE)?;
    Ok(Some(Head { last, opcode, header, payload }))
}

const TOO_LARGE: Violation = "a message larger than keel takes";

/// What the next frame came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A whole text, handed over.
    Text,
    /// Nothing to act on.
    Nothing,
    /// To be answered with these bytes.
    Ping(Range<usize>),
    /// The end: a code and a reason, when there is one.
    Close(Range<usize>),
}

/// Both directions of one conversation.
pub(super) struct Frames {
    most: usize,
    joining: Option<Opcode>,
    parts: Vec<u8>,
    keys: StdRng,
}

impl Frames {
    /// For messages of at most so many bytes.
    pub(super) fn new(most: usize) -> Result<Self, rand::rngs::SysError> {
        Ok(Self { most, joining: None, parts: Vec::new(), keys: StdRng::try_from_rng(&mut SysRng)? })
    }

    /// The frame these bytes begin with, once it is whole: how many of them it took, and what it came to. A text stands
    /// in `text` then.
    pub(super) fn next(&mut self, bytes: &[u8], text: &mut String) -> Result<Option<(usize, Said)>, Violation> {
        let Some(head) = head(bytes, self.most)? else { return Ok(None) };
        let payload = head.header..head.header + head.payload;
        let Some(said) = bytes.get(payload.clone()) else { return Ok(None) };
        let said = match head.opcode {
            Opcode::Ping => Said::Ping(payload.clone()),
            Opcode::Close => Said::Close(payload.clone()),
            Opcode::Pong => Said::Nothing,
            Opcode::More => self.more(said, head.last, text)?,
            Opcode::Text | Opcode::Binary if self.joining.is_some() => return Err("a message within a message"),
            Opcode::Text if head.last => hand_over(said, text)?,
            Opcode::Binary if head.last => Said::Nothing,
            Opcode::Text | Opcode::Binary => {
                self.joining = Some(head.opcode);
                self.parts.clear();
                self.more(said, false, text)?
            }
        };
        Ok(Some((payload.end, said)))
    }

    fn more(&mut self, said: &[u8], last: bool, text: &mut String) -> Result<Said, Violation> {
        let Some(joining) = self.joining else { return Err("more of a message that never began") };
        if self.parts.len() + said.len() > self.most {
            return Err(TOO_LARGE);
        }
        self.parts.extend_from_slice(said);
        if !last {
            return Ok(Said::Nothing);
        }
        self.joining = None;
        if joining == Opcode::Text { hand_over(&self.parts, text) } else { Ok(Said::Nothing) }
    }

    /// Appends one frame, masked as a client's must be.
    pub(super) fn write(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        out.push(FIN | opcode as u8);
        match payload.len() {
            short @ 0..126 => out.push(MASKED | short.to_le_bytes()[0]),
            long => match u16::try_from(long) {
                Ok(long) => {
                    out.push(MASKED | 126);
                    out.extend_from_slice(&long.to_be_bytes());
                }
                Err(_) => {
                    out.push(MASKED | 127);
                    out.extend_from_slice(&(long as u64).to_be_bytes());
                }
            },
        }
        let key = self.keys.next_u32();
        out.extend_from_slice(&key.to_le_bytes());
        let at = out.len();
        out.extend_from_slice(payload);
        mask(&mut out[at..], key);
    }
}

fn hand_over(said: &[u8], text: &mut String) -> Result<Said, Violation> {
    text.clear();
    text.push_str(std::str::from_utf8(said).map_err(|_| "text that is not UTF-8")?);
    Ok(Said::Text)
}

fn mask(payload: &mut [u8], key: u32) {
    let twice = u64::from(key) << 32 | u64::from(key);
    let (eights, rest) = payload.as_chunks_mut::<8>();
    for eight in eights {
        *eight = (u64::from_le_bytes(*eight) ^ twice).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(twice.to_le_bytes()) {
        *byte ^= key;
    }
}

/// The code and the reason of a close frame, for people.
pub(super) fn why(payload: &[u8]) -> String {
    match payload.split_first_chunk::<2>() {
        None => "the venue closed the conversation and gave no reason".to_owned(),
        Some((code, reason)) => format!(
            "the venue closed the conversation: {} {}",
            u16::from_be_bytes(*code),
            String::from_utf8_lossy(reason).escape_debug()
        ),
    }
}

#[cfg(test)]
mod tests;

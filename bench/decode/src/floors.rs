//! What the machine cannot beat: touching every byte, and parsing the same numbers without looking at anything else.

use crate::{Contestant, End, contestant};

pub fn all() -> Vec<Contestant> {
    vec![
        contestant("floor: sum of bytes", "touch every byte, one at a time", |messages| {
            let mut sum = 0u64;
            for message in messages {
                for byte in message {
                    sum = std::hint::black_box(sum.wrapping_add(u64::from(*byte)));
                }
            }
            End::Digest(sum)
        }),
        contestant("floor: scan of numbers", "parse every run of digits, check nothing", |messages| {
            End::Digest(messages.iter().fold(0u64, |sum, message| sum.wrapping_add(numbers(message))))
        }),
    ]
}

/// Sum of all digit runs, a point inside a run scaled to eight places: the arithmetic any decoder must do.
fn numbers(message: &[u8]) -> u64 {
    let (mut sum, mut value, mut digits, mut decimals, mut point) = (0u64, 0u64, 0u32, 0u32, false);
    for byte in message {
        match byte {
            b'0'..=b'9' => {
                value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                digits += 1;
                decimals += u32::from(point);
            }
            b'.' if digits > 0 => point = true,
            _ if digits > 0 => {
                sum = sum.wrapping_add(value.wrapping_mul(10u64.pow(8 - decimals.min(8))));
                (value, digits, decimals, point) = (0, 0, 0, false);
            }
            _ => {}
        }
    }
    sum.wrapping_add(value)
}

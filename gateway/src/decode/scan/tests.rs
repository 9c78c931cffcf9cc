//! The scanner beside serde, which is the slow twin.

use super::super::{EXAMPLES, Envelope, ExecRow, Limits, OrderRow, PositionRow, Scalar, WalletRow, json};
use super::*;
use crate::testing::captures;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

fn whole(text: &str) -> bool {
    let mut scan = Scan::new(text);
    scan.value().and_then(|_| scan.end()).is_ok()
}

fn read<'a, T>(text: &'a str, row: impl FnOnce(&mut Scan<'a>) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut scan = Scan::new(text);
    let read = row(&mut scan)?;
    scan.end().map(|()| read)
}

fn rows<'a, T>(text: &'a str, row: impl Fn(&mut Scan<'a>) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut rows = Vec::new();
    read(text, |scan| scan.array(|scan| row(scan).map(|row| rows.push(row))))?;
    Ok(rows)
}

fn slow<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DecodeError> {
    json(text.as_bytes())
}

/// Both read the frame, the limits in its head and the rows in its data alike.
fn same(frame: &str) -> Result<(), TestCaseError> {
    let envelope = read(frame, Envelope::read);
    prop_assert_eq!(&envelope, &slow::<Envelope<'_>>(frame));
    let Ok(envelope) = envelope else { return Ok(()) };
    if let Some(limits) = envelope.header.part() {
        prop_assert_eq!(read(limits, Limits::read), slow::<Limits<'_>>(limits));
    }
    if let Some(data) = envelope.data.part() {
        prop_assert_eq!(rows(data, OrderRow::read), slow::<Vec<OrderRow<'_>>>(data));
        prop_assert_eq!(rows(data, ExecRow::read), slow::<Vec<ExecRow<'_>>>(data));
        prop_assert_eq!(rows(data, PositionRow::read), slow::<Vec<PositionRow<'_>>>(data));
        prop_assert_eq!(rows(data, WalletRow::read), slow::<Vec<WalletRow<'_>>>(data));
    }
    Ok(())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..5).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_json_is_read_and_what_is_spoiled_is_not(value in value(), pretty in any::<bool>(), at in any::<prop::sample::Index>(), to in any::<char>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert!(whole(&text), "{}", text);
        let mut spoiled: Vec<char> = text.chars().collect();
        let at = at.index(spoiled.len());
        for to in [Some(to), Some('"'), Some('\\'), Some('0'), Some('.'), Some(','), Some('}'), Some('\u{1}'), None] {
            let was = spoiled[at];
            match to {
                Some(to) => spoiled[at] = to,
                None => drop(spoiled.remove(at)),
            }
            let text: String = spoiled.iter().collect();
            prop_assert_eq!(whole(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
            if to.is_some() {
                spoiled[at] = was;
            }
        }
    }

    #[test]
    fn no_text_is_taken_amiss(text in r#"[\[\]{}",:0-9.eE+\-truefalsn\\ /a\n]{0,40}"#) {
        prop_assert_eq!(whole(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn frames_with_one_character_changed_are_read_as_serde_reads_them(which in 0..EXAMPLES.len(), at in any::<prop::sample::Index>(), to in "[\\[\\]{}\",:0-9a-z\\\\ ]") {
        let frame = EXAMPLES[which].1;
        let at = at.index(frame.len());
        same(&format!("{}{to}{}", &frame[..at], &frame[at + 1..]))?;
        same(&format!("{}{to}{}", &frame[..at], &frame[at..]))?;
        same(&frame[..at])?;
    }
}

#[test]
fn every_recorded_frame_is_read_as_serde_reads_it() {
    let recorded = captures("bybit_v5_private").into_iter().map(|(_, line)| line);
    for frame in EXAMPLES.iter().map(|(_, frame)| (*frame).to_owned()).chain(recorded) {
        same(&frame).unwrap();
    }
}

#[test]
fn a_field_that_is_there_twice_is_one_too_many_by_either_name() {
    for row in [r#"{"size":"1","size":"1"}"#, r#"{"entryPrice":"1","avgPrice":"2"}"#, r#"{"size":null,"size":"1"}"#] {
        assert_eq!(read(row, PositionRow::read), Err(DecodeError::Json), "{row}");
        assert_eq!(slow::<PositionRow<'_>>(row).map(drop), Err(DecodeError::Json), "{row}");
    }
    let other = read(r#" { "size" : "1" , "sizes" : [ { } , "1" ] , "sizes" : 2 } "#, PositionRow::read).unwrap();
    assert_eq!(other, slow(r#"{"size":"1"}"#).unwrap());
}

#[test]
fn values_within_values_have_a_bottom() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(whole(&nested(MAX_DEPTH)) && !whole(&nested(MAX_DEPTH + 1)) && !whole(&"[".repeat(1 << 20)));
}

#[test]
fn what_an_order_brings_asks_the_allocator_for_nothing() {
    use super::super::{Decoder, Source};
    let mut decoder = Decoder::new(&crate::testing::instruments());
    let mut facts = 0;
    let counted = allocation_counter::measure(|| {
        for (_, frame) in EXAMPLES.iter().cycle().take(1_000) {
            decoder.frame(frame.as_bytes(), Source::default(), &mut |_| facts += 1).unwrap();
        }
    });
    assert_eq!((counted.count_total, facts), (0, 1_000));
    assert_eq!(Scalar::default().part(), None);
}

//! XML as a stream: elements opened, their text, elements closed.
//!
//! In: bytes of a stranger. Out: a walk over them, for whoever listens. Never: a panic, an entity from outside, a document
//! that ends before its root does taken for a whole one.

use anyhow::{Result, bail, ensure};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Levels an element may be deep.
const DEPTH: usize = 64;
/// Bytes of text of one element.
const TEXT: usize = 1 << 20;

/// Attributes of an element, by local name.
pub(super) type Attributes = Vec<(String, String)>;

/// The value of an attribute; empty without one.
pub(super) fn value<'a>(attributes: &'a Attributes, name: &str) -> &'a str {
    attributes.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// Who listens.
pub(super) trait Visit {
    /// An element begins.
    fn open(&mut self, name: &str, attributes: &Attributes);
    /// It ends; `text` is what stood directly in it.
    fn close(&mut self, name: &str, text: &str);
}

/// Walks a document whose root is `root`.
pub(super) fn walk(bytes: &[u8], root: &str, visit: &mut impl Visit) -> Result<()> {
    let text = std::str::from_utf8(bytes).map_err(|why| anyhow::anyhow!("not UTF-8 at byte {}", why.valid_up_to()))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<(String, String)> = Vec::new();
    let mut ended = false;
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|why| anyhow::anyhow!("byte {at}: {why}"))?;
        match event {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                ensure!(!open.is_empty() || (name == root && !ended), "the root is <{name}>, not <{root}>");
                ensure!(open.len() < DEPTH, "byte {at}: more than {DEPTH} elements deep");
                visit.open(&name, &attributes(&start)?);
                open.push((name, String::new()));
            }
            Event::Empty(start) => {
                let name = start.local_name().as_ref().to_owned();
                ensure!(!open.is_empty(), "the root is <{name}/>, which holds nothing");
                visit.open(&name, &attributes(&start)?);
                visit.close(&name, "");
            }
            Event::End(_) => {
                let Some((name, text)) = open.pop() else { bail!("byte {at}: an element ends that never began") };
                visit.close(&name, text.trim());
                ended = open.is_empty();
            }
            Event::Text(text) => {
                let Some((_, held)) = open.last_mut() else { continue };
                held.push_str(&text);
                ensure!(held.len() <= TEXT, "byte {at}: a text of more than {TEXT} bytes");
            }
            Event::CData(text) => {
                let Some((_, held)) = open.last_mut() else { continue };
                held.push_str(&text);
                ensure!(held.len() <= TEXT, "byte {at}: a text of more than {TEXT} bytes");
            }
            Event::GeneralRef(name) => {
                let Some((_, held)) = open.last_mut() else { continue };
                held.push_str(&entity(&name).unwrap_or_default());
            }
            Event::DocType(_) => bail!("byte {at}: a document type is not taken"),
            Event::Eof => break,
            _ => {}
        }
    }
    ensure!(ended && open.is_empty(), "it is cut short: <{root}> never ends");
    Ok(())
}

/// The five entities of XML, and characters by number.
fn entity(name: &str) -> Option<String> {
    let known = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some(known.to_string())
}

fn attributes(start: &BytesStart<'_>) -> Result<Attributes> {
    let mut all = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|why| anyhow::anyhow!("an attribute: {why}"))?;
        let name = attribute.key.local_name().as_ref().to_owned();
        all.push((name, unescape(&attribute.value)));
    }
    Ok(all)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail))) {
            Some((character, tail)) => {
                out.push_str(&character);
                rest = tail;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

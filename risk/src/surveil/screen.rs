//! Sanctions lists, matched: addresses exactly after the form of their chain, names by likeness.
//!
//! In: lists somebody parsed, an address, a name. Out: the entry hit, with the list, its version and its hash. Never: an
//! address matched in part, a name matched across lists as if it were one, a list that holds nothing taken for a list.
//!
//! Addresses: what begins with 0x is hexadecimal and lower-cased; what begins with a human-readable part of bech32 (bc1,
//! tb1, ltc1, cosmos-like `x1`) and is of one case is lower-cased; everything else (base58) is compared as it stands. A
//! tag or memo after `:` or `?` is cut off; a scheme such as `bitcoin:` before the address too.
//!
//! Names: compatibility decomposition, transliteration, lower case, tokens sorted; likeness is the larger of Jaro-Winkler
//! of the sorted tokens and of the mean best match of each token of the shorter name. Weak aliases need more.

use core::fmt::Write;
use keel_core::ids::Text;
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// Parties all lists together may have; beyond it a list is refused where it is loaded.
pub const MAX_PARTIES: usize = 200_000;
/// Names one comparison looks at after the index narrowed them.
const MAX_CANDIDATES: usize = 20_000;

/// One listed party.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// The list's own number.
    pub id: String,
    /// Its names: the name, and whether the list calls it weak.
    pub names: Vec<(String, bool)>,
    /// Its addresses: the coin as the list writes it, and the address as it stands there.
    pub wallets: Vec<(String, String)>,
    /// Its countries, as the list writes them.
    pub countries: Vec<String>,
    /// Its dates of birth, as the list writes them.
    pub births: Vec<String>,
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// `ofac`, `eu`, `uk`, `un`.
    pub source: String,
    /// Its own date or version.
    pub version: String,
    /// SHA-256 of the files it came from.
    pub digest: [u8; 32],
    /// The parties.
    pub parties: Vec<Party>,
}

/// A hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// List, version and entry: `ofac:2026-11-20:36`.
    pub entry: Text<63>,
    /// The list's hash.
    pub digest: [u8; 32],
    /// How like, permille; 1000 is the same.
    pub likeness: i64,
    /// The list calls this name weak.
    pub weak: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    list: usize,
    party: usize,
}

#[derive(Clone, Debug)]
struct Named {
    place: Place,
    sorted: String,
    weak: bool,
}

/// All lists, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    lists: Vec<List>,
    wallets: BTreeMap<String, Place>,
    names: Vec<Named>,
    /// First letters of tokens to names.
    index: BTreeMap<char, Vec<usize>>,
}

impl Lists {
    /// Made of these.
    #[must_use]
    pub fn new(lists: Vec<List>) -> Self {
        let mut all = Self::default();
        for (list, source) in lists.iter().enumerate() {
            for (party, row) in source.parties.iter().enumerate().take(MAX_PARTIES) {
                let place = Place { list, party };
                for (_, wallet) in &row.wallets {
                    all.wallets.entry(address(wallet)).or_insert(place);
                }
                for (written, weak) in &row.names {
                    let sorted = tokens(written);
                    if !sorted.is_empty() {
                        all.names.push(Named { place, sorted, weak: *weak });
                    }
                }
            }
        }
        for (at, named) in all.names.iter().enumerate() {
            let firsts: std::collections::BTreeSet<char> =
                named.sorted.split(' ').filter_map(|token| token.chars().next()).collect();
            for first in firsts {
                all.index.entry(first).or_default().push(at);
            }
        }
        all.lists = lists;
        all
    }

    /// Nothing was loaded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The lists.
    #[must_use]
    pub fn lists(&self) -> &[List] {
        &self.lists
    }

    /// The party with this address.
    #[must_use]
    pub fn wallet(&self, written: &str) -> Option<Hit> {
        let place = self.wallets.get(&address(written))?;
        Some(self.hit(*place, 1000, false))
    }

    /// The party whose name is most like this one, when at least so like; weak aliases need `weak`.
    #[must_use]
    pub fn name(&self, written: &str, least: i64, weak: i64) -> Option<Hit> {
        let sorted = tokens(written);
        let firsts: std::collections::BTreeSet<char> =
            sorted.split(' ').filter_map(|token| token.chars().next()).collect();
        let mut best: Option<(i64, &Named)> = None;
        let near = firsts.iter().filter_map(|first| self.index.get(first)).flatten();
        for named in near.take(MAX_CANDIDATES).filter_map(|at| self.names.get(*at)) {
            let likeness = likeness(&sorted, &named.sorted);
            let enough = likeness >= if named.weak { weak.max(least) } else { least };
            if enough && best.is_none_or(|(had, _)| likeness > had) {
                best = Some((likeness, named));
            }
        }
        best.map(|(likeness, named)| self.hit(named.place, likeness, named.weak))
    }

    fn hit(&self, place: Place, likeness: i64, weak: bool) -> Hit {
        let list = &self.lists[place.list];
        let mut entry = String::new();
        let _ = write!(entry, "{}:{}:{}", list.source, list.version, list.parties[place.party].id);
        entry.retain(|c| c.is_ascii_graphic());
        entry.truncate(63);
        Hit { entry: Text::new(entry.as_bytes()).unwrap_or_default(), digest: list.digest, likeness, weak }
    }
}

/// An address in the one form it is compared in.
#[must_use]
pub fn address(written: &str) -> String {
    let mut text = written.trim();
    for scheme in ["bitcoin:", "ethereum:", "litecoin:", "tron:"] {
        let head = text.get(..scheme.len());
        if head.is_some_and(|head| head.eq_ignore_ascii_case(scheme)) {
            text = &text[scheme.len()..];
        }
    }
    let cash = text.get(..12).is_some_and(|head| head.eq_ignore_ascii_case("bitcoincash:"));
    let text = if cash { &text[12..] } else { text };
    let text = text.split([':', '?', ' ']).next().unwrap_or("");
    let hex = text.get(..2).is_some_and(|head| head.eq_ignore_ascii_case("0x"))
        && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    if hex || cash || is_bech32(text) { text.to_ascii_lowercase() } else { text.to_owned() }
}

/// A human-readable part, `1`, and at least eight characters of bech32's alphabet, all of one case.
fn is_bech32(text: &str) -> bool {
    let one_case = text.bytes().all(|b| !b.is_ascii_uppercase()) || text.bytes().all(|b| !b.is_ascii_lowercase());
    let Some((head, data)) = text.rsplit_once('1') else { return false };
    let alphabet = |b: u8| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".contains(&b.to_ascii_lowercase());
    let letters = !head.is_empty() && head.bytes().all(|b| b.is_ascii_alphabetic());
    one_case && letters && data.len() >= 8 && data.bytes().all(alphabet)
}

/// A name as its sorted tokens.
#[must_use]
pub fn tokens(written: &str) -> String {
    let decomposed: String = written.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).collect();
    let plain = deunicode::deunicode(&decomposed).to_lowercase();
    let mut tokens: Vec<&str> = plain.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens.join(" ")
}

/// How like two token lists are, permille.
#[must_use]
pub fn likeness(a: &str, b: &str) -> i64 {
    if a.is_empty() || b.is_empty() {
        return 0;
    }
    let whole = strsim::jaro_winkler(a, b);
    let [a, b]: [Vec<&str>; 2] = [a.split(' ').collect(), b.split(' ').collect()];
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let best = |token: &str| long.iter().map(|other| strsim::jaro_winkler(token, other)).fold(0.0, f64::max);
    // one word of many is no name: a single token is compared whole
    let each =
        if short.len() < 2 { 0.0 } else { short.iter().map(|token| best(token)).sum::<f64>() / short_len(&short) };
    permille(whole.max(each))
}

#[allow(clippy::cast_precision_loss, reason = "a handful of tokens")]
fn short_len(tokens: &[&str]) -> f64 {
    tokens.len() as f64
}

#[allow(clippy::cast_possible_truncation, reason = "between 0 and 1000")]
fn permille(share: f64) -> i64 {
    (share.clamp(0.0, 1.0) * 1000.0).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_in_the_form_of_their_chain() {
        let rows = [
            ("0xAbCdEf0123", "0xabcdef0123", true),
            ("0XABCDEF0123", "0xabcdef0123", true),
            ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "1boatSLRHtKNngkdXEeobR76b53LETtpyT", false),
            ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", true),
            ("rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH:12345", "rN7n7otQDd6FczFgLdSqtcsAUxDkw6fzRH", true),
            (" bitcoin:1BoatSLRHtKNngkdXEeobR76b53LETtpyT?amount=1", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", true),
            ("TJRyWwFs9wTFGZg3JbrVriFbNfCug5tDeC", "tJRyWwFs9wTFGZg3JbrVriFbNfCug5tDeC", false),
        ];
        for (a, b, same) in rows {
            assert_eq!(address(a) == address(b), same, "{a} {b}");
        }
        for odd in ["", ":", "0x", "é", "0xé", "bitcoincash:", "1", "??", "bitcoin"] {
            let _ = address(odd);
        }
    }

    #[test]
    fn names_are_matched_by_likeness_and_weak_aliases_need_more() {
        let party = |id: &str, name: &str, weak| Party {
            id: id.into(),
            names: vec![(name.into(), weak)],
            wallets: vec![("XBT".into(), format!("1Wallet{id}"))],
            ..Party::default()
        };
        let parties = vec![
            party("7", "Zorbanov, Petr Ilych", false),
            party("8", "MERIDIAN QUARTZ TRADING LLC", false),
            party("9", "KOBRA", true),
        ];
        let list = List { source: "ofac".into(), version: "2026-11-20".into(), digest: [7; 32], parties };
        let lists = Lists::new(vec![list]);
        let rows = [
            ("Petr Zorbanov", Some("ofac:2026-11-20:7")),
            ("Петр Зорбанов", Some("ofac:2026-11-20:7")),
            ("PETR  ZORBÁNOV", Some("ofac:2026-11-20:7")),
            ("Meridian Quartz Trading", Some("ofac:2026-11-20:8")),
            ("Peter Smith", None),
            ("Meridian Hotels", None),
            ("Cobra", None),
            ("kobra", Some("ofac:2026-11-20:9")),
            ("kobrat", None),
            ("", None),
        ];
        for (name, entry) in rows {
            let hit = lists.name(name, 920, 970);
            assert_eq!(hit.as_ref().map(|hit| hit.entry.as_str()), entry, "{name} {hit:?}");
        }
        assert_eq!(lists.wallet("1Wallet8").unwrap().entry.as_str(), "ofac:2026-11-20:8");
        assert_eq!((lists.wallet("1wallet8"), lists.wallet("")), (None, None));
    }
}

//! The lists as their publishers write them: OFAC `SDN.XML` and `SDN.CSV` with `ALT.CSV` and `ADD.CSV`, the EU's
//! consolidated XML 1.1, the UK's CSV (OFSI's and the UK Sanctions List's), the UN's XML.
//!
//! In: bytes. Out: a list, or one sentence. Never: a panic, a list cut short taken for a whole one: XML must close its
//! root, OFAC's own count must fit.

use super::xml::{Attributes, Visit, value, walk};
use anyhow::{Context, Result, ensure};
use keel_risk::surveil::screen::{List, MAX_PARTIES, Party};
use std::collections::BTreeMap;

/// How OFAC marks a wallet; the coin follows.
const WALLET: &str = "Digital Currency Address - ";
/// OFAC's empty field.
const NULL: &str = "-0-";

/// A form a list comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OFAC `SDN.XML`.
    OfacXml,
    /// OFAC `SDN.CSV`, with `ALT.CSV` and `ADD.CSV` beside it.
    OfacCsv,
    /// EU `xmlFullSanctionsList_1_1`.
    Eu,
    /// UK CSV.
    Uk,
    /// UN XML.
    Un,
}

impl Format {
    /// Told from the first bytes; `None` for anything else.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
        let has = |word: &str| head.contains(word);
        Some(match () {
            () if has("<sdnList") => Self::OfacXml,
            () if has("<CONSOLIDATED_LIST") => Self::Un,
            () if has("<export") => Self::Eu,
            () if has("Name 6") => Self::Uk,
            () if first_row_has(&head, 12) => Self::OfacCsv,
            () => return None,
        })
    }

    /// Whose list it is.
    #[must_use]
    pub const fn source(self) -> &'static str {
        match self {
            Self::OfacXml | Self::OfacCsv => "ofac",
            Self::Eu => "eu",
            Self::Uk => "uk",
            Self::Un => "un",
        }
    }

    /// Parties such a list has at least and at most, unless somebody says otherwise.
    #[must_use]
    pub const fn band(self) -> (usize, usize) {
        match self {
            Self::OfacXml | Self::OfacCsv => (15_000, 25_000),
            Self::Eu => (3_000, 12_000),
            Self::Uk => (2_500, 12_000),
            Self::Un => (500, 3_000),
        }
    }

    /// Reads one. `alt` and `add` are the files beside `SDN.CSV`.
    pub fn parse(self, bytes: &[u8], alt: Option<&[u8]>, add: Option<&[u8]>) -> Result<List> {
        let (version, parties) = match self {
            Self::OfacXml => ofac(bytes)?,
            Self::OfacCsv => sdn(bytes, alt, add)?,
            Self::Eu => eu(bytes)?,
            Self::Uk => uk(bytes)?,
            Self::Un => un(bytes)?,
        };
        ensure!(parties.len() <= MAX_PARTIES, "more than {MAX_PARTIES} parties");
        ensure!(parties.iter().all(|party| !party.id.is_empty()), "a party without a number");
        let version = version.chars().filter(char::is_ascii_graphic).take(24).collect();
        Ok(List { source: self.source().to_owned(), version, digest: [0; 32], parties })
    }
}

fn first_row_has(head: &str, columns: usize) -> bool {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(head.as_bytes());
    let row = rows.records().next().and_then(Result::ok);
    row.is_some_and(|row| row.len() == columns && row[0].trim().parse::<u64>().is_ok())
}

fn push(names: &mut Vec<(String, bool)>, parts: &[&str], weak: bool) {
    let name = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if !name.is_empty() {
        names.push((name, weak));
    }
}

#[derive(Default)]
struct Ofac {
    version: String,
    counted: Option<usize>,
    party: Party,
    parties: Vec<Party>,
    path: Vec<String>,
    first: String,
    last: String,
    category: String,
    kind: String,
    number: String,
}

impl Visit for Ofac {
    fn open(&mut self, name: &str, _: &Attributes) {
        match name {
            "sdnEntry" => {
                self.party = Party::default();
                (self.first, self.last) = Default::default();
            }
            "aka" => (self.first, self.last, self.category) = Default::default(),
            "id" => (self.kind, self.number) = Default::default(),
            _ => {}
        }
        self.path.push(name.to_owned());
    }

    fn close(&mut self, name: &str, text: &str) {
        self.path.pop();
        let inside = self.path.last().map_or("", String::as_str);
        let text = text.to_owned();
        match (inside, name) {
            (_, "Publish_Date") => self.version = text,
            (_, "Record_Count") => self.counted = text.parse().ok(),
            ("sdnEntry", "uid") => self.party.id = text,
            ("sdnEntry" | "aka", "firstName") => self.first = text,
            ("sdnEntry" | "aka", "lastName") => self.last = text,
            // the entry's own name stands before its lists
            ("sdnEntry", "sdnType") => push(&mut self.party.names, &[&self.first, &self.last], false),
            ("aka", "category") => self.category = text,
            ("akaList", "aka") => {
                push(&mut self.party.names, &[&self.first, &self.last], self.category.eq_ignore_ascii_case("weak"));
            }
            ("id", "idType") => self.kind = text,
            ("id", "idNumber") => self.number = text,
            ("idList", "id") => {
                if let Some(coin) = self.kind.strip_prefix(WALLET) {
                    self.party.wallets.push((coin.to_owned(), std::mem::take(&mut self.number)));
                }
            }
            ("address", "country") => self.party.countries.push(text),
            ("dateOfBirthItem", "dateOfBirth") => self.party.births.push(text),
            ("sdnList", "sdnEntry") => self.parties.push(std::mem::take(&mut self.party)),
            _ => {}
        }
    }
}

fn ofac(bytes: &[u8]) -> Result<(String, Vec<Party>)> {
    let mut all = Ofac::default();
    walk(bytes, "sdnList", &mut all)?;
    if let Some(counted) = all.counted {
        let found = all.parties.len();
        ensure!(counted == found, "it says {counted} records and holds {found}: it is not whole");
    }
    Ok((iso(&all.version), all.parties))
}

/// `11/20/2026` as `2026-11-20`; anything else as it is.
fn iso(date: &str) -> String {
    match date.split('/').collect::<Vec<_>>()[..] {
        [month, day, year] if year.len() == 4 => format!("{year}-{month:0>2}-{day:0>2}"),
        _ => date.to_owned(),
    }
}

type Table = Vec<csv::StringRecord>;

fn table(bytes: &[u8]) -> Result<Table> {
    // the files end with a DOS end-of-file mark
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0x1a | b'\n' | b'\r')).map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&bytes[..end]);
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let rows = rows.records().collect::<Result<Table, _>>().context("a row")?;
    Ok(rows)
}

fn sdn(bytes: &[u8], alt: Option<&[u8]>, add: Option<&[u8]>) -> Result<(String, Vec<Party>)> {
    let mut parties: BTreeMap<u64, Party> = BTreeMap::new();
    for (row, line) in table(bytes)?.iter().zip(1..) {
        ensure!(row.len() == 12, "row {line}: {} columns instead of 12", row.len());
        let number: u64 = row[0].parse().with_context(|| format!("row {line}: no number"))?;
        let mut party = Party { id: number.to_string(), ..Party::default() };
        push(&mut party.names, &[&row[1]], false);
        for (_, rest) in row[11].match_indices(WALLET).map(|(at, _)| row[11].split_at(at + WALLET.len())) {
            let mut words = rest.split([' ', ';']);
            if let (Some(coin), Some(address)) = (words.next(), words.next()) {
                party.wallets.push((coin.to_owned(), address.trim_end_matches('.').to_owned()));
            }
        }
        parties.insert(number, party);
    }
    let alt = alt.context("ALT.CSV must lie beside SDN.CSV: without it no alias is known")?;
    for (row, line) in table(alt)?.iter().zip(1..) {
        ensure!(row.len() == 5, "ALT.CSV row {line}: {} columns instead of 5", row.len());
        let party = row[0].parse().ok().and_then(|number: u64| parties.get_mut(&number));
        let party = party.with_context(|| format!("ALT.CSV row {line}: its party is not in SDN.CSV"))?;
        push(&mut party.names, &[&row[3]], row[4].to_ascii_lowercase().contains("weak"));
    }
    for (row, line) in table(add.unwrap_or(&[]))?.iter().zip(1..) {
        ensure!(row.len() >= 5, "ADD.CSV row {line}: {} columns", row.len());
        let party = row[0].parse().ok().and_then(|number: u64| parties.get_mut(&number));
        if let Some(party) = party.filter(|_| &row[4] != NULL) {
            party.countries.push(row[4].to_owned());
        }
    }
    Ok((String::new(), parties.into_values().collect()))
}

#[derive(Default)]
struct Eu {
    version: String,
    party: Party,
    parties: Vec<Party>,
}

impl Visit for Eu {
    fn open(&mut self, name: &str, attributes: &Attributes) {
        let of = |name| value(attributes, name);
        match name {
            "export" => self.version = of("generationDate").to_owned(),
            "sanctionEntity" => self.party = Party { id: of("logicalId").to_owned(), ..Party::default() },
            "nameAlias" => {
                let (weak, whole) = (of("strong") == "false", of("wholeName"));
                let parts = [of("firstName"), of("middleName"), of("lastName")];
                push(&mut self.party.names, if whole.is_empty() { &parts } else { std::slice::from_ref(&whole) }, weak);
            }
            "address" | "citizenship" if !of("countryIso2Code").is_empty() => {
                self.party.countries.push(of("countryIso2Code").to_owned());
            }
            "birthdate" if !of("birthdate").is_empty() => self.party.births.push(of("birthdate").to_owned()),
            _ => {}
        }
    }

    fn close(&mut self, name: &str, _: &str) {
        if name == "sanctionEntity" {
            self.parties.push(std::mem::take(&mut self.party));
        }
    }
}

fn eu(bytes: &[u8]) -> Result<(String, Vec<Party>)> {
    let mut all = Eu::default();
    walk(bytes, "export", &mut all)?;
    Ok((all.version.chars().take(19).collect(), all.parties))
}

#[derive(Default)]
struct Un {
    version: String,
    party: Party,
    parties: Vec<Party>,
    path: Vec<String>,
    name: Vec<String>,
    quality: String,
}

impl Visit for Un {
    fn open(&mut self, name: &str, attributes: &Attributes) {
        match name {
            "CONSOLIDATED_LIST" => self.version = value(attributes, "dateGenerated").to_owned(),
            "INDIVIDUAL" | "ENTITY" => (self.party, self.name) = Default::default(),
            "INDIVIDUAL_ALIAS" | "ENTITY_ALIAS" => self.quality.clear(),
            _ => {}
        }
        self.path.push(name.to_owned());
    }

    fn close(&mut self, name: &str, text: &str) {
        self.path.pop();
        let inside = self.path.last().map_or("", String::as_str);
        match (inside, name) {
            ("INDIVIDUAL" | "ENTITY", "DATAID") => self.party.id = text.to_owned(),
            ("INDIVIDUAL" | "ENTITY", "FIRST_NAME" | "SECOND_NAME" | "THIRD_NAME" | "FOURTH_NAME") => {
                self.name.push(text.to_owned());
            }
            (_, "QUALITY") => self.quality = text.to_owned(),
            ("INDIVIDUAL_ALIAS" | "ENTITY_ALIAS", "ALIAS_NAME") => {
                push(&mut self.party.names, &[text], self.quality.eq_ignore_ascii_case("low"));
            }
            ("NATIONALITY", "VALUE") | ("INDIVIDUAL_ADDRESS" | "ENTITY_ADDRESS", "COUNTRY") if !text.is_empty() => {
                self.party.countries.push(text.to_owned());
            }
            ("INDIVIDUAL_DATE_OF_BIRTH", "DATE" | "YEAR") => self.party.births.push(text.to_owned()),
            (_, "INDIVIDUAL" | "ENTITY") => {
                let parts: Vec<&str> = self.name.iter().map(String::as_str).collect();
                push(&mut self.party.names, &parts, false);
                self.parties.push(std::mem::take(&mut self.party));
            }
            _ => {}
        }
    }
}

fn un(bytes: &[u8]) -> Result<(String, Vec<Party>)> {
    let mut all = Un::default();
    walk(bytes, "CONSOLIDATED_LIST", &mut all)?;
    Ok((all.version.chars().take(19).collect(), all.parties))
}

/// One row a name; rows of one group are one party. Columns are found by their titles, which differ between the two.
fn uk(bytes: &[u8]) -> Result<(String, Vec<Party>)> {
    let rows = table(bytes)?;
    let titles = rows.iter().position(|row| row.iter().any(|cell| cell == "Name 6")).context("no row of titles")?;
    let column = |names: &[&str]| rows[titles].iter().position(|cell| names.contains(&cell));
    let id = column(&["Group ID", "Unique ID"]).context("no column of group numbers")?;
    let names: Vec<usize> = ["Name 1", "Name 2", "Name 3", "Name 4", "Name 5", "Name 6"]
        .iter()
        .filter_map(|name| column(&[name]))
        .collect();
    let script = column(&["Name Non-Latin Script", "Name non-latin script"]);
    let quality = column(&["Alias Quality", "Alias strength"]);
    let (country, birth) = (column(&["Country", "Address Country"]), column(&["DOB", "D.O.B"]));
    let version = rows[..titles].iter().flatten().find(|cell| cell.chars().any(|c| c.is_ascii_digit()));
    let mut parties: BTreeMap<String, Party> = BTreeMap::new();
    for (row, line) in rows.iter().zip(1..).skip(titles + 1) {
        ensure!(
            row.len() == rows[titles].len(),
            "row {line}: {} columns, not those of the titles: cut short",
            row.len()
        );
        let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).unwrap_or("");
        let number = cell(Some(id));
        ensure!(!number.is_empty(), "row {line}: no group number");
        let party = parties.entry(number.to_owned()).or_default();
        number.clone_into(&mut party.id);
        let parts: Vec<&str> = names.iter().map(|at| cell(Some(*at))).collect();
        let strength = cell(quality).to_ascii_lowercase();
        push(&mut party.names, &parts, strength.contains("low") || strength.contains("weak"));
        push(&mut party.names, &[cell(script)], false);
        for (of, into) in [(country, &mut party.countries), (birth, &mut party.births)] {
            let text = cell(of).to_owned();
            if !text.is_empty() && !into.contains(&text) {
                into.push(text);
            }
        }
    }
    Ok((version.unwrap_or("").to_owned(), parties.into_values().collect()))
}

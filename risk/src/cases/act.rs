//! One step of a case as the text its author signs, and the record it becomes.
//!
//! In: an act, or text. Out: text in its one form, or an act; never a text that reads back as another act. A line holds one
//! value and no control character; the lines of a narrative are quoted with `| `, so that none of them can look like a
//! field or a signature.
//!
//! ```text
//! keel case 1
//! case 3
//! before 5f0c...                             digest of the act before
//! at 1790000000000000000
//! actor ann
//! deed draft
//! from investigate
//! to file-draft
//! deadline 1792592000000000000
//! follow-up 0
//! retain-until 0
//! score 80
//! suspect yes
//! alert 12
//! typology Spoofing
//! piece record 91aa... 1201 fill            a record of the trading journal, by the hash of its leaf
//! piece file 77e1... 4096 letter.pdf        a file beside the compliance journal, by its SHA-256
//! about name Ann Example
//! reason large orders against small fills
//! | Between 10:00 and 10:20 the account ...
//! ```

use super::ledger::digest;
use crate::consent::{Name, hex};
use core::fmt::Write as _;
use keel_core::event::{CaseAct, CaseState, Deed, EVIDENCE, Flag, Rule, TYPOLOGIES};
use keel_core::ids::Seq;
use keel_core::units::Wall;

/// Longest act, in bytes of its text.
pub const MAX_TEXT: usize = 1 << 20;
/// Pieces of evidence one act can bring.
pub const MAX_PIECES: usize = 200;
/// Longest value of a line, in bytes.
pub const MAX_LINE: usize = 4096;

/// What a line `about` can be about: the rest of what a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The account's UID.
    Account,
    /// The subject's legal name.
    Name,
    /// Where the file of the due diligence is.
    Kyc,
    /// Where the copy of the identity document is.
    Document,
    /// An address on a chain.
    Address,
    /// A UID of the venue.
    Uid,
    /// An internet address.
    Ip,
    /// Another party, and how it is linked.
    Linked,
    /// An instrument.
    Instrument,
    /// A transaction on a chain.
    Tx,
    /// First moment of what happened, RFC 3339.
    Since,
    /// Last moment.
    Until,
    /// An amount with its coin.
    Amount,
    /// The algorithm that decided.
    Algorithm,
    /// A report filed earlier about the same.
    Earlier,
}

impl About {
    /// All of them.
    pub const ALL: [(Self, &'static str); 15] = [
        (Self::Account, "account"),
        (Self::Name, "name"),
        (Self::Kyc, "kyc"),
        (Self::Document, "document"),
        (Self::Address, "address"),
        (Self::Uid, "uid"),
        (Self::Ip, "ip"),
        (Self::Linked, "linked"),
        (Self::Instrument, "instrument"),
        (Self::Tx, "tx"),
        (Self::Since, "since"),
        (Self::Until, "until"),
        (Self::Amount, "amount"),
        (Self::Algorithm, "algorithm"),
        (Self::Earlier, "earlier"),
    ];

    /// As people write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(about, _)| *about == self).map_or("", |(_, word)| word)
    }

    /// From the word.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(about, _)| *about)
    }
}

/// One piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A record of the trading journal.
    Record {
        /// Hash of its leaf.
        leaf: [u8; 32],
        /// Its place.
        seq: u64,
        /// What it is, in a word.
        kind: String,
    },
    /// A file.
    File {
        /// Its digest.
        sha256: [u8; 32],
        /// Its length.
        bytes: u64,
        /// Its name, without directories.
        name: String,
    },
}

/// What was filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filing {
    /// With whom.
    pub authority: String,
    /// Under which number of theirs.
    pub reference: String,
    /// When.
    pub submitted: Wall,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Act {
    /// Which case.
    pub case: u64,
    /// Digest of the act before.
    pub before: [u8; 32],
    /// When.
    pub at: Wall,
    /// Who.
    pub actor: Name,
    /// What.
    pub deed: Deed,
    /// Where the case stood.
    pub from: CaseState,
    /// Where it stands.
    pub to: CaseState,
    /// By when to file; zero when there is nothing to file any more.
    pub deadline: Wall,
    /// When to look again.
    pub follow_up: Wall,
    /// Until when it is kept.
    pub retain_until: Wall,
    /// How bad it looks.
    pub score: u8,
    /// There is a suspect.
    pub suspect: bool,
    /// To whom it is given.
    pub assignee: Option<Name>,
    /// Alerts.
    pub alerts: Vec<u64>,
    /// Typologies.
    pub typologies: Vec<Rule>,
    /// Evidence.
    pub pieces: Vec<Piece>,
    /// The rest of what is known.
    pub about: Vec<(About, String)>,
    /// What was filed.
    pub filing: Option<Filing>,
    /// Why.
    pub reason: String,
    /// The story.
    pub narrative: String,
}

/// Every state with its word.
pub const STATES: [(CaseState, &str); 9] = [
    (CaseState::None, "none"),
    (CaseState::Open, "open"),
    (CaseState::Triage, "triage"),
    (CaseState::Investigate, "investigate"),
    (CaseState::ClosedNoFile, "closed-no-file"),
    (CaseState::FileDraft, "file-draft"),
    (CaseState::Approved, "approved"),
    (CaseState::Filed, "filed"),
    (CaseState::Monitored, "monitored"),
];

/// Every deed with its word.
pub const DEEDS: [(Deed, &str); 14] = [
    (Deed::Open, "open"),
    (Deed::Link, "link"),
    (Deed::Assign, "assign"),
    (Deed::Note, "note"),
    (Deed::Evidence, "evidence"),
    (Deed::Escalate, "escalate"),
    (Deed::NoFile, "no-file"),
    (Deed::Draft, "draft"),
    (Deed::Return, "return"),
    (Deed::Approve, "approve"),
    (Deed::File, "file"),
    (Deed::Monitor, "monitor"),
    (Deed::Hold, "hold"),
    (Deed::Release, "release"),
];

/// The word for one of a table.
pub fn word<T: PartialEq + Copy>(table: &[(T, &'static str)], one: T) -> &'static str {
    table.iter().find(|(each, _)| *each == one).map_or("none", |(_, word)| word)
}

fn one<T: Copy>(table: &[(T, &'static str)], word: &str) -> Option<T> {
    table.iter().find(|(_, each)| *each == word).map(|(each, _)| *each)
}

/// Every rule, by the name it has in the code.
#[must_use]
pub fn rule(word: &str) -> Option<Rule> {
    RULES.into_iter().find(|rule| format!("{rule:?}") == word)
}

/// Every rule.
pub const RULES: [Rule; 23] = [
    Rule::Structuring,
    Rule::PassThrough,
    Rule::Velocity,
    Rule::Burst,
    Rule::Counterparty,
    Rule::Sanctioned,
    Rule::ChainHop,
    Rule::Repeated,
    Rule::Geography,
    Rule::LossIndifferent,
    Rule::ThirdParty,
    Rule::Maze,
    Rule::Wash,
    Rule::Spoofing,
    Rule::Layering,
    Rule::Stuffing,
    Rule::Ignition,
    Rule::Marking,
    Rule::Painting,
    Rule::CrossProduct,
    Rule::FrontRunning,
    Rule::Pinging,
    Rule::Insider,
];

/// A value that can stand on a line: not empty, no control character, no space at its ends.
#[must_use]
pub fn fits_line(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LINE && text.trim() == text && !text.chars().any(char::is_control)
}

/// A story: lines of text, the first and the last not empty.
#[must_use]
pub fn fits_narrative(text: &str) -> bool {
    let plain = text.chars().all(|each| each == '\n' || !each.is_control());
    plain && text.trim() == text && text.len() <= MAX_TEXT / 2
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Piece {
    fn line(&self) -> String {
        match self {
            Self::Record { leaf, seq, kind } => format!("record {} {seq} {kind}", digits(leaf)),
            Self::File { sha256, bytes, name } => format!("file {} {bytes} {name}", digits(sha256)),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let (what, hash, number, name) = (words.next()?, hex(words.next()?)?, words.next()?, words.next()?.to_owned());
        let number = number.parse().ok()?;
        match what {
            "record" => Some(Self::Record { leaf: hash, seq: number, kind: name }),
            "file" => Some(Self::File { sha256: hash, bytes: number, name }),
            _ => None,
        }
    }

    /// Its digest.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        match self {
            Self::Record { leaf, .. } => *leaf,
            Self::File { sha256, .. } => *sha256,
        }
    }
}

impl Act {
    /// Can it be written, and fits it the record?
    #[must_use]
    pub fn is_well_formed(&self) -> bool {
        let names = self.pieces.iter().all(|piece| match piece {
            Piece::Record { kind, .. } => fits_line(kind) && !kind.contains(' '),
            Piece::File { name, .. } => fits_line(name) && !name.contains(['/', '\\']),
        });
        let filing =
            self.filing.as_ref().is_none_or(|filing| fits_line(&filing.authority) && fits_line(&filing.reference));
        names
            && filing
            && !self.actor.is_empty()
            && self.score <= 100
            && self.alerts.len() <= EVIDENCE
            && self.typologies.len() <= TYPOLOGIES
            && self.pieces.len() <= MAX_PIECES
            && self.about.iter().all(|(_, value)| fits_line(value))
            && (self.reason.is_empty() || fits_line(&self.reason))
            && (self.narrative.is_empty() || fits_narrative(&self.narrative))
            && self.message().len() <= MAX_TEXT
    }

    /// The bytes its author signs.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut text = String::from("keel case 1");
        let mut line = |name: &str, value: &dyn core::fmt::Display| {
            let _ = write!(text, "\n{name} {value}");
        };
        line("case", &self.case);
        line("before", &digits(&self.before));
        line("at", &self.at.nanos());
        line("actor", &self.actor);
        line("deed", &word(&DEEDS, self.deed));
        line("from", &word(&STATES, self.from));
        line("to", &word(&STATES, self.to));
        line("deadline", &self.deadline.nanos());
        line("follow-up", &self.follow_up.nanos());
        line("retain-until", &self.retain_until.nanos());
        line("score", &self.score);
        line("suspect", &if self.suspect { "yes" } else { "no" });
        if let Some(name) = &self.assignee {
            line("assignee", name);
        }
        self.alerts.iter().for_each(|seq| line("alert", seq));
        self.typologies.iter().for_each(|rule| line("typology", &format!("{rule:?}")));
        self.pieces.iter().for_each(|piece| line("piece", &piece.line()));
        self.about.iter().for_each(|(about, value)| line(&format!("about {}", about.word()), value));
        if let Some(Filing { authority, reference, submitted }) = &self.filing {
            line("filed", &submitted.nanos());
            line("authority", authority);
            line("reference", reference);
        }
        if !self.reason.is_empty() {
            line("reason", &self.reason);
        }
        if !self.narrative.is_empty() {
            self.narrative.split('\n').for_each(|each| line("|", &each));
        }
        text.into_bytes()
    }

    /// An act from what was signed; `None` when it is none, or not in its one form.
    #[must_use]
    pub fn read(message: &str) -> Option<Self> {
        let mut lines = message.split('\n').peekable();
        if message.len() > MAX_TEXT || lines.next()? != "keel case 1" {
            return None;
        }
        let mut need = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let wall = |text: &str| text.parse().ok().map(Wall::from_nanos);
        let mut act = Self {
            case: need("case")?.parse().ok()?,
            before: hex(need("before")?)?,
            at: wall(need("at")?)?,
            actor: Name::new(need("actor")?.as_bytes())?,
            deed: one(&DEEDS, need("deed")?)?,
            from: one(&STATES, need("from")?)?,
            to: one(&STATES, need("to")?)?,
            deadline: wall(need("deadline")?)?,
            follow_up: wall(need("follow-up")?)?,
            retain_until: wall(need("retain-until")?)?,
            score: need("score")?.parse().ok()?,
            suspect: need("suspect")? == "yes",
            ..Self::default()
        };
        for line in lines {
            act.take(line)?;
        }
        (act.is_well_formed() && act.message() == message.as_bytes()).then_some(act)
    }

    /// A line that need not be there; order and spelling are judged by writing the act again.
    fn take(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once(' ')?;
        match name {
            "assignee" => self.assignee = Some(Name::new(value.as_bytes())?),
            "alert" => self.alerts.push(value.parse().ok()?),
            "typology" => self.typologies.push(rule(value)?),
            "piece" => self.pieces.push(Piece::read(value)?),
            "about" => {
                let (what, value) = value.split_once(' ')?;
                self.about.push((About::read(what)?, value.to_owned()));
            }
            "filed" => {
                let submitted = Wall::from_nanos(value.parse().ok()?);
                self.filing = Some(Filing { submitted, ..Filing::default() });
            }
            "authority" => value.clone_into(&mut self.filing.as_mut()?.authority),
            "reference" => value.clone_into(&mut self.filing.as_mut()?.reference),
            "reason" => value.clone_into(&mut self.reason),
            "|" => {
                if !self.narrative.is_empty() {
                    self.narrative.push('\n');
                }
                self.narrative.push_str(value);
            }
            _ => return None,
        }
        Some(())
    }

    /// The record of it; `words` is the digest of the signed text.
    #[must_use]
    pub fn record(&self, words: [u8; 32]) -> CaseAct {
        let mut alerts = [Seq::NONE; EVIDENCE];
        alerts.iter_mut().zip(&self.alerts).for_each(|(slot, seq)| *slot = Seq(*seq));
        let mut typologies = [Rule::None; TYPOLOGIES];
        typologies.iter_mut().zip(&self.typologies).for_each(|(slot, rule)| *slot = *rule);
        let list = self.pieces.iter().fold(String::new(), |all, piece| all + &piece.line() + "\n");
        let of = |text: &str| if text.is_empty() { [0; 32] } else { digest(text.as_bytes()) };
        CaseAct {
            at: self.at,
            case: self.case,
            deadline: self.deadline,
            follow_up: self.follow_up,
            retain_until: self.retain_until,
            before: self.before,
            words,
            narrative: of(&self.narrative),
            evidence: of(&list),
            alerts,
            typologies,
            actor: self.actor,
            deed: self.deed,
            from: self.from,
            to: self.to,
            score: self.score,
            suspect: Flag::from(self.suspect),
            pieces: u8::try_from(self.pieces.len()).unwrap_or(u8::MAX),
            pad: [0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act() -> Act {
        Act {
            case: 3,
            at: Wall::from_millis(5),
            actor: Name::new(b"ann").unwrap(),
            deed: Deed::File,
            from: CaseState::Approved,
            to: CaseState::Filed,
            score: 80,
            suspect: true,
            assignee: Name::new(b"ben"),
            alerts: vec![1, 2],
            typologies: vec![Rule::Spoofing, Rule::Wash],
            pieces: vec![
                Piece::Record { leaf: [7; 32], seq: 9, kind: "fill".to_owned() },
                Piece::File { sha256: [8; 32], bytes: 12, name: "a letter.pdf".to_owned() },
            ],
            about: vec![(About::Name, "Ann Example".to_owned()), (About::Ip, "192.0.2.1".to_owned())],
            filing: Some(Filing {
                authority: "FIU".to_owned(),
                reference: "R 1".to_owned(),
                submitted: Wall::from_millis(4),
            }),
            reason: "because".to_owned(),
            narrative: "first\n\nsigned eve 00\nlast".to_owned(),
            ..Act::default()
        }
    }

    #[test]
    fn an_act_comes_back_from_its_text_and_no_other_text_gives_it() {
        let act = act();
        let text = String::from_utf8(act.message()).unwrap();
        assert_eq!(Act::read(&text), Some(act));
        for at in 0..text.len() {
            if let Some(cut) = text.get(..at).and_then(Act::read) {
                assert_eq!(cut.message(), &text.as_bytes()[..at]);
            }
        }
        for (from, to) in [
            ("keel case 1", "keel case 2"),
            ("case 3", "case 03"),
            ("suspect yes", "suspect y"),
            ("reason because", "reason  because"),
            ("| first", "| first\r"),
            ("\nalert 1\nalert 2", "\nalert 2"),
            ("deed file", "deed files"),
            ("Spoofing", "None"),
            ("a letter.pdf", "../letter.pdf"),
            ("score 80", "score 101"),
        ] {
            let other = text.replacen(from, to, 1);
            assert!(Act::read(&other).is_none_or(|act| act.message() == other.as_bytes()), "{to}");
            assert_ne!(other, text);
        }
    }

    #[test]
    fn a_narrative_cannot_look_like_a_signature() {
        let text = act().message();
        let document = [&text[..], b"\n"].concat();
        let (body, signed) = crate::consent::unsigned(&document).unwrap();
        assert_eq!((body.as_bytes(), signed.len()), (&text[..], 0));
    }

    #[test]
    fn every_code_has_one_word_and_every_word_one_code() {
        for (at, (state, word)) in STATES.iter().enumerate() {
            assert_eq!((one(&STATES, word), usize::from(*state as u8)), (Some(*state), at));
        }
        for (at, (deed, word)) in DEEDS.iter().enumerate() {
            assert_eq!((one(&DEEDS, word), usize::from(*deed as u8)), (Some(*deed), at + 1));
        }
        for each in RULES {
            assert_eq!(rule(&format!("{each:?}")), Some(each));
        }
        for (about, word) in About::ALL {
            assert_eq!((about.word(), About::read(word)), (word, Some(about)));
        }
    }
}

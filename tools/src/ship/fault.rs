//! What can keep a record from a store, sorted by whose turn it is.
//!
//! In: the store's words. Out: a [`Fault`], the name of the alarm it raises, and what follows. Never: a fault that ends in
//! a record being dropped.

use core::fmt;
use std::error::Error;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not there, silent, shutting down, cut off: the same again later.
    Down(String),
    /// No room there: the same again later.
    Full(String),
    /// It refuses something in this batch: smaller batches, until the record is alone; then the quarantine.
    Rows(String),
    /// Somebody else moved the cursor, or our own last transaction did after all: read it again.
    Moved,
    /// Password, role, certificate: people must act.
    Denied(String),
    /// Not the tables we write: people must act.
    Schema(String),
    /// The store holds another journal than ours under this name: people must act.
    Identity(String),
}

impl Fault {
    /// No answer in time.
    #[must_use]
    pub fn silent(patience: Duration) -> Self {
        Self::Down(format!("no answer within {} s", patience.as_secs()))
    }

    /// The alarm it raises.
    #[must_use]
    pub const fn alarm(&self) -> Alarm {
        match self {
            Self::Down(_) | Self::Moved => Alarm::Unreachable,
            Self::Full(_) => Alarm::Full,
            Self::Rows(_) => Alarm::Refused,
            Self::Denied(_) => Alarm::Denied,
            Self::Schema(_) => Alarm::Schema,
            Self::Identity(_) => Alarm::Identity,
        }
    }

    /// Will the same never succeed until a person has done something?
    #[must_use]
    pub const fn needs_people(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Schema(_) | Self::Identity(_))
    }

    /// Does a row with this key stand there already?
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Rows(text) if text.starts_with(SqlState::UNIQUE_VIOLATION.code()))
    }

    /// Is the conversation over?
    #[must_use]
    pub const fn ends_session(&self) -> bool {
        !matches!(self, Self::Rows(_) | Self::Moved)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved => f.write_str("the cursor is not where we left it"),
            Self::Down(why) | Self::Full(why) | Self::Rows(why) => f.write_str(why),
            Self::Denied(why) | Self::Schema(why) | Self::Identity(why) => f.write_str(why),
        }
    }
}

impl Error for Fault {}

/// What a person is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The store does not answer.
    Unreachable,
    /// The store has no room.
    Full,
    /// The store refuses what we send.
    Refused,
    /// The store does not let us in.
    Denied,
    /// The store's tables are not ours.
    Schema,
    /// The store holds another journal.
    Identity,
    /// The oldest unshipped record is too old.
    Behind,
    /// The journal cannot be read, or no longer holds what the store lacks.
    Journal,
}

impl Alarm {
    /// Every alarm.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::Full,
        Self::Refused,
        Self::Denied,
        Self::Schema,
        Self::Identity,
        Self::Behind,
        Self::Journal,
    ];

    /// Its name in metrics and on the status line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Full => "full",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Schema => "schema",
            Self::Identity => "identity",
            Self::Behind => "behind",
            Self::Journal => "journal",
        }
    }
}

/// The server's own error when a name or a journal is taken; see `keel.enrol`.
const TAKEN: &str = "KEEL1";

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(told) = error.as_db_error() else {
            let mut text = error.to_string();
            let mut cause = error.source();
            let mut certificate = false;
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                certificate |= inner.is::<rustls::Error>() || inner_text.contains("certificate");
                if !text.contains(&inner_text) {
                    text = format!("{text}: {inner_text}");
                }
                cause = inner.source();
            }
            let tls = certificate || text.contains("TLS") || text.contains("password");
            return if tls { Self::Denied(text) } else { Self::Down(text) };
        };
        let code = told.code();
        let place = told.where_().map(|place| format!(" ({})", place.replace('\n', " "))).unwrap_or_default();
        let text = format!("{}: {}{place}", code.code(), told.message());
        let class = code.code().get(..2).unwrap_or("");
        match class {
            _ if code.code() == TAKEN => Self::Identity(told.message().to_owned()),
            _ if *code == SqlState::UNIQUE_VIOLATION => Self::Rows(text),
            "28" => Self::Denied(text),
            "3D" | "42" if *code == SqlState::INSUFFICIENT_PRIVILEGE => Self::Denied(text),
            "3D" | "3F" | "42" => Self::Schema(text),
            "53" if *code == SqlState::DISK_FULL || *code == SqlState::OUT_OF_MEMORY => Self::Full(text),
            "22" | "23" | "44" | "54" | "P0" => Self::Rows(text),
            _ => Self::Down(text),
        }
    }
}

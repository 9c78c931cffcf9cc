//! One conversation with Loki, and the journal into it: batch after batch.
//!
//! In: a journal, an address. Out: a line for every record that Postgres would have as a row, in its own time order; a
//! cursor in a file; a quarantine file for what Loki will not have. Never: a batch given up on. What Loki answers decides:
//!
//! ```text
//!   204            stored: the cursor moves
//!   429, 5xx, none the same again after a pause; a batch of several is halved first: one larger than the server's burst
//!                  would never pass
//!   400, 413, 422  part of it may be stored: halved until the line is alone, which goes to the quarantine with the reason
//!   401, 403, 404  people must act
//! ```
//!
//! Sending again is safe: a line of the same stream, nanosecond, text and metadata is the same line to Loki.

use super::batch::Mark;
use super::cursor::CursorFile;
use super::fault::{Alarm, Fault};
use super::push::{self, Line};
use super::source::{Agreement, Source};
use super::status;
use super::table::{hash_of, table_of};
use super::wait::Wait;
use crate::fact::{Symbols, Value, fields, hex};
use crate::node::rest::agent;
use anyhow::{Context, Result, bail};
use base64::Engine;
use keel_core::event::{Document, DocumentKind, Kind, read};
use keel_journal::Entry;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Lines in one request, at most.
pub const LINES: usize = 1_000;
/// Bytes of one request before compression, about.
pub const BYTES: usize = 1 << 20;
/// Longest answer read.
const MAX_ANSWER: u64 = 64 << 20;
/// While following: how often an idle journal is looked at.
const IDLE: Duration = Duration::from_millis(20);
/// While following: how long a record that is no line may keep the cursor's file from being written.
const SAVE: Duration = Duration::from_secs(5);
/// Streams: the hundreds of the kinds.
pub const STREAMS: [&str; 5] = ["market", "exec", "command", "decision", "system"];

/// Where Loki is, and who we are to it.
#[derive(Clone, Debug)]
pub struct Address {
    agent: ureq::Agent,
    /// Without a slash at the end.
    pub base: String,
    tenant: Option<String>,
    authorization: Option<String>,
}

/// What Loki said.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, lossy.
    pub body: String,
}

impl Address {
    /// `user` and `secret` are for basic authorisation; `authority` is the only one to trust.
    pub fn new(
        base: &str,
        tenant: Option<&str>,
        login: Option<(&str, &str)>,
        authority: Option<&Path>,
        patience: Duration,
    ) -> Result<Self> {
        let agent = agent(authority, patience)?;
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            bail!("--loki {base}: like https://loki.example:3100");
        }
        let host = base.strip_prefix("http://").map(|rest| rest.split([':', '/']).next().unwrap_or(""));
        let local =
            |host: &str| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if login.is_some() && host.is_some_and(|host| !local(host)) {
            bail!("--loki {base}: a password goes over https:// alone");
        }
        let authorization = login.map(|(user, secret)| {
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}")))
        });
        Ok(Self { agent, base, tenant: tenant.map(str::to_owned), authorization })
    }

    fn headers<B>(&self, mut request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        request
    }

    fn heard(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Fault> {
        let mut answer = sent.map_err(|why| fault_of(&why))?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|why| fault_of(&why))?;
        Ok(Answer { status: answer.status().as_u16(), body: String::from_utf8_lossy(&body).trim().to_owned() })
    }

    /// Sends one request of lines.
    pub fn push(&self, body: &[u8]) -> Result<(), Fault> {
        let request = self.headers(self.agent.post(format!("{}/loki/api/v1/push", self.base)));
        let answer = Self::heard(request.header("Content-Type", "application/x-protobuf").send(body))?;
        answer.judge()
    }

    /// Asks.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Fault> {
        let request = self.headers(self.agent.get(format!("{}{path}", self.base)));
        let answer = Self::heard(request.query_pairs(query.iter().copied()).call())?;
        if answer.status == 200 { Ok(answer) } else { answer.judge().map(|()| answer) }
    }

    /// Does this server keep names and values beside a line? Since 2.9 it may; before, it would refuse them.
    fn keeps_metadata(&self) -> Result<bool, Fault> {
        let answer =
            Self::heard(self.headers(self.agent.get(format!("{}/loki/api/v1/status/buildinfo", self.base))).call())?;
        if answer.status != 200 {
            answer.judge()?;
        }
        let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let mut numbers =
            told["version"].as_str().unwrap_or("").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        Ok((numbers.next(), numbers.next()) >= (Some(3), Some(0)))
    }
}

impl Answer {
    fn judge(&self) -> Result<(), Fault> {
        let text = format!("{}: {}", self.status, self.body.lines().next().unwrap_or(""));
        match self.status {
            200 | 204 => Ok(()),
            400 | 413 | 422 => Err(Fault::Rows(text)),
            429 | 507 => Err(Fault::Full(text)),
            401 | 403 | 404 | 405 | 415 => Err(Fault::Denied(text)),
            _ => Err(Fault::Down(text)),
        }
    }
}

fn fault_of(why: &ureq::Error) -> Fault {
    let text = why.to_string();
    let tls = matches!(why, ureq::Error::Tls(_) | ureq::Error::Rustls(_)) || text.contains("certificate");
    if tls { Fault::Denied(text) } else { Fault::Down(text) }
}

/// The labels of each stream. `backfill` names the day of lines that come late: Loki takes those in a stream of their own.
#[must_use]
pub fn streams(instance: &str, backfill: Option<&str>) -> Vec<String> {
    let late = backfill.map_or_else(String::new, |day| format!(", backfill=\"{day}\""));
    STREAMS.iter().map(|kind| format!("{{app=\"keel\"{late}, instance=\"{instance}\", kind=\"{kind}\"}}")).collect()
}

/// Fields of money and of the account that say who somebody is: Loki is read by many and forgets when it likes. Postgres has
/// them, for those with the role.
fn personal(kind: Option<Kind>, document: Option<DocumentKind>, field: &str) -> bool {
    match kind {
        Some(Kind::Flow) => ["id", "account", "party", "address", "tx", "bytes"].contains(&field),
        Some(Kind::Standing) => ["uid", "parent", "ips", "digest", "bytes"].contains(&field),
        Some(Kind::Document) => field == "bytes" && document.is_none_or(|kind| kind == DocumentKind::Kyc),
        _ => false,
    }
}

/// The line of a record; `None` for records that are not shipped as rows.
#[must_use]
pub fn line_of(entry: &Entry<'_>, symbols: &Symbols, metadata: bool) -> Option<Line> {
    table_of(entry.kind)?;
    let name = entry.kind.map_or_else(|| format!("?{}", entry.code), |kind| format!("{kind:?}"));
    let hash = hex(&hash_of(entry));
    let fields = fields(entry).unwrap_or_else(|| vec![("bytes", Value::Text(hex(entry.payload)))]);
    let mut text = json!({ "record": entry.seq.0, "is": name, "hash": hash, "mono_ns": entry.mono.nanos() });
    let object = text.as_object_mut()?;
    if entry.cause.0 > 0 {
        object.insert("by".to_owned(), json!(entry.cause.0));
    }
    let mut beside = vec![("hash", hash.clone()), ("is", name), ("seq", entry.seq.0.to_string())];
    let document = read::<Document>(entry.payload).filter(|_| entry.kind == Some(Kind::Document)).map(|part| part.kind);
    for (field, value) in &fields {
        if value.is_nothing() || personal(entry.kind, document, field) {
            continue;
        }
        object.insert((*field).to_owned(), value.json(symbols));
        if ["client", "instrument", "symbol"].contains(field) {
            beside.push((field, value.text(symbols)));
        }
    }
    let stream = usize::from(entry.code / 100).clamp(1, STREAMS.len()) - 1;
    let metadata = if metadata { beside } else { Vec::new() };
    Some(Line { seq: entry.seq.0, stream, wall: entry.wall.nanos(), text: text.to_string(), metadata })
}

/// The agent of one Loki.
#[derive(Debug)]
pub struct Pusher {
    /// Directory of the journal.
    pub dir: PathBuf,
    /// Where cursor and quarantine are kept.
    pub state: PathBuf,
    /// The server.
    pub address: Address,
    /// Name of the instance.
    pub instance: String,
    /// Id of its journal, in hex.
    pub journal: String,
    /// Where progress is reported.
    pub line: Arc<status::Line>,
    /// How to wait, and when to stop.
    pub wait: Wait,
    /// End when everything there is is shipped.
    pub once: bool,
}

/// A batch of lines, and where the cursor stands after it.
struct Batch {
    lines: Vec<Line>,
    bytes: usize,
    records: u64,
    last: Option<Mark>,
    symbols: Symbols,
}

impl Pusher {
    /// The cursor's file.
    pub fn cursor(&self) -> Result<CursorFile> {
        CursorFile::open(&self.state, "loki", &self.address.base, &self.journal)
    }

    /// Ships until everything is there (`once`) or until it is stopped.
    #[allow(clippy::disallowed_methods, reason = "a store's thread may watch the clock; no agent lives on it")]
    pub fn run(&self) -> Result<()> {
        let mut cursor = self.cursor()?;
        let mut most = LINES;
        let mut failing: Option<Instant> = None;
        let mut turn = 0;
        loop {
            let before = self.line.get().batches;
            let fault = match self.converse(&mut cursor, &mut most) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if self.line.get().batches > before {
                (failing, turn) = (None, 0);
            }
            let fault = match fault.downcast::<Fault>() {
                Ok(fault) => fault,
                Err(why) if why.is::<keel_journal::Damage>() => {
                    self.line.raise(Alarm::Journal, &why.to_string());
                    Fault::Down(why.to_string())
                }
                Err(other) => return Err(other),
            };
            self.line.with(|progress| progress.retries += 1);
            self.line.raise(fault.alarm(), &fault.to_string());
            let since = *failing.get_or_insert_with(Instant::now);
            if self.once && (fault.needs_people() || self.wait.is_enough(since)) {
                bail!("loki: {}: {fault}", self.address.base);
            }
            turn += 1;
            if self.wait.pause(turn) {
                return Ok(());
            }
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a store's thread may watch the clock; no agent lives on it")]
    fn converse(&self, cursor: &mut CursorFile, most: &mut usize) -> Result<()> {
        if cursor.saved.seq == 0 {
            cursor.saved.metadata = self.address.keeps_metadata()?;
        }
        self.agree(cursor)?;
        let mark = cursor.mark();
        let mut source = Source::after(&self.dir, mark.seq)?;
        self.line.with(|progress| progress.cursor = Some(mark));
        self.line.clear(&[Alarm::Journal]);
        let mut symbols = Symbols::from_names(cursor.saved.symbols.clone());
        let mut saved = Instant::now();
        loop {
            let batch = self.gather(&mut source, &symbols, cursor.saved.metadata)?;
            symbols = batch.symbols.clone();
            let Some(last) = batch.last else {
                self.line.with(|progress| progress.oldest = 0);
                self.line.clear(&[Alarm::Unreachable, Alarm::Full, Alarm::Denied]);
                if self.once || self.wait.is_stopping() {
                    return cursor.save();
                }
                std::thread::sleep(IDLE);
                continue;
            };
            let oldest = batch.lines.first().map_or(last.wall, |line| line.wall);
            self.line.with(|progress| progress.oldest = oldest);
            let (sent, quarantined) = self.send(&batch.lines, most)?;
            cursor.saved.seq = last.seq;
            cursor.saved.hash = hex(&last.hash);
            cursor.saved.wall_ns = last.wall;
            cursor.saved.lines += sent;
            cursor.saved.quarantined += quarantined;
            cursor.saved.symbols = symbols.names().to_vec();
            if !batch.lines.is_empty() || saved.elapsed() >= SAVE {
                cursor.save()?;
                saved = Instant::now();
            }
            self.line.with(|progress| {
                progress.cursor = Some(last);
                progress.records += batch.records;
                progress.rows += sent;
                progress.quarantined += quarantined;
                progress.batches += 1;
            });
            self.line.clear(&[Alarm::Unreachable, Alarm::Full, Alarm::Denied, Alarm::Refused]);
            if self.wait.is_stopping() {
                return cursor.save();
            }
        }
    }

    fn agree(&self, cursor: &CursorFile) -> Result<()> {
        let (mark, file) = (cursor.mark(), cursor.path().display());
        let other = |why: &str| Fault::Identity(format!("record {} of {file} {why}", mark.seq));
        match Source::agreement(&self.dir, &mark)? {
            Agreement::Same => Ok(()),
            Agreement::Other => Err(other("is another one than in this journal").into()),
            Agreement::Ahead => Err(other("is past the end of this journal").into()),
            Agreement::Gone(oldest) => Err(Fault::Identity(format!(
                "records {} to {} are gone from the journal unshipped",
                mark.seq + 1,
                oldest - 1
            ))
            .into()),
        }
    }

    /// Records up to a batch full of lines, or the end of the journal.
    fn gather(&self, source: &mut Source, symbols: &Symbols, metadata: bool) -> Result<Batch> {
        let mut batch = Batch { lines: Vec::new(), bytes: 0, records: 0, last: None, symbols: symbols.clone() };
        while batch.lines.len() < LINES && batch.bytes < BYTES && batch.records < 250_000 {
            let Some(entry) = source.poll()? else { break };
            batch.symbols.learn(&entry);
            batch.records += 1;
            batch.last = Some(Mark { seq: entry.seq.0, hash: hash_of(&entry), wall: entry.wall.nanos() });
            if let Some(line) = line_of(&entry, &batch.symbols, metadata) {
                batch.bytes += line.text.len() + 128;
                batch.lines.push(line);
            }
        }
        Ok(batch)
    }

    /// Sends lines, as many at once as the server takes; gives how many it has and how many went to the quarantine.
    fn send(&self, lines: &[Line], most: &mut usize) -> Result<(u64, u64)> {
        let streams = streams(&self.instance, None);
        let (mut at, mut quarantined) = (0, 0);
        while at < lines.len() {
            let part = &lines[at..(at + *most).min(lines.len())];
            match self.address.push(&push::compress(&push::encode(&streams, part))) {
                Ok(()) => {
                    at += part.len();
                    *most = (*most + 1 + *most / 16).min(LINES);
                }
                Err(fault @ Fault::Rows(_)) if part.len() == 1 => {
                    self.line.raise(Alarm::Refused, &fault.to_string());
                    self.quarantine(&part[0], &fault)?;
                    (at, quarantined) = (at + 1, quarantined + 1);
                    *most = 1;
                }
                Err(Fault::Rows(_)) => *most = (part.len() / 2).max(1),
                // larger than what the server takes at once: it would never pass as it is
                Err(fault @ Fault::Full(_)) if part.len() > 1 => {
                    *most = part.len() / 2;
                    self.line.with(|progress| progress.retries += 1);
                    if self.wait.pause(1) {
                        return Err(fault.into());
                    }
                }
                Err(fault) => {
                    *most = (part.len() / 2).max(1);
                    return Err(fault.into());
                }
            }
        }
        Ok((lines.len() as u64 - quarantined, quarantined))
    }

    /// The file of what Loki would not have.
    #[must_use]
    pub fn quarantine_path(&self) -> PathBuf {
        self.state.join("loki-quarantine.jsonl")
    }

    fn quarantine(&self, line: &Line, fault: &Fault) -> Result<()> {
        tracing::warn!("record {} goes to the quarantine: {fault}", line.seq);
        let told = json!({ "seq": line.seq, "wall_ns": line.wall, "reason": fault.to_string(), "line": line.text });
        let path = self.quarantine_path();
        let work = || -> std::io::Result<()> {
            let mut file = std::fs::File::options().create(true).append(true).open(&path)?;
            writeln!(file, "{told}")?;
            file.sync_all()
        };
        work().with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_core::event::{Flow, Record, Standing};
    use keel_core::ids::{Seq, Text};
    use keel_core::permit::Log;
    use keel_core::units::{Now, Qty};
    use keel_journal::Writer;

    fn line<R: Record>(fact: &R) -> String {
        let mut writer = Writer::in_memory(1 << 16).unwrap();
        writer.fact(Now::default(), Seq::NONE, fact).unwrap();
        let line = line_of(&writer.records().next().unwrap(), &Symbols::default(), true).unwrap();
        format!("{} {:?}", line.text, line.metadata)
    }

    fn word<const N: usize>(word: &str) -> Text<N> {
        Text::new(word.as_bytes()).unwrap()
    }

    #[test]
    fn lines_do_not_say_who_somebody_is() {
        let flow = Flow {
            id: word("900_1"),
            account: word("u-90001"),
            party: word("p-90002"),
            address: word("0xfeed:7"),
            tx: word("0xd1d1"),
            coin: word("USDT"),
            chain: word("ETH"),
            amount: Qty::whole(1_234),
            ..Flow::default()
        };
        let standing = Standing {
            uid: word("u-90001"),
            parent: word("p-90002"),
            ips: word("203.0.113.9"),
            kyc_level: word("LEVEL_1"),
            kyc_region: word("MYS"),
            ..Standing::default()
        };
        let kyc = Document::cut(Default::default(), word("node"), DocumentKind::Kyc, b"uid = u-90001\n");
        let limits = Document::cut(Default::default(), word("node"), DocumentKind::Limits, b"max_net = 1\n");
        let all = [line(&flow), line(&standing), line(&kyc.unwrap().next().unwrap())].concat();
        for private in ["900_1", "90001", "90002", "feed", "d1d1", "203.0.113"] {
            assert!(!all.contains(private), "{private} in {all}");
        }
        for told in ["1234", "USDT", "ETH", "LEVEL_1", "MYS", "Kyc"] {
            assert!(all.contains(told), "{told} is not in {all}");
        }
        assert!(line(&limits.unwrap().next().unwrap()).contains("max_net"), "other documents are told");
    }
}

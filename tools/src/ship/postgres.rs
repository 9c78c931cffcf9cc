//! One conversation with Postgres.
//!
//! In: an address, batches. Out: rows and the cursor, moved together in one transaction, or a [`Fault`] that says whose
//! turn it is. Never: a wait without an end (the server may be stopped, not only gone), a password in a message, a
//! conversation without TLS to another machine.
//!
//! ```text
//!   BEGIN
//!   UPDATE keel.cursor SET seq = last ... WHERE instance = i AND seq = after     nobody else moved it: 1 row
//!   COPY keel.fill FROM STDIN (FORMAT binary) ...                                one per table that has rows
//!   COMMIT                                                                       unknown outcome: ask the cursor
//! ```

use super::batch::{Batch, Mark};
use super::fault::Fault;
use super::table::{SCHEMA, tables};
use anyhow::{Context, Result, bail};
use futures_util::SinkExt;
use std::collections::BTreeSet;
use std::io::Cursor;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Bytes handed to the socket at once.
const CHUNK: usize = 256 * 1024;

/// Where the database is and how long to wait for it.
#[derive(Clone)]
pub struct Address {
    config: Config,
    tls: MakeRustlsConnect,
    patience: Duration,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name())
    }
}

impl Address {
    /// Reads a connection string. `secret` is the password; `authority` the only one to trust, the web's roots without.
    pub fn new(url: &str, secret: Option<&str>, authority: Option<&Path>, patience: Duration) -> Result<Self> {
        let mut config: Config = url
            .parse()
            .map_err(|why| anyhow::anyhow!("--postgres: {why}; like postgres://keel_ship@db.example/keel"))?;
        if let Some(secret) = secret {
            config.password(secret);
        }
        if config.get_hosts().is_empty() {
            bail!("--postgres: it names no host; like postgres://keel_ship@db.example/keel");
        }
        let local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        };
        if !config.get_hosts().iter().all(local) || !config.get_hostaddrs().iter().all(IpAddr::is_loopback) {
            config.ssl_mode(SslMode::Require);
        }
        config.application_name("keel ship").connect_timeout(patience.min(Duration::from_secs(10)));
        config.keepalives_idle(Duration::from_secs(15)).tcp_user_timeout(patience);
        let mut tls = (*crate::node::wire::tls(authority)?).clone();
        tls.alpn_protocols.clear();
        Ok(Self { config, tls: MakeRustlsConnect::new(tls), patience })
    }

    /// Hosts and database, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let hosts = self.config.get_hosts().iter().zip(self.config.get_ports().iter().cycle().chain(&[5432]));
        let hosts: Vec<_> = hosts
            .map(|(host, port)| match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or("?"))
    }
}

/// A conversation.
pub struct Session {
    client: Client,
    copies: Vec<Option<Statement>>,
    partitions: BTreeSet<(usize, i64)>,
    patience: Duration,
    /// Our number in the table `keel.instance`.
    pub instance: i32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// Who ships: a name, and the journal it stands for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The instance's name.
    pub name: String,
    /// Id of its journal, in hex.
    pub journal: String,
}

impl Session {
    /// Connects, compares the schema, takes up the instance.
    pub async fn open(address: &Address, identity: &Identity) -> Result<Self, Fault> {
        let open = async {
            let (client, patience) = (connect(address).await?, address.patience);
            let mut session =
                Self { client, copies: vec![None; tables().len()], partitions: BTreeSet::new(), patience, instance: 0 };
            session.compare_schema().await?;
            let row =
                session.client.query_one("SELECT keel.enrol($1, $2)", &[&identity.name, &identity.journal]).await?;
            session.instance = row.get(0);
            Ok(session)
        };
        timeout(address.patience, open).await.unwrap_or_else(|_| Err(Fault::silent(address.patience)))
    }

    /// Does the database hold the tables this program writes?
    async fn compare_schema(&self) -> Result<(), Fault> {
        let known =
            self.client.query_one("SELECT to_regclass('keel.migration') IS NOT NULL", &[]).await?.get::<_, bool>(0);
        if !known {
            return Err(Fault::Schema("there is no schema keel: run deploy/postgres/apply".to_owned()));
        }
        let version: Option<i32> = self.client.query_one("SELECT max(version) FROM keel.migration", &[]).await?.get(0);
        let version = version.unwrap_or(0);
        if version != SCHEMA {
            let next = if version < SCHEMA { "run deploy/postgres/apply" } else { "this keel is older: update it" };
            return Err(Fault::Schema(format!("the schema is version {version}, this keel writes {SCHEMA}: {next}")));
        }
        let rows = self
            .client
            .query(
                "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)::text
                 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'keel' AND c.relkind = 'p' AND a.attnum > 0 AND NOT a.attisdropped
                 ORDER BY 1, a.attnum",
                &[],
            )
            .await?;
        for table in tables() {
            let have: Vec<(String, String)> = rows
                .iter()
                .filter(|row| row.get::<_, String>(0) == table.name)
                .map(|row| (row.get(1), row.get(2)))
                .collect();
            let want = table.columns.iter().map(|column| (column.name.as_str(), column.kind.sql()));
            if !have.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).eq(want) {
                let name = table.name;
                return Err(Fault::Schema(format!("the columns of keel.{name} are not those this keel writes")));
            }
        }
        Ok(())
    }

    /// Where the cursor stands.
    pub async fn cursor(&self) -> Result<Mark, Fault> {
        let text = "SELECT seq, hash, wall_ns FROM keel.cursor WHERE instance = $1";
        let query = async { self.client.query_one(text, &[&self.instance]).await };
        let row = timeout(self.patience, query).await.map_err(|_| Fault::silent(self.patience))??;
        let hash: Vec<u8> = row.get(1);
        Ok(Mark {
            seq: row.get::<_, i64>(0).cast_unsigned(),
            hash: hash.try_into().unwrap_or_default(),
            wall: row.get::<_, i64>(2).cast_unsigned(),
        })
    }

    /// Sends a batch: all of it stands there afterwards, or nothing.
    pub async fn send(&mut self, batch: Batch) -> Result<(), Fault> {
        let patience = self.patience;
        timeout(patience, self.transaction(batch)).await.unwrap_or_else(|_| Err(Fault::silent(patience)))
    }

    async fn transaction(&mut self, batch: Batch) -> Result<(), Fault> {
        self.make_partitions(&batch.days).await?;
        self.client.batch_execute("BEGIN").await?;
        let sent = self.rows(batch).await;
        match sent {
            Ok(()) => Ok(self.client.batch_execute("COMMIT").await?),
            Err(fault) => {
                // a conversation that can go on is left clean; one that cannot is given up by the caller
                if !fault.ends_session() {
                    self.client.batch_execute("ROLLBACK").await?;
                }
                Err(fault)
            }
        }
    }

    async fn rows(&mut self, batch: Batch) -> Result<(), Fault> {
        let number = u64::cast_signed;
        let (last, after) = (batch.last, batch.after);
        let moved = self
            .client
            .execute(
                "UPDATE keel.cursor SET seq = $2, hash = $3, wall_ns = $4, records = records + $5, rows = rows + $6,
                 moved = now() WHERE instance = $1 AND seq = $7",
                &[
                    &batch.instance,
                    &number(last.seq),
                    &last.hash.as_slice(),
                    &number(last.wall),
                    &number(batch.records),
                    &number(batch.rows),
                    &number(after),
                ],
            )
            .await?;
        if moved != 1 {
            return Err(Fault::Moved);
        }
        self.copy(batch).await
    }

    /// Does this very record stand in its table?
    pub async fn holds(&self, table: usize, mark: Mark) -> Result<bool, Fault> {
        let text = format!("SELECT hash FROM keel.{} WHERE instance = $1 AND seq = $2", tables()[table].name);
        let rows = self.query(&text, &[&self.instance, &mark.seq.cast_signed()]).await?;
        Ok(rows.iter().any(|row| row.get::<_, Vec<u8>>(0) == mark.hash))
    }

    /// Puts back rows that are missing; the cursor stays.
    pub async fn repair(&mut self, batch: Batch) -> Result<(), Fault> {
        let patience = self.patience;
        let work = async {
            self.make_partitions(&batch.days).await?;
            self.client.batch_execute("BEGIN").await?;
            self.copy(batch).await?;
            Ok(self.client.batch_execute("COMMIT").await?)
        };
        timeout(patience, work).await.unwrap_or_else(|_| Err(Fault::silent(patience)))
    }

    async fn copy(&mut self, batch: Batch) -> Result<(), Fault> {
        for (table, bytes) in batch.into_copies() {
            let statement = match &self.copies[table] {
                Some(statement) => statement.clone(),
                None => {
                    let text = format!("COPY keel.{} FROM STDIN (FORMAT binary)", tables()[table].name);
                    let statement = self.client.prepare(&text).await?;
                    self.copies[table] = Some(statement.clone());
                    statement
                }
            };
            let sink = self.client.copy_in::<_, Cursor<Vec<u8>>>(&statement).await?;
            let mut sink = std::pin::pin!(sink);
            for chunk in bytes.chunks(CHUNK) {
                sink.send(Cursor::new(chunk.to_vec())).await?;
            }
            sink.finish().await?;
        }
        Ok(())
    }

    /// Each in its own transaction: making one locks its table for a moment, and two at once could wait for each other.
    async fn make_partitions(&mut self, days: &BTreeSet<(usize, i64)>) -> Result<(), Fault> {
        for &(table, day) in days.difference(&self.partitions.clone()) {
            let date = i32::try_from(day).unwrap_or(i32::MAX);
            self.client
                .execute(
                    "SELECT keel.partition($1, $2, DATE '1970-01-01' + $3::integer)",
                    &[&tables()[table].name, &self.instance, &date],
                )
                .await?;
            self.partitions.insert((table, day));
        }
        Ok(())
    }

    /// Rows of a query, for the check.
    pub async fn query(
        &self,
        text: &str,
        values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Fault> {
        Ok(self.client.query(text, values).await?)
    }
}

/// A connection on which no wait is without an end.
async fn connect(address: &Address) -> Result<Client, Fault> {
    let (client, wire) = address.config.connect(address.tls.clone()).await?;
    tokio::spawn(async move {
        // what ends the wire is told to whoever waits for an answer
        let _ = wire.await;
    });
    let limit = address.patience.as_millis();
    client
        .batch_execute(&format!(
            "SET statement_timeout = {limit}; SET lock_timeout = {limit};
             SET idle_in_transaction_session_timeout = {limit}; SET client_min_messages = warning"
        ))
        .await?;
    Ok(client)
}

/// Keeps a signed checkpoint; one that stands there already is kept once.
pub async fn keep(address: &Address, origin: &str, size: i64, note: &str) -> Result<(), Fault> {
    let text = "INSERT INTO keel.checkpoint (origin, size, note) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let work = async {
        connect(address).await?.execute(text, &[&origin, &size, &note]).await?;
        Ok(())
    };
    timeout(address.patience, work).await.unwrap_or_else(|_| Err(Fault::silent(address.patience)))
}

/// Every checkpoint kept of an origin, smallest first.
pub async fn kept(address: &Address, origin: &str) -> Result<Vec<String>, Fault> {
    let text = "SELECT note FROM keel.checkpoint WHERE origin = $1 ORDER BY size, id";
    let work = async {
        let rows = connect(address).await?.query(text, &[&origin]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    timeout(address.patience, work).await.unwrap_or_else(|_| Err(Fault::silent(address.patience)))
}

/// A password from its file, without the newline at its end.
pub fn secret(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The clock of every wait, and the one thread that sends.
pub fn runtime() -> Result<Arc<tokio::runtime::Runtime>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("ship-wire")
        .enable_all()
        .build()
        .context("starting the sender")?;
    Ok(Arc::new(runtime))
}

//! `keel ship`: the journal's records in Postgres and Loki, each exactly once.
//!
//! In: a journal's directory, addresses. Out: rows, lines, a status. Never: anything the core waits for. The shipper is a
//! process of its own that reads segments like any other reader; the journal is the queue, and a store that is down for a
//! day costs nothing but the wait.
//!
//! The compliance journal is refused. A database has owners and backups its members do not choose, and what must be readable
//! by a handful of people for seven years, and by nobody who may warn its subject, gains nothing from a second place: cases
//! are few, `keel cases` reads them whole, and `keel checkpoint` and an encrypted copy of the directory keep them.
//!
//! | file | what |
//! |---|---|
//! | `source` | the journal up to its newest watermark |
//! | [`table`] | which record goes to which table, and its columns |
//! | [`wire`] | a row in Postgres's binary format |
//! | [`batch`] | a stretch of the journal as one COPY per table, and a hash over all of it |
//! | [`postgres`] | one conversation: schema, instance, cursor, transaction |
//! | [`copy`] | batch after batch, whatever happens to the store |
//! | [`loki`], [`push`], [`cursor`] | the same for Loki: lines, its wire format, a cursor in a file |
//! | [`check`], [`lines`] | is everything there, and is it what the journal says? |
//! | [`status`] | lag, alarms, metrics |

pub mod batch;
pub mod check;
pub mod copy;
pub mod cursor;
pub mod fault;
mod http;
pub mod lines;
pub mod loki;
pub mod postgres;
pub mod push;
mod source;
pub mod status;
pub mod table;
pub mod wait;
pub mod wire;

use crate::compliance::guard::is_confidential;
use anyhow::{Context, Result, bail, ensure};
use batch::Limits;
use copy::Copier;
use postgres::{Address, Identity};
use status::{Line, Status};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wait::Wait;

/// What to ship, where to, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of the journal
    #[arg(required_unless_present = "schema")]
    pub dir: Option<PathBuf>,
    /// The database: postgres://keel_ship@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub postgres: Option<String>,
    /// File with the password; only this user should be able to read it
    #[arg(long, value_name = "FILE", requires = "postgres")]
    pub postgres_secret: Option<PathBuf>,
    /// PEM file of the only authority to trust for the database; the web's roots without it
    #[arg(long, value_name = "FILE", requires = "postgres")]
    pub postgres_ca: Option<PathBuf>,
    /// The log store: https://HOST:3100
    #[arg(long, value_name = "URL")]
    pub loki: Option<String>,
    /// Tenant, where Loki has several
    #[arg(long, value_name = "NAME", requires = "loki")]
    pub loki_tenant: Option<String>,
    /// User for basic authorisation
    #[arg(long, value_name = "NAME", requires = "loki_secret")]
    pub loki_user: Option<String>,
    /// File with the user's password; only this user should be able to read it
    #[arg(long, value_name = "FILE", requires = "loki_user")]
    pub loki_secret: Option<PathBuf>,
    /// PEM file of the only authority to trust for Loki; the web's roots without it
    #[arg(long, value_name = "FILE", requires = "loki")]
    pub loki_ca: Option<PathBuf>,
    /// Where Loki's cursor and quarantine are kept; DIR/ship without it
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Name this journal is known by in the stores; its own id without one
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Ship what is there, and end
    #[arg(long)]
    pub once: bool,
    /// Compare what the stores hold with the journal, put back what is missing, and end
    #[arg(long, conflicts_with = "once")]
    pub check: bool,
    /// Serve /metrics and /healthz here
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Write the status as JSON lines
    #[arg(long)]
    pub json: bool,
    /// Rows in one transaction, at most
    #[arg(long, value_name = "N", default_value_t = Limits::default().rows, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub batch: u64,
    /// Seconds a store may be silent before the conversation is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Seconds between two attempts, at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub longest_pause: u64,
    /// With --once: seconds without any progress after which it ends with an error
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub give_up: u64,
    /// Seconds the oldest unshipped record may be old before an alarm is raised
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub behind: u64,
    /// Print the statements that make the tables, and end
    #[arg(long, hide = true)]
    pub schema: bool,
}

/// How often the status is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Longest name of an instance.
const NAME: usize = 63;

/// Ships, or checks.
pub fn run(args: &Args) -> Result<()> {
    if args.schema {
        print!("{}", table::ddl());
        return Ok(());
    }
    let dir = args.dir.clone().context("which journal?")?;
    let journal = source::journal_id(&dir)
        .with_context(|| dir.display().to_string())?
        .with_context(|| format!("{} holds no journal", dir.display()))?;
    ensure!(
        !is_confidential(&dir).with_context(|| dir.display().to_string())?,
        "{} is the compliance journal: it is never shipped, neither to Loki nor to the tables everyone reads",
        dir.display()
    );
    let name = args.instance.clone().unwrap_or_else(|| journal.clone());
    ensure!(
        (1..=NAME).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
        "--instance {name}: up to {NAME} letters, digits, - _ and ."
    );
    let identity = Identity { name, journal };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("watching for signals")?;
    }
    let wait = Wait {
        stop: Arc::clone(&stop),
        longest: Duration::from_secs(args.longest_pause),
        give_up: Duration::from_secs(args.give_up),
    };
    let mut jobs: Vec<Job> = Vec::new();
    if let Some(url) = &args.postgres {
        jobs.push(database(args, url, &dir, &identity, &wait)?);
    }
    if let Some(url) = &args.loki {
        jobs.push(log_store(args, url, &dir, &identity, &wait)?);
    }
    if jobs.is_empty() {
        bail!("nowhere to ship to: give --postgres URL, --loki URL, or both");
    }
    perform(args, &dir, jobs, &stop)
}

/// A store's thread, and the line it reports on.
struct Job {
    line: Arc<Line>,
    work: Box<dyn FnOnce() -> Result<()> + Send>,
}

fn database(args: &Args, url: &str, dir: &std::path::Path, identity: &Identity, wait: &Wait) -> Result<Job> {
    let secret = args.postgres_secret.as_deref().map(postgres::secret).transpose()?;
    let patience = Duration::from_secs(args.patience);
    let address = Address::new(url, secret.as_deref(), args.postgres_ca.as_deref(), patience)?;
    let line = Line::new("postgres");
    let limits = Limits { rows: args.batch, ..Limits::default() };
    let (dir, identity, wait) = (dir.to_path_buf(), identity.clone(), wait.clone());
    let copier = Copier { dir, address, identity, line: Arc::clone(&line), wait, once: args.once, limits };
    let json = args.json;
    let work: Box<dyn FnOnce() -> Result<()> + Send> = match args.check {
        true => Box::new(move || check::run(&copier, json)),
        false => Box::new(move || copier.run()),
    };
    Ok(Job { line, work })
}

fn log_store(args: &Args, url: &str, dir: &std::path::Path, identity: &Identity, wait: &Wait) -> Result<Job> {
    let secret = args.loki_secret.as_deref().map(postgres::secret).transpose()?;
    let login = args.loki_user.as_deref().zip(secret.as_deref());
    let patience = Duration::from_secs(args.patience);
    let address = loki::Address::new(url, args.loki_tenant.as_deref(), login, args.loki_ca.as_deref(), patience)?;
    let line = Line::new("loki");
    let pusher = loki::Pusher {
        dir: dir.to_path_buf(),
        state: args.state.clone().unwrap_or_else(|| dir.join("ship")),
        address,
        instance: identity.name.clone(),
        journal: identity.journal.clone(),
        line: Arc::clone(&line),
        wait: wait.clone(),
        once: args.once,
    };
    let json = args.json;
    let work: Box<dyn FnOnce() -> Result<()> + Send> = match args.check {
        true => Box::new(move || lines::run(&pusher, json)),
        false => Box::new(move || pusher.run()),
    };
    Ok(Job { line, work })
}

/// Runs every store on a thread of its own until all have ended; tells how far they are meanwhile.
#[allow(clippy::disallowed_methods, reason = "the shipper's main thread only waits and tells")]
fn perform(args: &Args, dir: &std::path::Path, jobs: Vec<Job>, stop: &Arc<AtomicBool>) -> Result<()> {
    let status = Arc::new(Status::new(dir, args.behind, jobs.iter().map(|job| Arc::clone(&job.line)).collect()));
    let page = args.http.map(|listen| http::serve(listen, Arc::clone(&status))).transpose()?;
    if let Some(address) = page {
        tracing::info!("/metrics and /healthz on http://{address}");
    }
    let start = |job: Job| {
        let name = format!("ship-{}", job.line.store);
        std::thread::Builder::new().name(name).spawn(job.work).context("starting a store's thread")
    };
    let threads: Vec<_> = jobs.into_iter().map(start).collect::<Result<_>>()?;
    let mut looked = Instant::now();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(20));
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            status.watch();
            if args.json && !args.check {
                tell(&status)?;
            }
        }
    }
    let ended = threads.into_iter().map(|thread| {
        thread.join().unwrap_or_else(|_| bail!("a store's thread ended with a bug; what it confirmed stands"))
    });
    let errors: Vec<_> = ended.filter_map(Result::err).collect();
    stop.store(true, Ordering::Relaxed);
    if !args.check {
        if args.json { tell(&status)? } else { summarise(&status) }
    }
    match errors.into_iter().reduce(|one, other| anyhow::anyhow!("{one:#}; {other:#}")) {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

fn tell(status: &Status) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", status.json())?;
    Ok(out.flush()?)
}

fn summarise(status: &Status) {
    for line in &status.lines {
        let now = line.get();
        let cursor = now.cursor.map_or_else(|| "nowhere yet".to_owned(), |mark| format!("at record {}", mark.seq));
        println!(
            "{}: {cursor}; {} records, {} rows, {} quarantined",
            line.store, now.records, now.rows, now.quarantined
        );
    }
}

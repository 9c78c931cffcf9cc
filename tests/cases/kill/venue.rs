//! The exchange as its own witness: in a thread of the test, which is never killed, behind its sockets; a private stream
//! beside the node's, and its answers. Its limits per address are those of many addresses: a node that is killed twice a
//! second connects more often than one address may.

use keel_core::event::{ExecEvent, Fill, OrderUpdate, Side};
use keel_core::ids::{InstrumentId, Symbol, VenueId};
use keel_core::instrument::Instruments;
use keel_core::units::{Notional, Qty, Wall};
use keel_gateway::decode::{Decoder, Source};
use keel_gateway::rest::{Answer, Call, Method, Request, RestError, parse};
use keel_gateway::session::{Input, Output, PrivateSession};
use keel_gateway::sign::Signer;
use keel_gateway::sim::Config;
use keel_risk::throwaway::Throwaway;
use keel_tools::brake::ask;
use keel_tools::exchange;
use keel_tools::node::clock::{Clock, Stopwatch, system_wall};
use keel_tools::node::door::Ask;
use keel_tools::node::inquiry::Inquiry;
use keel_tools::node::rest::Client;
use keel_tools::node::run::Pace;
use keel_tools::node::wire::{Endpoint, Turn, Wire, tls};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// `keel exchange` with a generated market.
pub struct Venue {
    running: exchange::Running,
    pub port: u16,
    pub client: Client,
    pub instruments: Instruments,
    authority: PathBuf,
}

fn signer() -> Signer {
    Signer::new("demo-key", b"demo-secret")
}

/// Two people who do not exist release the brake of the node whose journal is in `dir`.
pub fn release(dir: &Path) {
    let since = Instant::now();
    while let Err(why) = released(dir) {
        assert!(since.elapsed() < Duration::from_secs(20), "the brake was not released: {why:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn released(dir: &Path) -> anyhow::Result<()> {
    let patience = Duration::from_secs(5);
    let status = ask(dir, &Ask::Status, patience)?;
    let number = |name: &str| status[name].as_u64().unwrap_or(0);
    let limits = u32::try_from(number("limits"))?;
    let text = Throwaway::new(1).arm(number("version"), limits, system_wall(), "a test with throw-away keys");
    let what = Ask::Bring { what: "arm".to_owned(), by: "test".to_owned(), text: String::from_utf8(text)? };
    ask(dir, &what, patience).map(|_| ())
}

impl Venue {
    pub fn start(dir: &Path, symbols: &[&str], seed: u64) -> Self {
        let tls = dir.join("tls");
        let names: Vec<String> = symbols.iter().map(|name| (*name).to_owned()).collect();
        let limits = exchange::venue(&names, &[]).unwrap();
        let options = exchange::Options {
            tls: Some(tls.clone()),
            venue: Config { connect_limit: u32::MAX, ip_limit: u32::MAX, ..limits },
            seed,
            ..exchange::Options::default()
        };
        let running = exchange::spawn(options, exchange::Market::default(), exchange::Pace::Real).unwrap();
        let port = running.address.port();
        let authority = tls.join("ca.pem");
        let client = Client::new(&format!("https://localhost:{port}"), Some(&authority)).unwrap();
        let symbols: Vec<Symbol> = symbols.iter().map(|name| Symbol::new(name.as_bytes()).unwrap()).collect();
        let inquiry = Inquiry { client: &client, signer: &signer(), pace: &Pace::Real };
        let instruments = inquiry.instruments(&symbols).unwrap();
        Self { running, port, client, instruments, authority }
    }

    /// A configuration for a node here, its keys beside it.
    pub fn config(&self, dir: &Path, more: &str) -> PathBuf {
        let [demo_key, secret] = [("key", "demo-key"), ("secret", "demo-secret")].map(|(name, text)| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            path.display().to_string()
        });
        let names: Vec<&str> = self.instruments.rows().iter().map(|row| row.symbol.as_str()).collect();
        let symbols: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let returns = dir.join("returns.csv");
        let day = |day: i32| {
            names.iter().map(move |_| format!(",{}0.0{}", if day % 2 == 0 { "" } else { "-" }, day % 47 + 1))
        };
        let days: String = (0..600).map(|nth| format!("{nth:03}{}\n", day(nth).collect::<String>())).collect();
        std::fs::write(&returns, format!("date,{}\n{days}", names.join(","))).unwrap();
        let key = |key: [u8; 32]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let people =
            Throwaway::new(1).rows().into_iter().map(|(name, public)| format!("{name} = \"{}\"\n", key(public)));
        let text = format!(
            "[venue]\nrest = \"https://localhost:{0}\"\npublic = \"wss://localhost:{0}/v5/public/linear\"\n\
             private = \"wss://localhost:{0}/v5/private\"\ntrade = \"wss://localhost:{0}/v5/trade\"\nauthority = \"{1}\"\n\
             [keys]\nkey = {{ file = \"{demo_key}\" }}\nsecret = {{ file = \"{secret}\" }}\n\
             [node]\ndata_dir = \"{2}\"\nsymbols = [{3}]\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [scenarios]\nfile = \"{4}\"\n[people]\n{5}[account]\nunbound = true\nmin_days = -1000000\n{more}",
            self.port,
            self.authority.display(),
            dir.join("journal").display(),
            symbols.join(", "),
            returns.display(),
            people.collect::<String>(),
        );
        let path = dir.join("keel.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Every page of the answer to a question.
    pub fn ask(&self, mut call: Call) -> Vec<ExecEvent> {
        let mut facts = Vec::new();
        loop {
            let reply = self.client.call(&call.request(&signer(), system_wall())).unwrap();
            let mut decoder = Decoder::new(&self.instruments);
            let answer =
                parse(&call, reply.status, &reply.body, &mut decoder, Source::default(), &mut |f| facts.push(f));
            let next = match answer {
                Ok(Answer::Facts { next, .. }) => next,
                // others ask with the same key
                Err(RestError::Venue(10_006)) => {
                    std::thread::sleep(Duration::from_millis(100));
                    continue;
                }
                other => panic!("{call:?}: {other:?}"),
            };
            match &mut call {
                _ if next.is_empty() => return facts,
                Call::OpenOrders { cursor } | Call::Executions { cursor, .. } | Call::Positions { cursor } => {
                    *cursor = next
                }
                _ => return facts,
            }
        }
    }

    /// An administrator's line: a fault, an affair of the account.
    pub fn command(&self, line: &str) {
        let request = Request {
            method: Method::Post,
            path_and_query: "/sim/command".to_owned(),
            headers: Vec::new(),
            body: line.to_owned(),
        };
        let reply = self.client.call(&request).unwrap();
        assert_eq!(reply.status, 200, "{line}: {}", String::from_utf8_lossy(&reply.body));
    }

    /// A signed request of a client that is not keel.
    pub fn post(&self, path: &str, body: &str) {
        let signer = signer();
        let mut headers = Vec::from(signer.headers(system_wall(), body));
        headers.push(("Content-Type", "application/json".to_owned()));
        let request = Request { method: Method::Post, path_and_query: path.to_owned(), headers, body: body.to_owned() };
        let reply = self.client.call(&request).unwrap();
        let said = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == 200 && !said.contains(r#""code":1"#) && said.contains(r#""retCode":0"#), "{said}");
    }

    pub fn open_orders(&self) -> Vec<OrderUpdate> {
        let all = self.ask(Call::OpenOrders { cursor: String::new() });
        all.into_iter().filter_map(|f| if let ExecEvent::Order(o) = f { Some(o) } else { None }).collect()
    }

    pub fn executions(&self, since: Wall) -> Vec<Fill> {
        let all = self.ask(Call::Executions { since, cursor: String::new() });
        all.into_iter().filter_map(|f| if let ExecEvent::Fill(fill) = f { Some(fill) } else { None }).collect()
    }

    /// Signed sizes by instrument.
    pub fn positions(&self) -> Vec<Qty> {
        let mut sizes = vec![Qty::ZERO; self.instruments.rows().len()];
        for fact in self.ask(Call::Positions { cursor: String::new() }) {
            if let ExecEvent::Position(it) = fact {
                sizes[it.instrument.index()] = it.size;
            }
        }
        sizes
    }

    pub fn balance(&self) -> Notional {
        let wallet =
            self.ask(Call::Wallet).into_iter().find_map(|f| if let ExecEvent::Wallet(w) = f { Some(w) } else { None });
        wallet.unwrap().balance
    }

    pub fn witness(&self) -> Witness {
        Witness::start(self.port, &self.authority, &self.instruments)
    }

    pub fn end(self) {
        self.running.join().unwrap();
    }
}

/// Everything the venue pushed, in its order.
#[derive(Default)]
pub struct Record {
    /// Every order ever, as last shown, by the venue's id.
    pub orders: BTreeMap<VenueId, OrderUpdate>,
    /// Every execution.
    pub fills: BTreeMap<VenueId, Fill>,
    /// The largest value any instrument could have come to if everything open on one side had filled, by instrument.
    pub worst: BTreeMap<InstrumentId, Notional>,
    pub ready: bool,
    pub lost: u32,
}

impl Record {
    fn take(&mut self, fact: &ExecEvent) {
        match fact {
            ExecEvent::Order(update) => drop(self.orders.insert(update.venue, *update)),
            ExecEvent::Fill(fill) => drop(self.fills.insert(fill.exec, *fill)),
            // it follows everything a request caused: the one moment at which orders and position belong together
            ExecEvent::Position(at) => {
                let open = |side| {
                    let of = |o: &&OrderUpdate| o.instrument == at.instrument && o.side == side && !o.status.is_final();
                    let adding = self.orders.values().filter(of).filter(|o| !o.reduce_only.is_set());
                    adding.map(|o| o.leaves).sum::<Qty>()
                };
                let (long, short) = (at.size + open(Side::Buy), open(Side::Sell) - at.size);
                let value = at.mark.mul_floor(long.max(short)).unwrap_or(Notional::MAX);
                let worst = self.worst.entry(at.instrument).or_default();
                *worst = (*worst).max(value);
            }
            _ => {}
        }
    }

    pub fn clients(&self) -> BTreeSet<keel_core::ids::ClientId> {
        self.orders.values().map(|order| order.client).collect()
    }
}

/// A private stream beside the node's, in a thread of the test.
pub struct Witness {
    pub record: Arc<Mutex<Record>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Witness {
    fn start(port: u16, authority: &Path, instruments: &Instruments) -> Self {
        let (record, over) = (Arc::new(Mutex::new(Record::default())), Arc::new(AtomicBool::new(false)));
        let tls = tls(Some(authority)).unwrap();
        let endpoint = Endpoint::new(&format!("wss://localhost:{port}/v5/private"), &tls).unwrap();
        let mut session = PrivateSession::new(signer(), instruments, 9);
        let (kept, ends) = (Arc::clone(&record), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let (mut wire, mut clock) = (Wire::new(endpoint, Arc::default()), Clock::real(&Stopwatch::new()));
            let mut text = String::new();
            let turn = |session: &mut PrivateSession, wire: &mut Wire, now, input: Input<'_>| {
                session.handle(now, input, &mut |fact| kept.lock().unwrap().take(&fact));
                while let Some(output) = session.poll() {
                    match output {
                        Output::Send(bytes) => wire.send(bytes),
                        Output::Close => wire.close(),
                        Output::Connect { .. } => wire.connect(),
                    }
                }
                kept.lock().unwrap().ready = session.is_ready();
            };
            while !ends.load(Ordering::Acquire) {
                let now = clock.now();
                if session.deadline().is_some_and(|due| now.mono >= due) {
                    turn(&mut session, &mut wire, now, Input::Timer);
                }
                match wire.read(&mut text) {
                    Turn::Nothing => std::thread::sleep(Duration::from_micros(300)),
                    Turn::Progress => {}
                    Turn::Opened => turn(&mut session, &mut wire, now, Input::Connected),
                    Turn::Closed => {
                        turn(&mut session, &mut wire, now, Input::Closed);
                        kept.lock().unwrap().lost += 1;
                    }
                    Turn::Frame => {
                        let input = Input::Frame { bytes: text.as_bytes(), ticks: 0 };
                        turn(&mut session, &mut wire, now, input);
                    }
                }
            }
        });
        let witness = Self { record, over, thread: Some(thread) };
        for _ in 0..1_000 {
            if witness.record.lock().unwrap().ready {
                return witness;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the witness's stream did not come up");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

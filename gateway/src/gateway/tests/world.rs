//! The room, our order table and a simulated venue in one world, with a network between them that loses, delays and
//! cuts. When the weather clears, our account of things must be the venue's: every order, every fill, every coin.

use super::super::*;
use crate::sim::{
    AccountConfig, Config as VenueConfig, Exchange, Input as ToVenue, MarketSource, Output as FromVenue, Spec,
};
use core::net::{IpAddr, Ipv4Addr};
use keel_core::desk::Desk;
use keel_core::event::{DifferenceKind, Op, OrderKind, Side, TimeInForce, VenuePosition};
use keel_core::ids::{ClientId, InstrumentId};
use keel_core::instrument::Instruments;
use keel_core::orders::State;
use keel_core::units::{Notional, Px, Qty, SCALE};
use std::collections::{BTreeMap, BTreeSet};

const START: u64 = 1_900_000_000_000;
const SILENCE: u64 = 2_000_000_000;
/// An order is in doubt no longer than this: the last moment it could arrive, the venue's own memory, and the rounds of
/// questions, which a process that is killed again and again (for 40 s in these worlds) must begin again.
const LONGEST_DOUBT: u64 = 55_000;
const US: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Chances in a thousand, each time there is occasion.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// A socket is cut, with everything on its way.
    pub(super) cut: u64,
    /// An answer on order entry never comes.
    pub(super) lose_ack: u64,
    /// A REST answer never comes.
    pub(super) lose_reply: u64,
    /// A REST answer is an error of the venue.
    pub(super) fail_reply: u64,
    /// A private frame comes twice.
    pub(super) double: u64,
    /// Our process is killed.
    pub(super) kill: u64,
    /// A REST answer is this much late, at most.
    pub(super) late: u64,
    /// The venue's own fault, by its command line, at the 5th, 20th and 35th second.
    pub(super) fault: &'static str,
}

#[derive(Debug)]
enum Mail {
    VenueConnect(Channel, u64),
    VenueFrame(u64, Vec<u8>),
    VenueClosed(u64),
    VenueHttp(u64, Request),
    Connected(Channel, u64),
    Frame(Channel, u64, Vec<u8>),
    Closed(Channel, u64),
    Reply(u64, u64, u16, Vec<u8>),
}

struct World {
    gateway: Gateway,
    venue: Exchange,
    desk: Desk,
    instruments: Instruments,
    run: u32,
    millis: u64,
    mail: BTreeMap<(u64, u64), Mail>,
    posted: u64,
    /// Our end of each conversation: the socket, and when the last frame on it arrives at either end.
    sockets: BTreeMap<u64, (Channel, [u64; 2])>,
    weather: Weather,
    luck: u64,
    facts: Vec<ExecEvent>,
    fresh: u64,
    differences: Vec<DifferenceKind>,
    unknown_since: BTreeMap<ClientId, u64>,
    longest_doubt: u64,
    /// Since when a conversation is down or the account unread; and the longest of it, or of an order in doubt.
    uncertain_since: Option<u64>,
    longest_uncertain: u64,
    last_fill: Wall,
    trading: bool,
    kills: u32,
    outcomes: [u64; 5],
    live_for: u64,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let specs: Vec<_> = Spec::majors().into_iter().take(1).collect();
        let instruments = Instruments::new(specs.iter().map(|spec| spec.instrument)).unwrap();
        let account =
            AccountConfig { order_limit: 100, ..AccountConfig::new("K3Y", "S3CRET", Notional::whole(1_000_000)) };
        let config = VenueConfig {
            symbols: specs.into_iter().map(|spec| (spec, MarketSource::Generated)).collect(),
            accounts: vec![account],
            ..VenueConfig::default()
        };
        Self {
            gateway: Self::room(&instruments, 1, seed, Wall::from_millis(START)),
            venue: Exchange::new(config, seed),
            desk: Desk::new(&instruments, 1),
            instruments,
            run: 1,
            millis: START,
            mail: BTreeMap::new(),
            posted: 0,
            sockets: BTreeMap::new(),
            weather,
            luck: seed,
            facts: Vec::new(),
            fresh: 0,
            differences: Vec::new(),
            unknown_since: BTreeMap::new(),
            longest_doubt: 0,
            uncertain_since: Some(START),
            longest_uncertain: 0,
            last_fill: Wall::from_millis(START),
            trading: true,
            kills: 0,
            outcomes: [0; 5],
            live_for: 0,
        }
    }

    fn room(instruments: &Instruments, run: u32, seed: u64, since: Wall) -> Gateway {
        let config = Config { run, self_match: SelfMatch::CancelMaker, executions_since: since, guarded: false, seed };
        Gateway::new(Signer::new("K3Y", b"S3CRET"), instruments, &config)
    }

    fn now(&self) -> Now {
        Now { mono: Mono::from_millis(self.millis - START + 1_000), wall: Wall::from_millis(self.millis) }
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        splitmix(&mut self.luck) % 1000 < of_thousand
    }

    fn within(&mut self, bound: u64) -> u64 {
        splitmix(&mut self.luck) % bound.max(1)
    }

    fn post(&mut self, at: u64, mail: Mail) {
        self.posted += 1;
        self.mail.insert((at, self.posted), mail);
    }

    /// On a socket, in order; `way` 0 is to the venue.
    fn post_on(&mut self, socket: u64, way: usize, mail: Mail) {
        let at = self.millis + 1 + self.within(8);
        let Some((_, last)) = self.sockets.get_mut(&socket) else { return };
        last[way] = last[way].max(at);
        let at = last[way];
        self.post(at, mail);
    }

    fn socket(&self, channel: Channel) -> Option<u64> {
        self.sockets.iter().find(|(_, (have, _))| *have == channel).map(|(socket, _)| *socket)
    }

    fn room_handles(&mut self, input: Input<'_>) {
        let now = self.now();
        self.gateway.handle(now, input, &mut |fact| self.facts.push(fact));
        self.drain();
    }

    fn drain(&mut self) {
        let mut outputs = Vec::new();
        while let Some(output) = self.gateway.poll() {
            outputs.push(match output {
                Output::Send { channel, bytes } => (Some(channel), Some(bytes.to_vec()), None, 0),
                Output::Rest { token, request } => (None, None, Some(request), token),
                Output::Connect { channel, after_nanos } => (Some(channel), None, None, 1 + after_nanos / 1_000_000),
                Output::Close { channel } => (Some(channel), None, None, 0),
            });
        }
        for output in outputs {
            match output {
                (Some(channel), Some(bytes), ..) => {
                    if let Some(socket) = self.socket(channel) {
                        self.post_on(socket, 0, Mail::VenueFrame(socket, bytes));
                    }
                }
                (_, _, Some(request), token) => {
                    let at = self.millis + 5 + self.within(40);
                    self.post(at, Mail::VenueHttp(token, request));
                }
                (Some(channel), None, None, 0) => self.hang_up(channel),
                (Some(channel), None, None, wait) => {
                    self.posted += 1;
                    let socket = self.posted;
                    self.post(self.millis + wait, Mail::VenueConnect(channel, socket));
                }
                _ => {}
            }
        }
        self.absorb();
    }

    fn hang_up(&mut self, channel: Channel) {
        if let Some(socket) = self.socket(channel) {
            self.sockets.remove(&socket);
            self.post(self.millis + 3, Mail::VenueClosed(socket));
        }
    }

    /// What the engine does with facts.
    fn absorb(&mut self) {
        for fact in core::mem::take(&mut self.facts) {
            let effect = self.desk.orders.apply(&fact);
            self.desk.exec(&fact);
            self.differences.extend(effect.difference.map(|difference| difference.kind));
            if let (ExecEvent::Fill(fill), true) = (&fact, effect.fresh) {
                self.fresh += 1;
                assert!(!effect.foreign, "every fill is of an order of ours: {fill:?}");
                self.last_fill = self.last_fill.max(fill.ts);
                let seat = self.desk.seat_mut(fill.instrument).unwrap();
                seat.position = seat.position.after(fill).unwrap();
            }
            if let ExecEvent::Sent(sent) = fact {
                self.outcomes[sent.outcome as usize] += 1;
            }
        }
        let unknown: BTreeSet<_> = self
            .desk
            .orders
            .open()
            .iter()
            .filter(|row| row.state == State::Unknown)
            .map(|row| row.order.client)
            .collect();
        let millis = self.millis;
        for client in &unknown {
            self.unknown_since.entry(*client).or_insert(millis);
        }
        self.longest_doubt =
            self.unknown_since.values().map(|since| millis - since).max().unwrap_or(0).max(self.longest_doubt);
        self.unknown_since.retain(|client, _| unknown.contains(client));
    }

    fn venue_handles(&mut self, input: ToVenue<'_>) {
        self.venue.handle(Wall::from_millis(self.millis), input);
        let outputs: Vec<_> = std::iter::from_fn(|| self.venue.poll()).collect();
        for output in outputs {
            match output {
                FromVenue::Send { conn, bytes } => self.venue_says(conn, bytes),
                FromVenue::Reply { token, status, body, .. } => self.venue_answers(token, status, body),
                FromVenue::Cut { conn, .. } | FromVenue::Close { conn } => {
                    if let Some((channel, _)) = self.sockets.get(&conn).copied() {
                        self.post_on(conn, 1, Mail::Closed(channel, conn));
                    }
                }
            }
        }
    }

    fn venue_says(&mut self, conn: u64, bytes: Vec<u8>) {
        let Some((channel, _)) = self.sockets.get(&conn).copied() else { return };
        if channel == Channel::Trade && bytes.starts_with(b"{\"reqId\":\"k") && self.chance(self.weather.lose_ack) {
            return;
        }
        if channel == Channel::Private && self.chance(self.weather.double) {
            self.post_on(conn, 1, Mail::Frame(channel, conn, bytes.clone()));
        }
        self.post_on(conn, 1, Mail::Frame(channel, conn, bytes));
    }

    fn venue_answers(&mut self, token: u64, status: u16, body: Vec<u8>) {
        if self.chance(self.weather.lose_reply) {
            return;
        }
        let at = self.millis + 5 + self.within(30 + self.weather.late);
        let run = u64::from(self.run);
        let (status, body) = match self.chance(self.weather.fail_reply) {
            true => [(500, Vec::new()), (200, br#"{"retCode":10016,"retMsg":"busy","result":{},"time":1}"#.to_vec())]
                [usize::try_from(token % 2).unwrap()]
            .clone(),
            false => (status, body),
        };
        self.post(at, Mail::Reply(run, token, status, body));
    }

    fn deliver(&mut self, mail: Mail) {
        match mail {
            Mail::VenueConnect(channel, socket) => {
                self.hang_up(channel);
                self.sockets.insert(socket, (channel, [self.millis; 2]));
                let end =
                    if channel == Channel::Private { crate::sim::Channel::Private } else { crate::sim::Channel::Trade };
                self.venue_handles(ToVenue::Connect { conn: socket, channel: end, query: "", ip: US });
                self.post_on(socket, 1, Mail::Connected(channel, socket));
            }
            Mail::VenueFrame(socket, bytes) => self.venue_handles(ToVenue::Frame { conn: socket, bytes: &bytes }),
            Mail::VenueClosed(socket) => self.venue_handles(ToVenue::Closed { conn: socket }),
            Mail::VenueHttp(token, request) => {
                let (path, query) = request.path_and_query.split_once('?').unwrap_or((&request.path_and_query, ""));
                let headers: Vec<_> =
                    request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                let method = if request.method == crate::rest::Method::Get { "GET" } else { "POST" };
                let body = request.body.as_bytes();
                self.venue_handles(ToVenue::Http { token, method, path, query, headers: &headers, body, ip: US });
            }
            Mail::Connected(channel, socket) if self.sockets.contains_key(&socket) => {
                self.room_handles(Input::Connected { channel });
            }
            Mail::Frame(channel, socket, bytes) if self.sockets.contains_key(&socket) => {
                self.room_handles(Input::Frame { channel, bytes: &bytes, ticks: 0 });
            }
            Mail::Closed(channel, socket) if self.sockets.remove(&socket).is_some() => {
                self.room_handles(Input::Closed { channel });
            }
            Mail::Reply(run, token, status, body) if run == u64::from(self.run) => {
                self.room_handles(Input::RestReply { token, status, body: &body, rate: RateHeader::default() });
            }
            // from or to a conversation, or a process, that is no more
            Mail::Connected(..) | Mail::Frame(..) | Mail::Closed(..) | Mail::Reply(..) => {}
        }
    }

    /// The network tears the socket: nothing on its way arrives, either way.
    fn cut(&mut self, channel: Channel) {
        if let Some(socket) = self.socket(channel) {
            self.mail.retain(|_, mail| !matches!(mail, Mail::VenueFrame(s, _) | Mail::Frame(_, s, _) if *s == socket));
            self.hang_up(channel);
            self.room_handles(Input::Closed { channel });
        }
    }

    /// kill -9 and a restart: what was journaled (every admission, every fact) is all that is left.
    fn kill(&mut self) {
        self.kills += 1;
        self.run += 1;
        for channel in [Channel::Private, Channel::Trade] {
            self.hang_up(channel);
        }
        // what was connecting connects for nobody
        self.mail.retain(|_, mail| !matches!(mail, Mail::VenueConnect(..)));
        let seed = splitmix(&mut self.luck);
        self.gateway = Self::room(&self.instruments, self.run, seed, self.last_fill);
        let before = self.desk.orders.clone();
        self.desk.orders = before.succeeded_by(self.run);
        let now = self.now();
        for row in self.desk.orders.open() {
            self.gateway.adopt(now, row, now.mono.since(row.asked));
        }
        self.absorb();
    }

    /// How long nobody could say what the account is: a conversation down, the account not read, or an order in doubt.
    fn look_for_doubt(&mut self) {
        let since = if self.gateway.is_live() { None } else { Some(self.uncertain_since.unwrap_or(self.millis)) };
        let blind = since.map_or(0, |since| self.millis - since);
        self.longest_uncertain = self.longest_uncertain.max(blind).max(self.longest_doubt);
        self.uncertain_since = since;
    }

    /// One idea of a strategy without ideas.
    fn act(&mut self) {
        let now = self.now();
        self.look_for_doubt();
        while let Some(_change) = self.desk.orders.silence(now.mono, SILENCE) {}
        while let Some(difference) = self.desk.judge(now.mono) {
            self.differences.push(difference.kind);
        }
        if !self.trading || !self.gateway.is_live() {
            return;
        }
        self.live_for += 20;
        let open = self.desk.orders.open();
        let live: Vec<_> =
            open.iter().filter(|row| row.state == State::Live && row.pending.is_none()).copied().collect();
        let offset = i64::try_from(self.within(3_000)).unwrap() - 1_500;
        let px = Px::from_raw((640_000 + offset) * SCALE / 10);
        let qty = Qty::from_raw(i64::try_from(1 + self.within(50)).unwrap() * SCALE / 1000);
        let tif = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::PostOnly, TimeInForce::Gtc]
            [usize::try_from(self.within(4)).unwrap()];
        let side = if self.chance(500) { Side::Buy } else { Side::Sell };
        let pick = usize::try_from(self.within(live.len() as u64)).unwrap();
        let order = match (self.within(10), live.get(pick)) {
            (0..=3, _) if self.desk.orders.open().len() < 40 => {
                let client = self.desk.orders.next_id();
                Order {
                    client,
                    px,
                    qty,
                    tif,
                    side,
                    kind: OrderKind::Limit,
                    instrument: InstrumentId(0),
                    ..Order::default()
                }
            }
            (4..=5, Some(row)) => Order { op: Op::Amend, px, qty: row.order.qty.max(qty), ..row.order },
            (6..=7, Some(row)) => Order { op: Op::Cancel, ..row.order },
            _ => return,
        };
        self.desk.orders.admit(now.mono, &order).unwrap();
        if self.chance(self.weather.kill) {
            return self.kill();
        }
        self.gateway.order(now, &order, &mut |fact| self.facts.push(fact));
        self.drain();
        if self.chance(self.weather.kill) {
            self.kill();
        }
    }

    fn run_for(&mut self, millis: u64) {
        let end = self.millis + millis;
        while self.millis < end {
            let mono = self.now().mono;
            if self.gateway.deadline().is_some_and(|due| due <= mono) {
                self.room_handles(Input::Timer);
            }
            if self.venue.deadline().is_some_and(|due| due.millis() <= self.millis) {
                self.venue_handles(ToVenue::Timer);
            }
            while let Some(entry) = self.mail.first_entry().filter(|entry| entry.key().0 <= self.millis) {
                let mail = entry.remove();
                self.deliver(mail);
            }
            if (self.millis - START) % 15_000 == 5_000 && !self.weather.fault.is_empty() {
                let now = Wall::from_millis(self.millis);
                self.venue.command(now, self.weather.fault).unwrap();
            }
            if self.millis.is_multiple_of(20) {
                self.act();
                if self.chance(self.weather.cut) {
                    let channel = if self.chance(500) { Channel::Private } else { Channel::Trade };
                    self.cut(channel);
                }
            }
            self.millis += 1;
        }
    }

    /// What the venue says when asked directly.
    fn ask(&mut self, call: &Call) -> Vec<ExecEvent> {
        let request = call.request(&Signer::new("K3Y", b"S3CRET"), Wall::from_millis(self.millis));
        let (path, query) = request.path_and_query.split_once('?').unwrap();
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let input = ToVenue::Http { token: 0, method: "GET", path, query, headers: &headers, body: b"", ip: US };
        self.venue.handle(Wall::from_millis(self.millis), input);
        let mut facts = Vec::new();
        while let Some(output) = self.venue.poll() {
            if let FromVenue::Reply { status, body, .. } = output {
                let mut decoder = Decoder::new(&self.instruments);
                let source = crate::decode::Source::default();
                parse(call, status, &body, &mut decoder, source, &mut |fact| facts.push(fact)).unwrap();
            }
        }
        facts
    }

    /// The weather clears, trading stops, and after a while our account must be the venue's.
    fn settle_and_compare(&mut self) {
        let silent = self.weather.fault.starts_with("silent channel=private");
        (self.weather, self.trading) = (Weather::default(), false);
        self.venue.command(Wall::from_millis(self.millis), "clear").unwrap();
        self.run_for(90_000);
        assert!(self.gateway.is_live(), "live again");
        let rows = self.desk.orders.open().to_vec();
        for row in &rows {
            assert!(
                row.state == State::Live && row.pending.is_none(),
                "proven or unknown, and unknown is asked: {row:?}"
            );
        }
        assert_eq!(self.gateway.owed(), 0);
        let ours: BTreeSet<_> =
            rows.iter().map(|row| (row.order.client, row.order.qty, row.order.px, row.filled)).collect();
        let open = self.ask(&Call::OpenOrders { cursor: String::new() });
        let theirs: BTreeSet<_> =
            open.iter()
                .map(|fact| {
                    if let ExecEvent::Order(o) = fact { (o.client, o.qty, o.px, o.filled) } else { panic!("{fact:?}") }
                })
                .collect();
        assert!(open.len() < 50, "one page");
        assert_eq!(ours, theirs, "open orders");
        let seat = self.desk.seats()[0].position;
        let pictures = self.ask(&Call::Positions { cursor: String::new() });
        let picture: VenuePosition = pictures
            .iter()
            .find_map(|f| if let ExecEvent::Position(p) = f { Some(*p) } else { None })
            .unwrap_or_default();
        assert_eq!(seat.size, picture.size, "position");
        // A stream silent for longer than a position's patience is the one weather in which the venue's word is taken.
        let adopted = self.differences.iter().filter(|kind| **kind == DifferenceKind::Position).count();
        assert!(adopted == 0 || silent, "explained by adoption {adopted} times: {:?}", self.differences);
        assert!(!self.differences.contains(&DifferenceKind::Profit), "{:?}", self.differences);
        assert_eq!(self.fresh, self.venue.stats().fills, "every fill, none twice");
    }
}

/// Runs it, compares, and tells the longest the account was uncertain, in milliseconds.
pub(super) fn weather(name: &str, weather: Weather) -> u64 {
    let mut longest = 0;
    for seed in 1..=if weather.fault.is_empty() { 6 } else { 2 } {
        let mut world = World::new(seed, weather);
        world.run_for(40_000);
        world.settle_and_compare();
        println!(
            "{name} {seed}: {} fills, wire/no budget/no link/busy/unsayable {:?}, live {} s of 40, {} kills, longest doubt {} ms, uncertain {} ms, differences {:?}",
            world.fresh,
            world.outcomes,
            world.live_for / 1000,
            world.kills,
            world.longest_doubt,
            world.longest_uncertain,
            world.differences.iter().fold(BTreeMap::<String, u32>::new(), |mut sum, kind| {
                *sum.entry(format!("{kind:?}")).or_default() += 1;
                sum
            })
        );
        assert!(world.fresh > 0 && world.outcomes[0] > 0, "it traded");
        assert!(world.longest_doubt < LONGEST_DOUBT, "{} ms of doubt", world.longest_doubt);
        longest = longest.max(world.longest_uncertain);
    }
    longest
}

#[test]
fn in_fair_weather_nothing_is_ever_in_doubt() {
    weather("fair", Weather::default());
}

#[test]
fn lost_acknowledgements_lose_no_order() {
    weather("acks", Weather { lose_ack: 300, ..Weather::default() });
}

#[test]
fn cut_sockets_lose_no_order_and_no_fill() {
    weather("cuts", Weather { cut: 15, ..Weather::default() });
}

#[test]
fn a_doubled_stream_counts_nothing_twice() {
    weather("double", Weather { double: 500, ..Weather::default() });
}

#[test]
fn a_sick_rest_interface_delays_proof_and_invents_none() {
    let sick = Weather { cut: 1, lose_ack: 200, lose_reply: 100, fail_reply: 100, late: 1_000, ..Weather::default() };
    weather("sick", sick);
}

#[test]
fn a_process_killed_at_any_moment_finds_every_order_and_fill_again() {
    weather("kills", Weather { kill: 10, ..Weather::default() });
}

#[test]
fn everything_at_once() {
    let storm =
        Weather { cut: 1, lose_ack: 150, lose_reply: 50, fail_reply: 50, double: 100, kill: 2, late: 500, fault: "" };
    weather("storm", storm);
}

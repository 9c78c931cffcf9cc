//! A scripted positive for every rule, and its near miss: the same with one parameter just inside.
//!
//! In: a rule, parameters, a moment to begin at. Out: records and the declarations that go with them. Used by the tests,
//! and once a day by the node: a rule whose script no longer fires is a rule nobody watches by. Names are invented.

use super::Terms;
use super::parameters::Parameters;
use super::registry::{Account, News, Registry};
use super::screen::{List, Lists, Party};
use super::window::{DAY, HOUR, MINUTE, SECOND, dollars, span};
use crate::decision::Decision;
use keel_core::event::{
    BookUpdate, ExecKind, Fill, Flag, Flow, FlowKind, FlowState, Kind, Level, Order, OrderStatus, OrderUpdate, Origin,
    Record, Rule, Side, Standing, Ticker, TimeInForce, Trade,
};
use keel_core::ids::{ClientId, InstrumentId, StrategyId, Symbol, Text};
use keel_core::instrument::Instrument;
use keel_core::units::{Notional, Px, Qty, SCALE, Wall};
use std::sync::Arc;
use zerocopy::IntoBytes;

/// One record of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When.
    pub wall: Wall,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Record for Row {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What the fold has to be made from.
    pub terms: Terms,
    /// What happens, in order.
    pub rows: Vec<Row>,
}

/// The account in the scripts.
const OWNER: &[u8] = b"900001";
/// A listed address in the scripts; no wallet has it.
const LISTED: &str = "1KeeLSyntheticListedAddress11111";
const COIN: i64 = SCALE;

/// The script of a rule; `near` misses it narrowly. `from` must lie 200 days after 1970 at least.
#[must_use]
pub fn script(rule: Rule, near: bool, parameters: &Parameters, from: Wall) -> Script {
    let mut stage = Stage::new(parameters.clone(), from);
    stage.standing();
    let miss = i64::from(near);
    match rule {
        Rule::None => {}
        Rule::Structuring => stage.structuring(miss),
        Rule::PassThrough => stage.pass_through(miss),
        Rule::Velocity => stage.velocity(miss),
        Rule::Burst => stage.burst(miss),
        Rule::Counterparty => stage.counterparty(miss),
        Rule::Sanctioned => stage.sanctioned(near),
        Rule::ChainHop => stage.chain_hop(miss),
        Rule::Repeated => stage.repeated(miss),
        Rule::Geography => stage.geography(near),
        Rule::LossIndifferent => stage.loss(miss),
        Rule::ThirdParty => stage.third_party(near),
        Rule::Maze => stage.maze(miss),
        Rule::Wash => stage.wash(miss),
        Rule::Spoofing => stage.spoofing(miss),
        Rule::Layering => stage.layering(miss),
        Rule::Stuffing => stage.stuffing(miss),
        Rule::Ignition => stage.ignition(near),
        Rule::Marking => stage.marking(near),
        Rule::Painting => stage.painting(miss),
        Rule::CrossProduct => stage.cross_product(near),
        Rule::FrontRunning => stage.front_running(miss),
        Rule::Pinging => stage.pinging(miss),
        Rule::Insider => stage.insider(miss),
    }
    Script { terms: stage.terms, rows: stage.rows }
}

/// Where a script is played.
struct Stage {
    terms: Terms,
    rows: Vec<Row>,
    at: Wall,
    orders: u32,
    flows: u32,
}

fn text<const N: usize>(words: &str) -> Text<N> {
    Text::new(words.as_bytes()).unwrap_or_default()
}

impl Stage {
    fn new(parameters: Parameters, from: Wall) -> Self {
        let terms = Terms { parameters, ..Terms::default() };
        Self { terms, rows: Vec::new(), at: from, orders: 0, flows: 0 }
    }

    fn wait(&mut self, nanos: u64) {
        self.at = self.at.after(nanos);
    }

    fn row(&mut self, kind: Kind, bytes: &[u8]) {
        self.rows.push(Row { wall: self.at, kind, bytes: bytes.to_vec() });
        self.wait(1);
    }

    fn put(&mut self, fact: &impl Record) {
        self.row(fact.kind(), fact.bytes());
    }

    fn standing(&mut self) {
        self.put(&Standing { at: self.at, uid: Text::new(OWNER).unwrap_or_default(), ..Standing::default() });
    }

    /// A finished movement of so many dollars in steps of 1e-8.
    fn flow(&mut self, kind: FlowKind, usd: i64, also: impl FnOnce(&mut Flow)) {
        self.flows += 1;
        let mut flow = Flow {
            ts: self.at,
            amount: Qty::from_raw(usd),
            usd: Notional::from_raw(usd),
            id: text(&format!("synthetic-{}-{}", self.at.nanos(), self.flows)),
            account: Text::new(OWNER).unwrap_or_default(),
            coin: text("USDC"),
            chain: text("ETH"),
            kind,
            state: FlowState::Done,
            ..Flow::default()
        };
        also(&mut flow);
        self.put(&flow);
    }

    fn instrument(&mut self, id: u16, symbol: &str) {
        self.put(&Instrument {
            symbol: Symbol::new(symbol.as_bytes()).unwrap_or_default(),
            tick: Px::from_raw(SCALE / 100),
            min_px: Px::from_raw(SCALE / 100),
            max_px: Px::whole(1_000_000),
            step: Qty::from_raw(SCALE / 1000),
            min_qty: Qty::from_raw(SCALE / 1000),
            max_qty: Qty::whole(1_000_000),
            max_market_qty: Qty::whole(1_000_000),
            id: InstrumentId(id),
            trading: Flag::Yes,
            ..Instrument::default()
        });
    }

    fn order(&mut self, side: Side, px: i64, qty: i64, tif: TimeInForce, strategy: u16) -> ClientId {
        self.orders += 1;
        let client = ClientId::new(u32::MAX, self.orders);
        let order = Order {
            client,
            px: Px::from_raw(px),
            qty: Qty::from_raw(qty),
            side,
            tif,
            strategy: StrategyId(strategy),
            ..Order::default()
        };
        self.row(Kind::Approved, Decision { order, ..Decision::default() }.as_bytes());
        client
    }

    fn fill(&mut self, instrument: u16, side: Side, px: i64, qty: i64, maker: bool) {
        self.put(&Fill {
            ts: self.at,
            px: Px::from_raw(px),
            qty: Qty::from_raw(qty),
            instrument: InstrumentId(instrument),
            side,
            kind: ExecKind::Trade,
            maker: maker.into(),
            ..Fill::default()
        });
    }

    fn cancelled(&mut self, client: ClientId) {
        self.put(&OrderUpdate { client, status: OrderStatus::Cancelled, ..OrderUpdate::default() });
    }

    fn trade(&mut self, instrument: u16, px: i64, qty: i64) {
        self.put(&Trade {
            origin: Origin::default(),
            px: Px::from_raw(px),
            qty: Qty::from_raw(qty),
            instrument: InstrumentId(instrument),
            side: Side::Buy,
            block: Flag::No,
            rpi: Flag::No,
            last: Flag::Yes,
            pad: [0; 2],
        });
    }

    fn book(&mut self) {
        let mut update = BookUpdate::empty(InstrumentId(0), 50, Origin::default(), 1);
        update.flags = BookUpdate::SNAPSHOT | BookUpdate::FIRST | BookUpdate::LAST;
        (update.bids, update.asks) = (3, 3);
        for (at, level) in (0i64..).zip(update.levels.iter_mut().take(6)) {
            let cents = if at < 3 { 9_999 - at } else { 10_001 + at - 3 };
            *level = Level { px: Px::from_raw(cents * SCALE / 100), qty: Qty::from_raw(COIN) };
        }
        self.put(&update);
    }

    /// Orders of the usual size, gone again.
    fn usual(&mut self, number: i64) {
        for _ in 0..number {
            let client = self.order(Side::Buy, 90 * SCALE, COIN, TimeInForce::Gtc, 0);
            self.cancelled(client);
        }
    }

    /// Twelve minutes in which the price does little.
    fn quiet(&mut self, instrument: u16) {
        for minute in 0..12 {
            self.trade(instrument, 100 * SCALE + minute % 2 * SCALE / 100, 1);
            self.wait(MINUTE);
        }
        self.trade(instrument, 100 * SCALE, 1);
    }

    /// A push of ten coins up by a per cent; with more of others' trading when `near`.
    fn push(&mut self, share: i64, near: bool) {
        let (built, others) = (10 * COIN, if near { 10 * COIN * 1000 / share - 10 * COIN + COIN } else { 0 });
        self.wait(SECOND);
        self.trade(0, 100 * SCALE, built + others);
        self.trade(0, 101 * SCALE, 1);
        self.fill(0, Side::Buy, 101 * SCALE, built + 1000, false);
    }
}

/// Money.
impl Stage {
    fn structuring(&mut self, miss: i64) {
        let it = self.terms.parameters.structuring.clone();
        let limit = dollars(it.threshold_low_usd);
        for number in 0..it.count - miss {
            self.flow(FlowKind::Deposit, limit - limit / 2000 - number, |_| {});
            self.wait(MINUTE);
        }
    }

    fn pass_through(&mut self, miss: i64) {
        let it = self.terms.parameters.pass_through.clone();
        let came = dollars(it.floor_usd.max(1000));
        self.flow(FlowKind::Deposit, came, |_| {});
        self.wait(MINUTE);
        let goes = i128::from(came) * i128::from(it.out_permille) / 1000;
        self.flow(FlowKind::Withdrawal, i64::try_from(goes).unwrap_or(0) - miss, |_| {});
    }

    fn velocity(&mut self, miss: i64) {
        let it = self.terms.parameters.velocity.clone();
        let (usual, spread) = (dollars(it.floor_usd.saturating_add(20_000)), dollars(1000));
        let days = (it.needed + 2) / 3 * 3;
        for day in 0..days {
            self.flow(FlowKind::Deposit, usual + (day % 3 - 1) * spread, |_| {});
            self.wait(DAY);
        }
        let z = i128::from(it.z_permille) * 14_826 * i128::from(spread) / 10_000_000;
        let far = usual.saturating_add(i64::try_from(z).unwrap_or(i64::MAX));
        self.flow(FlowKind::Deposit, far + dollars(10) * (1 - 2 * miss), |_| {});
    }

    fn burst(&mut self, miss: i64) {
        let it = self.terms.parameters.burst.clone();
        let usd = i128::from(dollars(it.usual_usd)) * i128::from(it.declared_permille) / 1000;
        self.flow(FlowKind::Deposit, i64::try_from(usd).unwrap_or(i64::MAX).saturating_add(1 - miss), |_| {});
    }

    fn counterparty(&mut self, miss: i64) {
        let floor = dollars(self.terms.parameters.counterparty.floor_usd);
        self.flow(FlowKind::Withdrawal, floor - miss, |flow| flow.address = text("1KeeLSyntheticStranger"));
    }

    fn sanctioned(&mut self, near: bool) {
        let party = Party {
            id: "1".to_owned(),
            names: vec![("Synthetic Listed Party".to_owned(), false)],
            wallets: vec![("XBT".to_owned(), LISTED.to_owned())],
            ..Party::default()
        };
        let (source, version) = ("synthetic".to_owned(), "1".to_owned());
        let list = List { source, version, parties: vec![party], ..List::default() };
        self.terms.lists = Arc::new(Lists::new(vec![list]));
        let address = if near { LISTED.replace('K', "k") } else { LISTED.to_owned() };
        self.flow(FlowKind::Deposit, dollars(10), |flow| flow.address = text(&address));
    }

    fn chain_hop(&mut self, miss: i64) {
        let window = span(self.terms.parameters.chain_hop.minutes, MINUTE);
        let (usd, began) = (dollars(5000), self.at);
        self.flow(FlowKind::Deposit, usd, |flow| flow.coin = text("ETH"));
        self.flow(FlowKind::ConvertOut, usd, |flow| flow.coin = text("ETH"));
        self.flow(FlowKind::ConvertIn, usd, |_| {});
        self.at = began.after(window + u64::from(miss == 1));
        self.flow(FlowKind::Withdrawal, usd, |flow| flow.chain = text("TRX"));
    }

    fn repeated(&mut self, miss: i64) {
        let it = self.terms.parameters.repeated.clone();
        for _ in 0..it.count - miss {
            self.flow(FlowKind::Deposit, dollars(it.floor_usd) + 12_345_678, |_| {});
            self.wait(MINUTE);
        }
    }

    fn geography(&mut self, near: bool) {
        let uid = Text::new(OWNER).unwrap_or_default();
        let account = Account { uid, residence: text("ESP"), ..Account::default() };
        self.terms.registry = Registry { accounts: vec![account], ..Registry::default() };
        let kyc_region = text(if near { "ESP" } else { "PRT" });
        self.put(&Standing { at: self.at, uid, kyc_region, ..Standing::default() });
    }

    fn loss(&mut self, miss: i64) {
        let it = self.terms.parameters.loss_indifferent.clone();
        self.instrument(0, "SYNUSDT");
        let cost = dollars(it.floor_usd);
        let came = i128::from(cost) * 1000 / i128::from(it.cost_permille);
        self.flow(FlowKind::Deposit, i64::try_from(came).unwrap_or(i64::MAX), |_| {});
        let fill = Fill {
            px: Px::from_raw(100 * SCALE),
            qty: Qty::from_raw(COIN),
            fee: Notional::from_raw(cost - miss),
            side: Side::Buy,
            kind: ExecKind::Trade,
            ..Fill::default()
        };
        self.put(&fill);
    }

    fn third_party(&mut self, near: bool) {
        let uid = Text::new(OWNER).unwrap_or_default();
        let account = Account { uid, parties: vec![text("HOME-BANK")], ..Account::default() };
        self.terms.registry = Registry { accounts: vec![account], ..Registry::default() };
        let usd = dollars(self.terms.parameters.third_party.floor_usd.max(1));
        let party = text(if near { "HOME-BANK" } else { "OTHER-BANK" });
        self.flow(FlowKind::Deposit, usd, |flow| flow.party = party);
    }

    fn maze(&mut self, miss: i64) {
        let it = self.terms.parameters.maze.clone();
        let (usd, began) = (dollars(it.floor_usd), self.at);
        for (from, to) in [("900001", "900002"), ("900002", "900003"), ("900003", "900001")] {
            if to == "900001" {
                self.at = began.after(span(it.hours, HOUR) + u64::from(miss == 1));
            }
            self.flow(FlowKind::TransferOut, usd, |flow| (flow.account, flow.party) = (text(from), text(to)));
        }
    }
}

/// Orders and trades.
impl Stage {
    fn wash(&mut self, miss: i64) {
        for _ in 0..self.terms.parameters.wash.repeats - miss {
            self.fill(0, Side::Buy, 100 * SCALE, COIN, false);
            self.fill(0, Side::Sell, 100 * SCALE, COIN, false);
        }
    }

    fn spoofing(&mut self, miss: i64) {
        let it = self.terms.parameters.spoofing.clone();
        self.instrument(0, "SYNUSDT");
        self.book();
        self.usual(11 + it.repeats);
        let large = COIN.saturating_mul(it.size_permille.max(3 * it.depth_permille) / 1000 + 1);
        for _ in 0..it.repeats - miss {
            let spoof = self.order(Side::Buy, 9_999 * SCALE / 100, large, TimeInForce::PostOnly, 0);
            self.order(Side::Sell, 101 * SCALE, COIN, TimeInForce::Gtc, 0);
            self.fill(0, Side::Sell, 101 * SCALE, COIN, true);
            self.cancelled(spoof);
        }
    }

    fn layering(&mut self, miss: i64) {
        let levels = self.terms.parameters.layering.levels - miss;
        let rest = |stage: &mut Self, level| stage.order(Side::Buy, (90 - level) * SCALE, COIN, TimeInForce::Gtc, 0);
        let resting: Vec<ClientId> = (0..levels).map(|level| rest(self, level)).collect();
        self.fill(0, Side::Sell, 101 * SCALE, COIN, true);
        resting.into_iter().for_each(|client| self.cancelled(client));
    }

    fn stuffing(&mut self, miss: i64) {
        let it = self.terms.parameters.stuffing.clone();
        let each = (it.venue_rate * it.rate_permille + 999) / 1000 - miss;
        let began = self.at;
        for second in 0..it.seconds {
            self.at = began.after(span(second, SECOND));
            for _ in 0..each {
                self.order(Side::Buy, 90 * SCALE, COIN, TimeInForce::Gtc, 0);
            }
        }
    }

    fn ignition(&mut self, near: bool) {
        let it = self.terms.parameters.ignition.clone();
        self.instrument(0, "SYNUSDT");
        self.quiet(0);
        self.push(it.share_permille, near);
        self.wait(SECOND);
        self.fill(0, Side::Sell, 101 * SCALE, 10 * COIN + 1000, true);
    }

    fn marking(&mut self, near: bool) {
        let it = self.terms.parameters.marking.clone();
        self.instrument(0, "SYNUSDT");
        self.quiet(0);
        self.put(&Ticker {
            next_funding: self.at.after(3 * SECOND),
            mark: Px::from_raw(100 * SCALE),
            ..Ticker::default()
        });
        self.push(it.share_permille, near);
        self.wait(3 * SECOND);
        self.trade(0, 101 * SCALE, 1);
    }

    fn painting(&mut self, miss: i64) {
        let it = self.terms.parameters.painting.clone();
        self.instrument(0, "SYNUSDT");
        self.usual(7);
        for number in 0..it.trades - miss {
            let small = (COIN / 1000).saturating_mul(it.small_permille).min(COIN / 2);
            self.fill(0, Side::Buy, (10_000 + number) * SCALE / 100, small, false);
        }
    }

    fn cross_product(&mut self, near: bool) {
        let it = self.terms.parameters.cross_product.clone();
        let related = vec![(text("SYNUSDT"), text("GAINUSDT"))];
        self.terms.registry = Registry { related, ..Registry::default() };
        self.instrument(0, "SYNUSDT");
        self.instrument(1, "GAINUSDT");
        self.trade(1, 100 * SCALE, 1);
        self.fill(1, Side::Buy, 100 * SCALE, COIN.saturating_mul(20 * it.ratio_permille.max(1000) / 1000), true);
        self.quiet(0);
        self.push(it.share_permille, near);
    }

    fn front_running(&mut self, miss: i64) {
        let window = span(self.terms.parameters.front_running.seconds, SECOND);
        let size = self.terms.parameters.front_running.size_permille.max(1000);
        self.terms.registry = Registry { clients: vec![StrategyId(1)], ..Registry::default() };
        let began = self.at;
        self.order(Side::Buy, 100 * SCALE, COIN, TimeInForce::Gtc, 0);
        self.at = began.after(window + u64::from(miss == 1));
        self.order(Side::Buy, 100 * SCALE, COIN.saturating_mul(size) / 1000, TimeInForce::Gtc, 1);
    }

    fn pinging(&mut self, miss: i64) {
        let it = self.terms.parameters.pinging.clone();
        self.instrument(0, "SYNUSDT");
        for _ in 0..it.probes - miss {
            self.order(Side::Buy, 100 * SCALE, SCALE / 1000, TimeInForce::Ioc, 0);
        }
        let large = (SCALE / 1000).saturating_mul(it.large_permille.max(it.minimum_permille + 1000) / 1000 + 1);
        self.order(Side::Buy, 100 * SCALE, large, TimeInForce::Ioc, 0);
    }

    fn insider(&mut self, miss: i64) {
        let value = dollars(self.terms.parameters.insider.value_usd);
        self.instrument(0, "SYNUSDT");
        self.trade(0, 100 * SCALE, 1);
        self.fill(0, Side::Buy, 100 * SCALE, value / 100 - miss, true);
        self.wait(HOUR);
        let news = vec![News { at: self.at, symbol: text("SYNUSDT") }];
        self.terms.registry = Registry { news, ..Registry::default() };
        self.trade(0, 100 * SCALE, 1);
    }
}

//! nautilus' risk engine as its own tests set it up: one instrument, one margin account, one quote, one order.
//!
//! An order is in the cache before, as a strategy would have put it there. The throttler is on and never fires: the test
//! clock moves a microsecond a call. What leaves the engine is counted at its two ends, so that a denial cannot pass for a
//! check.

use nautilus_common::cache::Cache;
use nautilus_common::clock::{Clock, TestClock};
use nautilus_common::messages::execution::{SubmitOrder, TradingCommand};
use nautilus_common::msgbus::{self, MessagingSwitchboard, TypedIntoHandler};
use nautilus_common::throttler::RateLimit;
use nautilus_core::{UUID4, UnixNanos};
use nautilus_model::accounts::{AccountAny, MarginAccount};
use nautilus_model::data::QuoteTick;
use nautilus_model::enums::{AccountType, OrderSide, OrderType};
use nautilus_model::events::AccountState;
use nautilus_model::identifiers::{AccountId, ClientId, StrategyId, TraderId};
use nautilus_model::instruments::stubs::crypto_perpetual_ethusdt;
use nautilus_model::instruments::{Instrument, InstrumentAny};
use nautilus_model::orders::{Order, OrderAny, OrderTestBuilder};
use nautilus_model::types::{AccountBalance, Currency, Money, Price, Quantity};
use nautilus_portfolio::Portfolio;
use nautilus_risk::engine::RiskEngine;
use nautilus_risk::engine::config::RiskEngineConfig;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

/// Nanoseconds between two orders, and orders the throttler lets pass in one.
const STEP: u64 = 1_000;
const RATE: RateLimit = RateLimit { limit: 100, interval_ns: 1 };

/// The engine and its order.
pub(crate) struct Peer {
    engine: RefCell<RiskEngine>,
    clock: Rc<RefCell<TestClock>>,
    order: OrderAny,
    sent: Rc<Cell<u64>>,
    denied: Rc<Cell<u64>>,
}

fn account() -> AccountAny {
    let usdt = Currency::from("USDT");
    let balance = AccountBalance::new(Money::new(1e6, usdt), Money::new(0.0, usdt), Money::new(1e6, usdt));
    let id = AccountId::from("BINANCE-001");
    let start = UnixNanos::default();
    let state =
        AccountState::new(id, AccountType::Margin, vec![balance], Vec::new(), true, UUID4::new(), start, start, None);
    AccountAny::Margin(MarginAccount::new(state, true))
}

impl Peer {
    /// Everything an order passes, set up.
    pub(crate) fn new() -> Self {
        let (sent, denied) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let count = |into: &Rc<Cell<u64>>| {
            let into = Rc::clone(into);
            move || into.set(into.get() + 1)
        };
        let (on_sent, on_denied) = (count(&sent), count(&denied));
        msgbus::register_trading_command_endpoint(
            MessagingSwitchboard::exec_engine_queue_execute(),
            TypedIntoHandler::from(move |command| {
                black_box(&command);
                on_sent();
            }),
        );
        msgbus::register_order_event_endpoint(
            MessagingSwitchboard::exec_engine_process(),
            TypedIntoHandler::from(move |event| {
                black_box(&event);
                on_denied();
            }),
        );
        let instrument = InstrumentAny::CryptoPerpetual(crypto_perpetual_ethusdt());
        let (id, start) = (instrument.id(), UnixNanos::default());
        let order = OrderTestBuilder::new(OrderType::Limit)
            .instrument_id(id)
            .side(OrderSide::Buy)
            .price(Price::from("2999.99"))
            .quantity(Quantity::from("1.000"))
            .build();
        let quantity = Quantity::from("10.000");
        let quote =
            QuoteTick::new(id, Price::from("2999.99"), Price::from("3000.01"), quantity, quantity, start, start);
        let mut cache = Cache::new(None, None);
        cache.add_instrument(instrument).expect("an instrument");
        cache.add_account(account()).expect("an account");
        cache.add_quote(quote).expect("a quote");
        cache.add_order(order.clone(), None, None, false).expect("an order");
        let (cache, clock) = (Rc::new(RefCell::new(cache)), Rc::new(RefCell::new(TestClock::new())));
        let portfolio = Portfolio::new(Rc::clone(&cache), clock.clone(), None);
        let config = RiskEngineConfig { bypass: false, max_order_submit: RATE, ..RiskEngineConfig::default() };
        let engine = RefCell::new(RiskEngine::new(config, portfolio, clock.clone(), cache));
        Self { engine, clock, order, sent, denied }
    }

    fn command(&self) -> TradingCommand {
        let now = self.clock.borrow().timestamp_ns();
        let order = &self.order;
        TradingCommand::SubmitOrder(SubmitOrder::new(
            TraderId::from("KEEL-001"),
            Some(ClientId::from("BINANCE")),
            StrategyId::from("S-001"),
            order.instrument_id(),
            order.client_order_id(),
            order.init_event().clone(),
            None,
            None,
            None,
            UUID4::new(),
            now,
        ))
    }

    /// Builds the command and has it judged.
    pub(crate) fn judge(&self) {
        let next = UnixNanos::from(self.clock.borrow().timestamp_ns().as_u64() + STEP);
        self.clock.borrow_mut().advance_time(next, true);
        self.engine.borrow_mut().execute(self.command());
    }

    /// Builds the command alone.
    pub(crate) fn ask(&self) {
        black_box(self.command());
    }

    /// How many orders passed, and how many did not.
    pub(crate) fn answers(&self) -> (u64, u64) {
        (self.sent.get(), self.denied.get())
    }
}

//! nautilus' Rust BacktestEngine: deltas and trades through its data engine, cache, matching engine and message bus to a
//! strategy that is told of each. 64-bit prices, no log, no analysis at the end: kinder than what its wheels ship with.

use crate::tape::{Event, Seen, Touch};
use crate::{PATIENCE, QTY, TICK, TOLERANCE};
use nautilus_backtest::config::{BacktestEngineConfig, SimulatedVenueConfig};
use nautilus_backtest::engine::BacktestEngine;
use nautilus_common::actor::DataActor;
use nautilus_model::data::{BookOrder, Data, OrderBookDelta, OrderBookDeltas, OrderBookDeltas_API, TradeTick};
use nautilus_model::enums::{AccountType, AggressorSide, BookAction, BookType, OmsType, OrderSide, RecordFlag};
use nautilus_model::identifiers::{ClientOrderId, InstrumentId, Symbol, TradeId, Venue};
use nautilus_model::instruments::{CryptoPerpetual, InstrumentAny};
use nautilus_model::orders::Order;
use nautilus_model::types::{Currency, Money, Price, Quantity};
use nautilus_trading::nautilus_strategy;
use nautilus_trading::strategy::{Strategy, StrategyConfig, StrategyCore};
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Mutex};

fn id() -> InstrumentId {
    InstrumentId::from("BTCUSDT-LINEAR.BYBIT")
}

fn px(raw: i64) -> Price {
    Price::new(raw as f64 / 1e8, 1)
}

fn qty(raw: i64) -> Quantity {
    Quantity::new(raw as f64 / 1e8, 3)
}

/// The tape as its own data.
pub fn data(events: &[Event]) -> Vec<Data> {
    let one = |(at, event): (usize, &Event)| match event {
        Event::Trade { at: ts, px: price, qty: size, buy } => {
            let aggressor = if *buy { AggressorSide::Buyer } else { AggressorSide::Seller };
            let (ts, trade) = (u64::try_from(*ts).unwrap_or(0).into(), TradeId::from(at.to_string().as_str()));
            Data::Trade(TradeTick::new(id(), px(*price), qty(*size), aggressor, trade, ts, ts))
        }
        Event::Book { at: ts, snapshot, seq, bids, asks } => {
            let ts = u64::try_from(*ts).unwrap_or(0).into();
            let mut deltas = Vec::with_capacity(bids.len() + asks.len() + 1);
            if *snapshot {
                deltas.push(OrderBookDelta::clear(id(), *seq, ts, ts));
            }
            for (side, levels) in [(OrderSide::Buy, bids), (OrderSide::Sell, asks)] {
                for (price, size) in levels {
                    let action = match (*size, *snapshot) {
                        (0, _) => BookAction::Delete,
                        (_, true) => BookAction::Add,
                        _ => BookAction::Update,
                    };
                    let order = BookOrder::new(side, px(*price), qty(*size), 0);
                    deltas.push(OrderBookDelta::new(id(), action, order, 0, *seq, ts, ts));
                }
            }
            if let Some(last) = deltas.last_mut() {
                last.flags = RecordFlag::F_LAST as u8;
            }
            Data::Deltas(OrderBookDeltas_API::new(OrderBookDeltas::new(id(), deltas)))
        }
    };
    events.iter().enumerate().map(one).collect()
}

/// The same rule as the others': one order a side at the touch, moved when the touch went away from it.
struct Quoter {
    core: StrategyCore,
    quiet: [u64; 2],
    working: [Option<(ClientOrderId, Price)>; 2],
    placed: u64,
    seen: Seen,
    out: Arc<Mutex<(u64, Seen)>>,
}

nautilus_strategy!(Quoter);

impl Debug for Quoter {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Quoter")
    }
}

impl Quoter {
    fn touch(&self) -> Option<[(Price, Quantity); 2]> {
        let cache = self.cache();
        let book = cache.order_book(&id())?;
        let bid = (book.best_bid_price()?, book.best_bid_size()?);
        Some([bid, (book.best_ask_price()?, book.best_ask_size()?)])
    }

    fn quote(&mut self, now: u64, at: usize, side: OrderSide, best: Price) -> anyhow::Result<()> {
        if now < self.quiet[at] {
            return Ok(());
        }
        let working = self.working[at];
        let closed = working.is_some_and(|(order, _)| self.cache().order(&order).is_none_or(|order| order.is_closed()));
        match working.filter(|_| !closed) {
            Some((order, have)) if (have.as_f64() - best.as_f64()).abs() > TOLERANCE as f64 * TICK + 1e-9 => {
                self.cancel_order(order, None, None)?;
            }
            Some(_) => return Ok(()),
            None => {
                let size = Quantity::new(QTY, 3);
                let order = self.core.order_factory().limit(
                    id(),
                    side,
                    size,
                    best,
                    None,
                    None,
                    Some(true),
                    None,
                    None,
                    None,
                    None,
                    None,
                    None,
                    None,
                    None,
                    None,
                );
                self.working[at] = Some((order.client_order_id(), best));
                self.placed += 1;
                self.submit_order(order, None, None, None)?;
            }
        }
        self.quiet[at] = now + PATIENCE as u64;
        Ok(())
    }
}

impl DataActor for Quoter {
    fn on_start(&mut self) -> anyhow::Result<()> {
        self.subscribe_book_deltas(id(), BookType::L2_MBP, None, None, true, None);
        self.subscribe_trades(id(), None, None);
        Ok(())
    }

    fn on_book_deltas(&mut self, deltas: &OrderBookDeltas) -> anyhow::Result<()> {
        self.seen.books += 1;
        let Some([bid, ask]) = self.touch() else { return Ok(()) };
        let now = deltas.ts_event.as_u64();
        self.quote(now, 0, OrderSide::Buy, bid.0)?;
        self.quote(now, 1, OrderSide::Sell, ask.0)
    }

    fn on_trade(&mut self, _: &TradeTick) -> anyhow::Result<()> {
        self.seen.trades += 1;
        Ok(())
    }

    fn on_stop(&mut self) -> anyhow::Result<()> {
        let steps = |px: Price, qty: Quantity| ((px.as_f64() * 1e8).round() as i64, (qty.as_f64() * 1e8).round() as i64);
        let touch: Touch = self.touch().map_or_else(Touch::default, |both| both.map(|(px, qty)| steps(px, qty)));
        *self.out.lock().expect("one thread") = (self.placed, Seen { touch, ..self.seen });
        Ok(())
    }
}

/// An engine with the tape in it, and where it leaves what it saw.
pub fn prepare(data: Vec<Data>) -> anyhow::Result<(BacktestEngine, Arc<Mutex<(u64, Seen)>>)> {
    let config = BacktestEngineConfig::builder().bypass_logging(true).run_analysis(false).build();
    let mut engine = BacktestEngine::new(config)?;
    engine.add_venue(
        SimulatedVenueConfig::builder()
            .venue(Venue::from("BYBIT"))
            .oms_type(OmsType::Netting)
            .account_type(AccountType::Margin)
            .book_type(BookType::L2_MBP)
            .starting_balances(vec![Money::from("1_000_000 USDT")])
            .build(),
    )?;
    let instrument = CryptoPerpetual::new(
        id(),
        Symbol::from("BTCUSDT"),
        Currency::BTC(),
        Currency::USDT(),
        Currency::USDT(),
        false,
        1,
        3,
        Price::from("0.1"),
        Quantity::from("0.001"),
        None,
        None,
        Some(Quantity::from("1190.0")),
        Some(Quantity::from("0.001")),
        None,
        None,
        Some(Price::from("1999999.8")),
        Some(Price::from("0.1")),
        None,
        None,
        None,
        None,
        None,
        0.into(),
        0.into(),
    );
    engine.add_instrument(&InstrumentAny::CryptoPerpetual(instrument))?;
    let out = Arc::new(Mutex::new((0, Seen::default())));
    let core = StrategyCore::new(StrategyConfig::default());
    let (quiet, working, placed, seen) = ([0; 2], [None; 2], 0, Seen::default());
    engine.add_strategy(Quoter { core, quiet, working, placed, seen, out: Arc::clone(&out) })?;
    engine.add_data(data, None, true, false)?;
    engine.sort_data();
    Ok((engine, out))
}

//! Time on the public side: taped frames passed on, books and tickers published, silent sockets closed.

use super::engine::Engine;
use super::fault::Class;
use super::feed::{self, BOOKS, Print, REPEAT_MS, Stamp, TICKER_MS, book_topic};
use super::text::Obj;
use super::{Channel, Exchange, MarketSource, Output, notices, tape};
use keel_core::event::Side;
use keel_core::units::{Px, Qty};

/// Milliseconds between looks for silent sockets.
const IDLE_SCAN_MS: u64 = 30_000;
/// Milliseconds between priceLimit pushes.
const BAND_MS: u64 = 300;
/// Prints one publicTrade frame may hold; more go into the next.
const PRINTS_PER_FRAME: usize = 1_024;

impl Exchange {
    /// One recorded frame: to the engine, then verbatim to whoever subscribed its topic.
    pub(super) fn taped(&mut self, frame: &[u8]) {
        let Some(topic) = tape::topic(frame) else {
            self.stats.taped_bad += 1;
            return;
        };
        let symbol = topic.rsplit('.').next().and_then(|name| self.engine.symbol(name));
        let Some(symbol) = symbol else {
            self.stats.taped_bad += 1;
            return;
        };
        let now_ms = self.now_ms();
        if tape::apply(&mut self.engine, &mut self.feeds[symbol], symbol, topic, frame, now_ms) == tape::Taped::Bad {
            self.stats.taped_bad += 1;
            return;
        }
        self.stats.taped += 1;
        self.after_prices(symbol);
        let Some(set) = self.subscribers.get(topic) else { return };
        let book = topic.starts_with("orderbook");
        let delta = book && frame.windows(14).any(|w| w == b"\"type\":\"delta\"");
        let conns: Vec<u64> = set.iter().copied().collect();
        if delta && self.faults.loses(self.engine.specs[symbol].symbol()) {
            return;
        }
        let class = if book { Class::Book } else { Class::Other };
        for conn in conns {
            self.send_as(conn, class, frame.to_vec());
        }
    }

    /// Prices moved: whatever waits for a price looks again.
    pub(super) fn after_prices(&mut self, symbol: usize) {
        let now_ms = self.now_ms();
        self.engine.prices_moved(now_ms, symbol);
    }

    /// Milliseconds of the next thing that time alone makes due.
    pub(super) fn next_timer(&self) -> Option<u64> {
        let houses = self.houses.iter().flatten().map(super::house::House::due);
        let idle = (!self.conns.is_empty()).then_some(self.next_idle);
        let publics = (0..self.feeds.len()).flat_map(|symbol| self.next_publication(symbol));
        let funding = self.feeds.iter().map(|f| f.next_funding).filter(|at| *at > 0);
        let dead_men = self.dead_man.values().copied();
        houses
            .chain(self.next_notice())
            .chain(idle)
            .chain(publics)
            .chain(funding)
            .chain(dead_men)
            .chain(self.faults.next())
            .min()
    }

    fn next_publication(&self, symbol: usize) -> impl Iterator<Item = u64> {
        let (feed, name) = (&self.feeds[symbol], self.engine.specs[symbol].symbol());
        let ticker = (!feed.ticker_taped && self.subscribers.contains_key(&format!("tickers.{name}")))
            .then_some(feed.ticker_at + TICKER_MS);
        let books = BOOKS.into_iter().filter_map(|(stream, _, every)| {
            let mirror = feed.mirrors.get(&stream)?;
            if mirror.taped || !self.subscribers.contains_key(&book_topic(stream, name)) {
                return None;
            }
            match (self.engine.quotes[symbol].seq > mirror.seq, stream) {
                (true, _) => Some(mirror.pushed + every),
                (false, 1) => Some(mirror.pushed + REPEAT_MS),
                _ => None,
            }
        });
        let band = self.subscribers.contains_key(&format!("priceLimit.{name}")).then_some(feed.band_at + BAND_MS);
        let ticker = ticker.into_iter().chain(band).chain(self.next_kline(symbol));
        ticker.chain(books).collect::<Vec<_>>().into_iter()
    }

    /// Does what is due by now, in a fixed order.
    pub(super) fn tick(&mut self) {
        let now_ms = self.now_ms();
        for symbol in 0..self.feeds.len() {
            if let Some(mut house) = self.houses[symbol].take() {
                house.run(&mut self.engine, now_ms);
                self.houses[symbol] = Some(house);
                self.after_prices(symbol);
            }
        }
        self.sample(now_ms);
        self.fund(now_ms);
        self.bury(now_ms);
        self.flush();
        for (conn, leaves) in self.faults.due(now_ms) {
            self.leave(conn, leaves);
        }
        for symbol in 0..self.feeds.len() {
            self.publish_bands(symbol, now_ms);
            self.publish_klines(symbol, now_ms);
            self.publish_books(symbol, now_ms);
            self.publish_ticker(symbol, now_ms);
        }
        self.publish_notices(now_ms);
        if now_ms >= self.next_idle {
            self.next_idle = now_ms + IDLE_SCAN_MS;
            let silent = |c: &super::Conn| now_ms.saturating_sub(c.heard) > c.idle_ms;
            let gone: Vec<u64> = self.conns.iter().filter(|(_, c)| silent(c)).map(|(id, _)| *id).collect();
            for conn in gone {
                self.forget(conn);
                self.out.push_back(Output::Close { conn });
            }
        }
    }

    /// A private connection that armed the dead man's switch is gone: the time runs when it was the last one.
    pub(super) fn arm_dead_man(&mut self, gone: &super::Conn) {
        const TOPIC: &str = "dcp.future";
        let Some(account) = gone.account.filter(|_| gone.topics.contains(TOPIC)) else { return };
        let seconds = self.engine.accounts[account].dcp_seconds;
        let others = self.conns.values().any(|c| c.account == Some(account) && c.topics.contains(TOPIC));
        if seconds > 0 && !others {
            self.dead_man.insert(account, self.now_ms() + seconds * 1_000);
        }
    }

    fn bury(&mut self, now_ms: u64) {
        let due: Vec<usize> =
            self.dead_man.iter().filter(|(_, at)| **at <= now_ms).map(|(account, _)| *account).collect();
        for account in due {
            self.dead_man.remove(&account);
            let open: Vec<u64> = self.engine.accounts[account].open.iter().copied().collect();
            for id in open {
                self.engine.withdraw(now_ms, id, "CancelByDCP", "EC_PerCancelRequest");
            }
        }
    }

    fn publish_bands(&mut self, symbol: usize, now_ms: u64) {
        if now_ms < self.feeds[symbol].band_at + BAND_MS {
            return;
        }
        self.feeds[symbol].band_at = now_ms; // also when nobody listens: names are not written for nothing
        let spec = &self.engine.specs[symbol];
        let topic = format!("priceLimit.{}", spec.symbol());
        if !self.subscribers.contains_key(&topic) {
            return;
        }
        let (highest, lowest) = self.engine.band(symbol);
        let mut out = String::new();
        Obj::new(&mut out)
            .s("topic", &topic)
            .with("data", |out| {
                Obj::new(out)
                    .s("symbol", spec.symbol())
                    .f("buyLmt", highest.raw(), spec.price_places)
                    .f("sellLmt", lowest.raw(), spec.price_places)
                    .end();
            })
            .u("ts", now_ms)
            .end();
        self.broadcast(&topic, &out);
    }

    fn publish_books(&mut self, symbol: usize, now_ms: u64) {
        for (stream, depth, every) in BOOKS {
            let Some(mirror) = self.feeds[symbol].mirrors.get_mut(&stream).filter(|m| !m.taped) else { continue };
            let seq = self.engine.quotes[symbol].seq;
            let moved = seq > mirror.seq && now_ms >= mirror.pushed + every;
            let repeat = stream == 1 && now_ms >= mirror.pushed + REPEAT_MS;
            if !moved && !repeat {
                continue;
            }
            let topic = book_topic(stream, self.engine.specs[symbol].symbol());
            if !self.subscribers.contains_key(&topic) {
                continue;
            }
            let book = &self.engine.books[symbol];
            let (bids, asks) = (feed::levels(book, Side::Buy, depth), feed::levels(book, Side::Sell, depth));
            let (b, a) =
                (feed::diff(&mut mirror.levels, Side::Buy, &bids), feed::diff(&mut mirror.levels, Side::Sell, &asks));
            mirror.pushed = now_ms;
            mirror.seq = seq;
            let changed = !(b.is_empty() && a.is_empty());
            if !changed && !repeat {
                continue;
            }
            if changed {
                (mirror.u, mirror.cts) = (mirror.u + 1, now_ms);
            }
            let stamp = Stamp { depth: stream, u: mirror.u, seq, ts: now_ms, cts: mirror.cts };
            let spec = &self.engine.specs[symbol];
            let frame = match stream {
                1 => feed::book_frame(spec, &stamp, true, &bids, &asks),
                _ => feed::book_frame(spec, &stamp, false, &b, &a),
            };
            if stream != 1 && self.faults.loses(self.engine.specs[symbol].symbol()) {
                continue;
            }
            self.broadcast(&topic, &frame);
        }
    }

    fn publish_ticker(&mut self, symbol: usize, now_ms: u64) {
        let feed = &mut self.feeds[symbol];
        if feed.ticker_taped || now_ms < feed.ticker_at + TICKER_MS {
            return;
        }
        feed.ticker_at = now_ms;
        let topic = format!("tickers.{}", self.engine.specs[symbol].symbol());
        if !self.subscribers.contains_key(&topic) {
            return;
        }
        let fields = self.ticker_fields(symbol);
        let full = self.feeds[symbol].ticker.is_empty();
        let frame = self.feeds[symbol].ticker_frame(&fields, full, self.engine.quotes[symbol].seq, now_ms);
        let feed = &mut self.feeds[symbol];
        (feed.ticker, feed.ticker_at) = (fields, now_ms);
        if let Some(frame) = frame {
            self.broadcast(&topic, &frame);
        }
    }

    pub(super) fn ticker_fields(&self, symbol: usize) -> Vec<(&'static str, String)> {
        let engine = &self.engine;
        let (open, _, _) = engine.open_interest(symbol);
        self.feeds[symbol].ticker_fields(&engine.specs[symbol], &engine.quotes[symbol], &engine.books[symbol], open)
    }

    pub(super) fn broadcast(&mut self, topic: &str, frame: &str) {
        let Some(set) = self.subscribers.get(topic) else { return };
        for conn in set.iter().copied().collect::<Vec<_>>() {
            self.send(conn, frame.to_owned());
        }
    }

    /// What a new subscriber of a public topic gets at once.
    pub(super) fn first_frame(&mut self, conn: u64, topic: &str) {
        let mut parts = topic.split('.');
        let (kind, last) = (parts.next().unwrap_or(""), topic.rsplit('.').next().unwrap_or(""));
        let Some(symbol) = self.engine.symbol(last) else { return self.first_notice(conn, topic) };
        match kind {
            "orderbook" => {
                let stream = parts.next().and_then(feed::book_stream).unwrap_or((1, 1));
                if let Some(frame) = self.book_snapshot(symbol, stream) {
                    self.send(conn, frame);
                }
            }
            "tickers" if !self.engine.quotes[symbol].mark.is_zero() => {
                let (fields, now_ms) = (self.ticker_fields(symbol), self.now_ms());
                let seq = self.engine.quotes[symbol].seq;
                let frame = self.feeds[symbol].ticker_frame(&fields, true, seq, now_ms);
                let feed = &mut self.feeds[symbol];
                if feed.ticker.is_empty() {
                    (feed.ticker, feed.ticker_at) = (fields, now_ms);
                }
                if let Some(frame) = frame {
                    self.send(conn, frame);
                }
            }
            _ => {}
        }
    }

    fn book_snapshot(&mut self, symbol: usize, (stream, depth): (usize, usize)) -> Option<String> {
        let now_ms = self.now_ms();
        let (engine, feed) = (&self.engine, &mut self.feeds[symbol]);
        let spec = &engine.specs[symbol];
        if let Some(mirror) = feed.mirrors.get(&stream).filter(|m| m.taped || m.u > 0) {
            let side = |side| mirror.levels.walk(side).map(|(px, q)| (px, *q)).collect::<Vec<_>>();
            let stamp = Stamp { depth: stream, u: mirror.u, seq: mirror.seq, ts: now_ms, cts: mirror.cts };
            return Some(feed::book_frame(spec, &stamp, true, &side(Side::Buy), &side(Side::Sell)));
        }
        let book = &engine.books[symbol];
        let (bids, asks) = (feed::levels(book, Side::Buy, depth), feed::levels(book, Side::Sell, depth));
        if bids.is_empty() && asks.is_empty() {
            return None;
        }
        let mirror = feed.mirrors.entry(stream).or_default();
        feed::diff(&mut mirror.levels, Side::Buy, &bids);
        feed::diff(&mut mirror.levels, Side::Sell, &asks);
        mirror.u = 10_000 * (depth + stream) as u64 + 1;
        (mirror.seq, mirror.cts, mirror.pushed) = (engine.quotes[symbol].seq, now_ms, now_ms);
        let stamp = Stamp { depth: stream, u: mirror.u, seq: mirror.seq, ts: now_ms, cts: now_ms };
        Some(feed::book_frame(spec, &stamp, true, &bids, &asks))
    }

    /// A trade between accounts: counted, and kept for the public stream.
    pub(super) fn print(&mut self, symbol: usize, side: Side, px: Px, qty: Qty) {
        let (now_ms, messages) = (self.now_ms(), self.messages + 1);
        self.messages = messages;
        let id = self.engine.uuid(messages, 3);
        let quote = &mut self.engine.quotes[symbol];
        let feed = &mut self.feeds[symbol];
        let direction = feed.count(quote.last, now_ms, px, qty);
        quote.last = px;
        let print = Print { time: now_ms, side, px, qty, direction, id, seq: quote.seq };
        feed.keep(print.clone());
        if self.sources[symbol] == MarketSource::Generated {
            feed.pending.push(print);
        }
    }

    pub(super) fn publish_prints(&mut self) {
        let now_ms = self.now_ms();
        for symbol in 0..self.feeds.len() {
            if self.feeds[symbol].pending.is_empty() {
                continue;
            }
            let prints = std::mem::take(&mut self.feeds[symbol].pending);
            let spec = &self.engine.specs[symbol];
            let topic = format!("publicTrade.{}", spec.symbol());
            if !self.subscribers.contains_key(&topic) {
                continue;
            }
            let frames: Vec<String> =
                prints.chunks(PRINTS_PER_FRAME).map(|chunk| feed::trade_frame(spec, now_ms, chunk)).collect();
            for frame in frames {
                self.broadcast(&topic, &frame);
            }
        }
    }

    pub(super) fn liquidated(&mut self, symbol: usize, side: Side, qty: Qty, px: Px) {
        let spec = &self.engine.specs[symbol];
        let topic = format!("allLiquidation.{}", spec.symbol());
        let now_ms = self.now_ms();
        let mut out = String::new();
        Obj::new(&mut out)
            .s("topic", &topic)
            .s("type", "snapshot")
            .u("ts", now_ms)
            .with("data", |out| {
                out.push('[');
                Obj::new(out)
                    .u("T", now_ms)
                    .s("s", spec.symbol())
                    .s("S", super::order::side_text(side))
                    .f("v", qty.raw(), spec.qty_places)
                    .f("p", px.raw(), spec.price_places)
                    .end();
                out.push(']');
            })
            .end();
        self.broadcast(&topic, &out);
    }

    /// Is this a topic the channel serves?
    pub(super) fn topic_exists(engine: &Engine, channel: Channel, topic: &str) -> bool {
        let symbol = |name: &str| engine.symbol(name).is_some();
        let parts: Vec<&str> = topic.split('.').collect();
        match (channel, parts.as_slice()) {
            (Channel::Public, ["orderbook", _, name]) => {
                let known = |number: usize| feed::book_topic(number, name) == topic;
                BOOKS.iter().any(|(number, _, _)| known(*number)) && symbol(name)
            }
            (Channel::Public, ["publicTrade" | "tickers" | "allLiquidation" | "priceLimit", name]) => symbol(name),
            (Channel::Public, ["kline", interval, name]) => super::bars::INTERVALS.contains(interval) && symbol(name),
            (Channel::Public, _) if topic == notices::INSURANCE || topic == notices::ALERTS => true,
            (Channel::Status, _) => topic == notices::STATUS,
            (Channel::Private, ["order" | "execution" | "position" | "wallet" | "greeks"]) => true,
            (Channel::Private, ["order" | "execution" | "position", "linear"]) => true,
            (Channel::Private, ["execution", "fast"] | ["execution", "fast", "linear"]) => true,
            (Channel::Private, ["dcp", "future" | "spot" | "option"]) => true,
            _ => false,
        }
    }
}

//! What an administrator may say while the exchange runs: faults, and the affairs of accounts and symbols.
//!
//! One line, one command: a verb and `key=value` words. The command line, the scenario file and `POST /sim/command` all
//! end here. Faults stand in `fault.rs`; the rest:
//!
//! | line | what happens |
//! |---|---|
//! | `account key=K secret=S [wallet=W]` | a new account |
//! | `deposit key=K amount=A [coin=C] [chain=N] [address=T] [from=F] [tag=T] [tx=H] [member=UID] [state=S]` | money in; of another customer with `member` |
//! | `withdraw key=K amount=A [coin=C] [chain=N] [address=T] [tag=T] [tx=H] [fee=F] [member=UID] [state=S]` | money out |
//! | `settle key=K to=done\|failed` | the oldest movement that is under way ends |
//! | `transfer key=K amount=A to=FUND\|UNIFIED [coin=C]`, `send key=K to=L amount=A [coin=C]` | between accounts of one owner |
//! | `convert key=K from=C amount=A to=D got=B` | one coin for another |
//! | `address key=K address=T [coin=C] [chain=N] [tag=T] [remark=R]` | a line of the address book |
//! | `fees key=K taker=R maker=R`, `limit key=K per_s=N` | fee rates, order rate limit |
//! | `kyc key=K [level=L] [region=R]`, `vip key=K level=L` | what `query-api` tells |
//! | `rights key=K [read_only=B] [trade=B] [withdraw=B] [transfer=B] [days=N]`, `bind key=K ip=A` | permissions, days to live, address; `*` is none |
//! | `halt symbol=S`, `resume symbol=S` | orders answer 110066, or trade again |
//! | `status symbol=S to=Trading\|PreLaunch\|Delivering\|Closed` | listing and delisting |
//! | `instrument symbol=S [tick=T] [step=Q] [min_qty=Q] [max_qty=Q]` | filters change |
//! | `mark symbol=S px=P [index=I]` | mark and index, until the market moves them |
//! | `funding symbol=S [rate=R]` | funding is settled now |
//! | `flatten key=K symbol=S per_cent=N` | the venue closes that part of the position |
//! | `liquidate key=K`, `adl key=K symbol=S qty=Q` | liquidation, deleveraging |
//! | `maintenance on=B` | system status says so over REST and WebSocket, orders answer 10016 |

use super::account::Account;
use super::config::AccountConfig;
use super::conn::Channel;
use super::spec::SymbolStatus;
use super::{Exchange, feed};
use keel_core::event::Side;
use keel_core::units::{Notional, Px, Qty, parse_decimal};

/// USDT one account may hold: with the highest leverage its positions still fit the units. More is refused.
pub(super) const MAX_WALLET: Notional = Notional::whole(100_000_000);
/// Accounts one exchange may have; one more is refused.
const MAX_ACCOUNTS: usize = 10_000;

/// A verb and its words.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    pub(super) verb: &'a str,
    words: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let mut parts = text.split_whitespace();
        let verb = parts.next().ok_or("an empty command")?;
        let words = parts
            .map(|word| word.split_once('=').ok_or_else(|| format!("expected key=value, got {word:?}")))
            .collect::<Result<_, _>>()?;
        Ok(Self { verb, words })
    }

    pub(super) fn find(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, String> {
        self.find(key).ok_or_else(|| format!("{} needs {key}=", self.verb))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.find(key).map(|v| v.parse().map_err(|_| format!("{key}={v} is no number"))).transpose()
    }

    pub(super) fn needed(&self, key: &str) -> Result<u64, String> {
        self.number(key)?.ok_or_else(|| format!("{} needs {key}=", self.verb))
    }

    pub(super) fn signed(&self, key: &str) -> Result<i64, String> {
        let text = self.text(key)?;
        text.parse().map_err(|_| format!("{key}={text} is no number"))
    }

    pub(super) fn raw(&self, key: &str) -> Result<Option<i64>, String> {
        let parse = |v: &str| parse_decimal(v.as_bytes()).map_err(|_| format!("{key}={v} is no decimal"));
        self.find(key).map(parse).transpose()
    }

    pub(super) fn decimal(&self, key: &str) -> Result<i64, String> {
        self.raw(key)?.ok_or_else(|| format!("{} needs {key}=", self.verb))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, String> {
        match self.find(key) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!("{key}={other}: say true or false")),
        }
    }

    pub(super) fn channel(&self) -> Result<Channel, String> {
        match self.text("channel")? {
            "public" => Ok(Channel::Public),
            "private" => Ok(Channel::Private),
            "trade" => Ok(Channel::Trade),
            "status" => Ok(Channel::Status),
            other => Err(format!("channel={other}: say public, private, trade or status")),
        }
    }
}

impl Exchange {
    /// Obeys one administrator's line now. The error says what was wrong with it; nothing changed then.
    pub fn command(&mut self, now: keel_core::units::Wall, text: &str) -> Result<(), String> {
        self.advance(now);
        let result = self.obey(text);
        self.flush();
        result
    }

    /// The same, from within an input.
    pub(super) fn obey(&mut self, text: &str) -> Result<(), String> {
        let line = Line::parse(text)?;
        let now_ms = self.now_ms();
        if let Some(result) = self.faults.switch(&line, now_ms) {
            return result;
        }
        match line.verb {
            "account" => self.add_account(&line),
            "deposit" | "withdraw" | "settle" | "transfer" | "send" | "convert" | "address" => self.move_money(&line),
            "fees" | "limit" | "kyc" | "vip" | "rights" | "bind" => self.set_account(&line),
            "halt" | "resume" => {
                let symbol = self.symbol_word(&line)?;
                self.engine.specs[symbol].halted = line.verb == "halt";
                Ok(())
            }
            "status" | "instrument" => self.set_symbol(&line),
            "mark" => {
                let symbol = self.symbol_word(&line)?;
                let px = Px::from_raw(line.decimal("px")?);
                if px <= Px::ZERO || px > Px::MAX {
                    return Err("px must be positive".to_owned());
                }
                let index = Px::from_raw(line.raw("index")?.unwrap_or(px.raw()));
                if index <= Px::ZERO || index > Px::MAX {
                    return Err("index must be positive".to_owned());
                }
                (self.engine.quotes[symbol].mark, self.engine.quotes[symbol].index) = (px, index);
                self.after_prices(symbol);
                Ok(())
            }
            "funding" => {
                let symbol = self.symbol_word(&line)?;
                if let Some(rate) = line.raw("rate")? {
                    let cap = self.engine.specs[symbol].funding_cap;
                    self.engine.quotes[symbol].funding = rate.clamp(-cap, cap);
                }
                self.settle(symbol, now_ms);
                Ok(())
            }
            "flatten" | "liquidate" | "adl" => self.intervene(&line),
            "maintenance" => {
                let on = line.flag("on")?.ok_or("maintenance needs on=true or on=false")?;
                self.maintain(on);
                Ok(())
            }
            "hangup" => {
                let channel = line.channel()?;
                let gone: Vec<u64> =
                    self.conns.iter().filter(|(_, c)| c.channel == channel).map(|(id, _)| *id).collect();
                for conn in gone {
                    self.forget(conn);
                    self.out.push_back(super::Output::Close { conn });
                }
                Ok(())
            }
            "restart" | "crossed" => {
                let symbol = self.symbol_word(&line)?;
                self.spoil_book(symbol, line.verb == "crossed");
                Ok(())
            }
            other => Err(format!("there is no command {other:?}")),
        }
    }

    fn symbol_word(&self, line: &Line<'_>) -> Result<usize, String> {
        let name = line.text("symbol")?;
        self.engine.symbol(name).ok_or_else(|| format!("{name} does not trade here"))
    }

    pub(super) fn account_arg(&self, line: &Line<'_>) -> Result<usize, String> {
        let key = line.text("key")?;
        self.key(key).map(|(account, _)| account).ok_or_else(|| format!("no account has the key {key}"))
    }

    fn add_account(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (key, secret) = (line.text("key")?, line.text("secret")?);
        let wallet = Notional::from_raw(line.raw("wallet")?.unwrap_or(0));
        if wallet < Notional::ZERO || wallet > MAX_WALLET {
            return Err("wallet must be between 0 and 100,000,000".to_owned());
        }
        if self.key(key).is_some() {
            return Err(format!("the key {key} exists"));
        }
        if self.engine.accounts.len() >= MAX_ACCOUNTS {
            return Err(format!("{MAX_ACCOUNTS} accounts are enough"));
        }
        let uid = 900_000_001 + self.config.accounts.len() as u64;
        self.config.accounts.push(AccountConfig::new(key, secret, wallet));
        self.clients.push(self.engine.accounts.len());
        let symbols = self.engine.specs.len();
        self.engine.accounts.push(Account::new(uid, wallet, symbols, false));
        Ok(())
    }

    fn set_account(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (account, key) = self.key(line.text("key")?).ok_or("no account has that key")?;
        let client = self.client(account);
        match line.verb {
            "fees" => {
                let (taker, maker) = (line.decimal("taker")?, line.decimal("maker")?);
                if taker.abs() > 1_000_000 || maker.abs() > 1_000_000 {
                    return Err("a fee beyond one per cent".to_owned());
                }
                self.engine.accounts[account].fees = Some((taker, maker));
            }
            "limit" => {
                let per_s = u32::try_from(line.needed("per_s")?).map_err(|_| "per_s is too large")?;
                self.config.accounts[client].order_limit = per_s;
            }
            "kyc" => {
                let (level, region) = (line.find("level"), line.find("region"));
                if level.is_none() && region.is_none() {
                    return Err("kyc needs level= or region=".to_owned());
                }
                let of = &mut self.config.accounts[client];
                of.kyc = level.map_or_else(|| of.kyc.clone(), str::to_owned);
                of.region = region.map_or_else(|| of.region.clone(), str::to_owned);
            }
            "vip" => self.config.accounts[client].vip = line.text("level")?.to_owned(),
            "bind" => {
                let ip = line.text("ip")?;
                if ip == "*" {
                    self.config.accounts[client].keys[key].ips.clear();
                    return Ok(());
                }
                let _: core::net::IpAddr = ip.parse().map_err(|_| format!("{ip} is no address"))?;
                self.config.accounts[client].keys[key].ips = vec![ip.to_owned()];
            }
            _ => {
                let (read_only, trade, withdraw) =
                    (line.flag("read_only")?, line.flag("trade")?, line.flag("withdraw")?);
                let (transfer, days) = (line.flag("transfer")?, line.number("days")?);
                let days = days.map(|days| u16::try_from(days).map_err(|_| "days is too large")).transpose()?;
                let of = &mut self.config.accounts[client].keys[key];
                (of.transfer, of.days) = (transfer.unwrap_or(of.transfer), days.unwrap_or(of.days));
                of.read_only = read_only.unwrap_or(of.read_only);
                of.trade = trade.unwrap_or(of.trade);
                of.withdraw = withdraw.unwrap_or(of.withdraw);
            }
        }
        Ok(())
    }

    fn set_symbol(&mut self, line: &Line<'_>) -> Result<(), String> {
        let symbol = self.symbol_word(line)?;
        let spec = &mut self.engine.specs[symbol];
        if line.verb == "status" {
            spec.status = match line.text("to")? {
                "Trading" => SymbolStatus::Trading,
                "PreLaunch" => SymbolStatus::PreLaunch,
                "Delivering" => SymbolStatus::Delivering,
                "Closed" => SymbolStatus::Closed,
                other => return Err(format!("there is no status {other:?}")),
            };
            if spec.status == SymbolStatus::Closed {
                self.delist(symbol);
            }
            return Ok(());
        }
        let mut next = spec.instrument;
        next.tick = line.raw("tick")?.map_or(next.tick, Px::from_raw);
        next.step = line.raw("step")?.map_or(next.step, Qty::from_raw);
        next.min_qty = line.raw("min_qty")?.map_or(next.min_qty, Qty::from_raw);
        next.max_qty = line.raw("max_qty")?.map_or(next.max_qty, Qty::from_raw);
        if next.tick > Px::ZERO {
            next.min_px = next.min_px.ceil_to(next.tick).max(next.tick);
        }
        next.max_market_qty = next.max_market_qty.min(next.max_qty);
        next.check().map_err(|why| format!("the numbers do not fit: {why:?}"))?;
        spec.instrument = next;
        let places = |raw: i64| (0..=8).find(|p| raw % 10i64.pow(8 - p) == 0).unwrap_or(8);
        (spec.price_places, spec.qty_places) =
            (spec.price_places.max(places(next.tick.raw())), places(next.step.raw()));
        Ok(())
    }

    fn delist(&mut self, symbol: usize) {
        let now_ms = self.now_ms();
        let open: Vec<u64> = self.engine.orders.values().filter(|o| o.symbol == symbol).map(|o| o.id).collect();
        for id in open {
            self.engine.withdraw(now_ms, id, "CancelBySettle", "EC_InvalidSymbolStatus");
        }
        self.houses[symbol] = None;
    }

    fn intervene(&mut self, line: &Line<'_>) -> Result<(), String> {
        let (account, now_ms) = (self.account_arg(line)?, self.now_ms());
        if line.verb == "liquidate" {
            self.engine.liquidate(now_ms, account, true);
            return Ok(());
        }
        let symbol = self.symbol_word(line)?;
        let leg = |idx: u8| (idx, self.engine.accounts[account].position(symbol, idx).size);
        let Some((idx, size)) = [leg(0), leg(1), leg(2)].into_iter().find(|(_, size)| !size.is_zero()) else {
            return Err("there is no position".to_owned());
        };
        let step = self.engine.specs[symbol].instrument.step;
        if line.verb == "flatten" {
            let per_cent = i64::try_from(line.needed("per_cent")?.min(100)).unwrap_or(100);
            let part = Qty::from_raw(size.abs().raw() / 100 * per_cent).floor_to(step).min(size.abs());
            let signed = if size.raw() > 0 { part } else { -part };
            if !part.is_zero() {
                self.engine.close(now_ms, account, symbol, idx, signed, ("CreateByClosing", ""));
            }
        } else {
            let qty = Qty::from_raw(line.decimal("qty")?).floor_to(step).min(size.abs());
            let side = if size.raw() > 0 { Side::Sell } else { Side::Buy };
            if qty > Qty::ZERO {
                self.engine.deleverage(now_ms, account, symbol, idx, side, qty);
            }
        }
        Ok(())
    }

    /// A restart snapshot with `u=1`, or a delta whose bid stands above the ask, to every book subscriber.
    fn spoil_book(&mut self, symbol: usize, crossed: bool) {
        let now_ms = self.now_ms();
        for (stream, depth, _) in feed::BOOKS {
            let (engine, feed) = (&self.engine, &mut self.feeds[symbol]);
            let (spec, book) = (&engine.specs[symbol], &engine.books[symbol]);
            let topic = feed::book_topic(stream, spec.symbol());
            let (bids, asks) = (feed::levels(book, Side::Buy, depth), feed::levels(book, Side::Sell, depth));
            let (seq, tick) = (engine.quotes[symbol].seq, spec.instrument.tick);
            let Some(mirror) = feed.mirrors.get_mut(&stream).filter(|_| self.subscribers.contains_key(&topic)) else {
                continue;
            };
            mirror.u = if crossed { mirror.u + 1 } else { 1 };
            let stamp = feed::Stamp { depth: stream, u: mirror.u, seq, ts: now_ms, cts: now_ms };
            let frame = match (crossed, asks.first()) {
                (true, Some((ask, qty))) => feed::book_frame(spec, &stamp, stream == 1, &[(*ask + tick, *qty)], &[]),
                _ => {
                    feed::diff(&mut mirror.levels, Side::Buy, &bids);
                    feed::diff(&mut mirror.levels, Side::Sell, &asks);
                    feed::book_frame(spec, &stamp, true, &bids, &asks)
                }
            };
            self.broadcast(&topic, &frame);
        }
    }
}

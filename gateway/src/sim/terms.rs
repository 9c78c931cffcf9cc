//! The terms an account trades on: leverage, margin mode, hedge mode, isolated margin.
//!
//! In: requests to change them. Out: the change, or the venue's refusal before anything changed.

use super::Exchange;
use super::codes::{self, Refusal};
use super::engine::Engine;
use super::margin::initial;
use super::request::{self, Body, number, symbol, text};
use super::text::{Obj, decimal};
use super::{account::Position, rows};
use keel_core::event::Side;
use keel_core::units::{Notional, parse_decimal};

impl Engine {
    /// Moves an account to isolated or to cross margin. Positions take the margin their leverage asks for along.
    pub(super) fn set_isolated(&mut self, account: usize, isolated: bool) -> Result<(), Refusal> {
        let legs = self.accounts[account].positions.iter().filter(|(_, p)| !p.size.is_zero());
        let margins: Vec<((usize, u8), Notional)> =
            legs.map(|(leg, p)| (*leg, self.entry_margin(account, leg.0, p, None))).collect();
        let held: Notional = margins.iter().map(|(_, margin)| *margin).sum();
        let totals = self.totals(account);
        let short = isolated && held + totals.order_im > totals.wallet;
        let sick = !isolated && totals.position_mm >= totals.equity() && totals.position_mm > Notional::ZERO;
        if short || sick {
            return Err(Refusal::reasons("3400002", "Account available balance is insufficient for the margin mode"));
        }
        // ---- nothing has changed above, nothing fails below
        let of = &mut self.accounts[account];
        of.isolated = isolated;
        for p in of.positions.values_mut() {
            p.margin = Notional::ZERO;
        }
        for (leg, margin) in margins.into_iter().filter(|_| isolated) {
            if let Some(p) = of.positions.get_mut(&leg) {
                p.margin = margin;
            }
        }
        Ok(())
    }

    /// Margin of what is open, at its entry value and at a leverage (default: the one that is set).
    fn entry_margin(&self, account: usize, symbol: usize, p: &Position, leverage: Option<[u32; 2]>) -> Notional {
        let short = p.size.raw() < 0;
        let (taker, _) = self.rates(account, symbol);
        let leverage = leverage.unwrap_or(self.accounts[account].leverage[symbol])[usize::from(short)];
        initial(p.cost.abs(), leverage, taker, short)
    }

    /// Sets buy and sell leverage, in hundredths.
    pub(super) fn set_leverage(&mut self, account: usize, symbol: usize, pair: [u32; 2]) -> Result<(), Refusal> {
        let of = &self.accounts[account];
        let apart = of.isolated && of.hedge[symbol];
        if !apart && pair[0] != pair[1] {
            return Err(Refusal::params("buy leverage not equal sell leverage"));
        }
        for (side, leverage) in [Side::Buy, Side::Sell].into_iter().zip(pair) {
            let value = self.open_value(account, symbol, side);
            if leverage > self.specs[symbol].tier(value).max_leverage {
                return Err(codes::LEVERAGE_HIGH);
            }
        }
        if of.leverage[symbol] == pair {
            return Err(codes::LEVERAGE_SAME);
        }
        let margins = [0, 1, 2].map(|idx| self.accounts[account].position(symbol, idx).margin);
        let before = self.accounts[account].leverage[symbol];
        self.accounts[account].leverage[symbol] = pair;
        if self.accounts[account].isolated {
            for idx in 0..=2 {
                let p = self.accounts[account].position(symbol, idx);
                let margin = self.entry_margin(account, symbol, &p, None);
                if let Some(p) = self.accounts[account].positions.get_mut(&(symbol, idx)) {
                    p.margin = margin;
                }
            }
        }
        let totals = self.totals(account);
        let refusal = if totals.initial() > totals.backing() {
            Some(codes::NO_MARGIN)
        } else {
            (0..=2).any(|idx| self.is_sick(account, symbol, idx)).then_some(codes::WOULD_LIQUIDATE)
        };
        if let Some(refusal) = refusal {
            let of = &mut self.accounts[account];
            of.leverage[symbol] = before;
            for (idx, margin) in (0u8..).zip(margins) {
                if let Some(p) = of.positions.get_mut(&(symbol, idx)) {
                    p.margin = margin;
                }
            }
            return Err(refusal);
        }
        Ok(())
    }

    /// Adds to (or takes from) the margin of an isolated position.
    pub(super) fn add_margin(
        &mut self,
        account: usize,
        (symbol, idx): (usize, u8),
        amount: Notional,
    ) -> Result<(), Refusal> {
        if !self.accounts[account].isolated {
            return Err(codes::IS_CROSS);
        }
        let p = self.accounts[account].position(symbol, idx);
        if p.size.is_zero() {
            return Err(codes::NO_POSITION);
        }
        if amount.is_zero() {
            return Err(codes::MARGIN_SAME);
        }
        if amount > self.totals(account).available() {
            return Err(codes::NO_MARGIN_TO_ADD);
        }
        let floor =
            self.entry_margin(account, symbol, &p, None) - p.unrealised(self.quotes[symbol].mark).min(Notional::ZERO);
        if amount < Notional::ZERO && p.margin + amount < floor {
            return Err(codes::MARGIN_TOO_LOW);
        }
        // ---- nothing has changed above, nothing fails below
        if let Some(p) = self.accounts[account].positions.get_mut(&(symbol, idx)) {
            p.margin += amount;
        }
        self.after(account, symbol, idx, true);
        Ok(())
    }
}

impl Exchange {
    pub(super) fn set_margin_mode(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        let isolated = match text(body, "setMarginMode").as_str() {
            "REGULAR_MARGIN" => false,
            "ISOLATED_MARGIN" => true,
            // It nets options against futures; where only perpetuals trade there is nothing to net.
            "PORTFOLIO_MARGIN" => {
                return Err(Refusal::reasons("3400000", "Portfolio margin is not available for this account"));
            }
            _ => return Err(Refusal::params("setMarginMode invalid")),
        };
        if self.engine.accounts[account].isolated != isolated {
            self.engine.set_isolated(account, isolated)?;
        }
        Ok(r#"{"reasons":[]}"#.to_owned())
    }

    pub(super) fn set_leverage(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        request::linear(body)?;
        let symbol = symbol(&self.engine, body)?;
        let read = |key: &str| {
            let raw = parse_decimal(text(body, key).as_bytes()).ok();
            let hundredths = raw.and_then(|raw| u32::try_from(raw / 1_000_000).ok()).filter(|h| *h >= 100);
            hundredths.ok_or(Refusal::params("leverage invalid"))
        };
        let pair = [read("buyLeverage")?, read("sellLeverage")?];
        self.engine.set_leverage(account, symbol, pair)?;
        for idx in if self.engine.accounts[account].hedge[symbol] { vec![1, 2] } else { vec![0] } {
            self.engine.after(account, symbol, idx, true);
        }
        Ok("{}".to_owned())
    }

    pub(super) fn switch_mode(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        request::linear(body)?;
        let (name, coin) = (text(body, "symbol"), text(body, "coin"));
        let hedge = match text(body, "mode").as_str() {
            "0" => false,
            "3" => true,
            _ => return Err(Refusal::params("mode invalid")),
        };
        let symbols: Vec<usize> = match (name.as_str(), coin.as_str()) {
            ("", "USDT") => (0..self.engine.specs.len()).collect(),
            ("", _) => return Err(Refusal::params("symbol or coin is required")),
            (name, _) => vec![self.engine.symbol(name).ok_or(codes::BAD_SYMBOL)?],
        };
        let of = &self.engine.accounts[account];
        if symbols.iter().all(|s| of.hedge[*s] == hedge) {
            return Err(codes::MODE_SAME);
        }
        if of.positions.iter().any(|((s, _), p)| symbols.contains(s) && !p.size.is_zero()) {
            return Err(codes::HAS_POSITION);
        }
        if of.open.iter().filter_map(|id| self.engine.orders.get(id)).any(|o| symbols.contains(&o.symbol)) {
            return Err(codes::HAS_ORDERS);
        }
        for symbol in symbols {
            let of = &mut self.engine.accounts[account];
            of.hedge[symbol] = hedge;
            of.leverage[symbol][1] = of.leverage[symbol][0];
        }
        Ok("{}".to_owned())
    }

    fn leg(&self, body: &Body) -> Result<(usize, u8), Refusal> {
        request::linear(body)?;
        let idx = number(body, "positionIdx")?.unwrap_or(0);
        Ok((symbol(&self.engine, body)?, u8::try_from(idx).map_err(|_| codes::IDX_MISMATCH)?))
    }

    /// `position/add-margin`: to add `10`, to reduce `-10`.
    pub(super) fn add_margin(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        let leg = self.leg(body)?;
        let amount = parse_decimal(text(body, "margin").as_bytes()).map_err(|_| Refusal::params("margin invalid"))?;
        if amount % 10_000 != 0 {
            return Err(Refusal::params("margin invalid"));
        }
        self.engine.add_margin(account, leg, Notional::from_raw(amount))?;
        let (mut out, p) = (String::new(), self.engine.accounts[account].position(leg.0, leg.1));
        rows::position(&mut out, &self.engine, account, leg.0, leg.1, &p, false);
        out.insert_str(1, r#""category":"linear","#);
        Ok(out)
    }

    pub(super) fn set_auto_add(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        let (symbol, idx) = self.leg(body)?;
        // The page's own sample writes it in both ways.
        let asked = [text(body, "autoAddMargin"), text(body, "autoAddmargin")].concat();
        let on = match asked.as_str() {
            "0" => false,
            "1" => true,
            _ => return Err(Refusal::params("autoAddMargin invalid")),
        };
        let of = &mut self.engine.accounts[account];
        if !of.isolated {
            return Err(codes::ONLY_ISOLATED);
        }
        let Some(p) = of.positions.get_mut(&(symbol, idx)).filter(|p| !p.size.is_zero()) else {
            return Err(codes::NO_POSITION);
        };
        p.auto_add = on;
        self.engine.after(account, symbol, idx, false);
        Ok("{}".to_owned())
    }

    /// What an order would do to the account's margin rates, without placing it.
    pub(super) fn pre_check(&mut self, account: usize, body: &Body) -> Result<String, Refusal> {
        request::linear(body)?;
        let place = request::place(&self.engine, body)?;
        if self.engine.accounts[account].isolated || place.trigger.is_some() {
            return Err(Refusal::params("pre-check is for cross margin and unconditional orders"));
        }
        let (before, after) = self.engine.pre_check(account, place)?;
        let (mut out, link) = (String::new(), text(body, "orderLinkId"));
        let rate = |part: Notional, t: &super::margin::Totals| {
            let equity = i128::from(t.equity().raw()).max(1);
            i64::try_from(i128::from(part.raw()) * 10_000 / equity).unwrap_or(0)
        };
        Obj::new(&mut out)
            .s("orderId", "")
            .s("orderLinkId", &link)
            .n("preImrE4", rate(before.initial(), &before))
            .n("preMmrE4", rate(before.position_mm, &before))
            .n("postImrE4", rate(after.initial(), &after))
            .n("postMmrE4", rate(after.position_mm, &after))
            .end();
        Ok(out)
    }
}

/// `marginMode` of `account/info`.
pub(super) const fn margin_mode(isolated: bool) -> &'static str {
    if isolated { "ISOLATED_MARGIN" } else { "REGULAR_MARGIN" }
}

/// A leverage in hundredths as text.
pub(super) fn leverage_text(hundredths: u32) -> String {
    decimal(i64::from(hundredths) * (keel_core::units::SCALE / 100))
}

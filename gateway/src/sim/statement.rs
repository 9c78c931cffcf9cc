//! The exchange's own books of its clients, as one JSON text: what a custodian's statement is to those who keep their own.
//!
//! In: the accounts. Out: each one's cash, what came in and went out, and by symbol its fills, fees, gains, funding and
//! position. Sums of every execution since ever, not of the rows the venue still keeps. Never: the house's own accounts.

use super::Exchange;
use super::account::{Account, Tally};
use keel_core::units::{Notional, Px};
use std::fmt::Write;

impl Exchange {
    /// The books of every client.
    #[must_use]
    pub fn statement(&self) -> String {
        let clients = self.clients.iter().filter_map(|at| self.engine.accounts.get(*at));
        let accounts: Vec<String> = clients.map(|account| self.account_text(account)).collect();
        format!("{{\"time_ms\": {}, \"accounts\": [{}]}}\n", self.now_ms(), accounts.join(", "))
    }

    fn account_text(&self, account: &Account) -> String {
        let unrealised: Notional =
            account.positions.iter().map(|((symbol, _), position)| position.unrealised(self.mark_of(*symbol))).sum();
        let symbols: Vec<String> =
            (0..self.engine.specs.len()).map(|symbol| self.symbol_text(account, symbol)).collect();
        format!(
            "{{\"uid\": \"{}\", \"cash\": \"{}\", \"deposited\": \"{}\", \"unrealised\": \"{}\", \"equity\": \"{}\", \
             \"open_orders\": {}, \"symbols\": {{{}}}}}",
            account.uid,
            account.wallet,
            account.deposited,
            unrealised,
            account.wallet + unrealised,
            account.open.len(),
            symbols.join(", ")
        )
    }

    fn mark_of(&self, symbol: usize) -> Px {
        self.engine.quotes.get(symbol).map_or(Px::ZERO, |quote| quote.mark)
    }

    fn symbol_text(&self, account: &Account, symbol: usize) -> String {
        let tally = account.tallies.get(&symbol).copied().unwrap_or_default();
        let Tally { fills, maker_fills, bought, sold, value, fees, gains, fundings, funding } = tally;
        let mut text = format!("\"{}\": {{", self.engine.specs[symbol].symbol());
        let _ = write!(text, "\"fills\": {fills}, \"maker_fills\": {maker_fills}, \"fundings\": {fundings}");
        for (name, amount) in [("value", value), ("fees", fees), ("realised", gains), ("funding", funding)] {
            let _ = write!(text, ", \"{name}\": \"{amount}\"");
        }
        let legs = account.positions.iter().filter(|((of, _), _)| *of == symbol);
        let (size, cost) = legs
            .fold((Default::default(), Notional::ZERO), |(size, cost), (_, leg)| (leg.size + size, leg.cost + cost));
        let _ = write!(
            text,
            ", \"bought\": \"{bought}\", \"sold\": \"{sold}\", \"size\": \"{size}\", \"cost\": \"{cost}\", \"mark\": \"{}\"}}",
            self.mark_of(symbol)
        );
        text
    }
}

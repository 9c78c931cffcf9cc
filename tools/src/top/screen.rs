//! The screen of `keel top`: what is drawn, and what the keys do.
//!
//! In: pages, keys. Out: a frame. Never: a clock, a socket: the loop in `top` has those, and a test draws from a recorded
//! page onto a terminal in memory.

use super::page::{Page, journal, money, quantile, rate, risk, ship, standing, time, word};
use anyhow::Result;
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState};
use std::net::SocketAddr;

/// What the instruments are sorted by.
const SORTS: [&str; 5] = ["name", "position", "net", "age", "distance"];

/// Everything shown.
#[derive(Debug)]
pub(super) struct Screen {
    at: SocketAddr,
    page: Page,
    shipper: Option<Page>,
    before: Option<(Page, f64)>,
    trouble: Option<String>,
    chosen: usize,
    sort: usize,
    reverse: bool,
    table: TableState,
}

impl Screen {
    /// The first look.
    #[must_use]
    pub(super) fn new(at: SocketAddr, page: Page, shipper: Option<Page>) -> Self {
        let (before, trouble) = (None, None);
        Self { at, page, shipper, before, trouble, chosen: 0, sort: 0, reverse: false, table: TableState::default() }
    }

    /// Another look, `seconds` after the one before; a node that does not answer leaves the last one standing.
    pub(super) fn look(&mut self, page: Result<Page>, shipper: Option<Page>, seconds: f64) {
        self.shipper = shipper;
        self.trouble = page.as_ref().err().map(|why| format!("{why:#}"));
        if let Ok(page) = page {
            self.before = Some((std::mem::replace(&mut self.page, page), seconds));
        }
    }

    /// A key; is it the one that ends?
    pub(super) fn key(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let last = self.symbols().len().saturating_sub(1);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            KeyCode::Home => self.chosen = 0,
            KeyCode::End => self.chosen = last,
            KeyCode::Char('s') => self.sort = (self.sort + 1) % SORTS.len(),
            KeyCode::Char('r') => self.reverse = !self.reverse,
            _ => {}
        }
        false
    }

    /// Symbols in the order they are shown.
    fn symbols(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.page.labelled.get("keel_position_coins").into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let of = |symbol: &str, name| self.page.of(name, symbol).filter(|value| !value.is_nan());
        let weight = |symbol: &str| match SORTS[self.sort] {
            "position" => -of(symbol, "keel_position_coins").unwrap_or(0.0).abs(),
            "net" => of(symbol, "keel_net_profit_usdt").unwrap_or(0.0),
            "age" => -of(symbol, "keel_book_age_seconds").unwrap_or(f64::INFINITY),
            "distance" => of(symbol, "keel_liquidation_distance_ratio").unwrap_or(f64::INFINITY),
            _ => 0.0,
        };
        all.sort_by(|a, b| weight(a).total_cmp(&weight(b)));
        if self.reverse {
            all.reverse();
        }
        all
    }

    /// One frame.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [title, head, middle, bottom, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(7),
            Constraint::Min(5),
            Constraint::Length(14),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.title(), title);
        frame.render_widget(self.head(), head);
        self.instruments(frame, middle);
        let [hops, rings] = Layout::horizontal([Constraint::Percentage(58), Constraint::Percentage(42)]).areas(bottom);
        frame.render_widget(self.hops(), hops);
        frame.render_widget(self.rings(), rings);
        frame.render_widget(self.keys(), keys);
    }

    fn since(&self) -> Option<(&Page, f64)> {
        self.before.as_ref().map(|(page, seconds)| (page, *seconds))
    }

    fn title(&self) -> Line<'_> {
        let span = self.since().map_or_else(|| "since the start".to_owned(), |(_, s)| format!("last {s:.1} s"));
        let told = format!("keel top  {}  {span}", self.at);
        match &self.trouble {
            None => Line::from(told).bold(),
            Some(why) => Line::from(format!("{told}  {why}")).fg(Color::Red).bold(),
        }
    }

    fn head(&self) -> Paragraph<'_> {
        let page = &self.page;
        let (links, brake) = standing(page);
        let journal = journal(page);
        let well =
            |good: bool| if good { Style::new() } else { Style::new().fg(Color::Red).add_modifier(Modifier::BOLD) };
        let line = |name: &'static str, text: String, good| {
            Line::from(vec![Span::from(format!("{name:<9} ")).fg(Color::Cyan), Span::styled(text, well(good))])
        };
        let shipped = ship(self.shipper.as_ref());
        let of = |name| money(page.get(name));
        let account = format!(
            "equity {}, drawdown {}, initial margin {}, maintenance {} USDT; {:.0} orders open",
            of("keel_equity_usdt"),
            of("keel_drawdown_usdt"),
            of("keel_initial_margin_usdt"),
            of("keel_maintenance_margin_usdt"),
            page.get("keel_open_orders").unwrap_or(0.0),
        );
        let (calm, sound) = (brake == "active", journal.starts_with("sound"));
        Paragraph::new(vec![
            line("links", links.clone(), !links.contains("DOWN") && !links.contains("NO")),
            line("brake", brake.to_owned(), calm),
            line("journal", journal, sound),
            line("ship", shipped.clone(), shipped != "no answer"),
            line("risk", risk(page), true),
            line("account", account, true),
        ])
    }

    fn instruments(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let symbols = self.symbols();
        let page = &self.page;
        let row = |symbol: &String| {
            let of = |name| page.of(name, symbol);
            let age = |name| of(name).filter(|age: &f64| age.is_finite()).map_or_else(|| "-".to_owned(), time);
            let distance = of("keel_liquidation_distance_ratio").filter(|share| share.is_finite());
            let state = word(of("keel_book_state"), &["waiting", "synced", "STALE"]);
            let style = if state == "STALE" { Style::new().fg(Color::Red) } else { Style::new() };
            let cells = [
                symbol.clone(),
                of("keel_position_coins").map_or_else(String::new, |size| size.to_string()),
                money(of("keel_net_profit_usdt")),
                money(of("keel_fees_usdt")),
                state.to_owned(),
                age("keel_book_age_seconds"),
                age("keel_book_venue_age_seconds"),
                distance.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0)),
            ];
            Row::new(cells).style(style)
        };
        let names = ["INSTRUMENT", "POSITION", "NET", "FEES", "BOOK", "AGE", "BY VENUE", "LIQUIDATION"];
        let widths = [16, 16, 14, 12, 8, 10, 10, 12].map(Constraint::Length);
        let order = format!("by {}{}", SORTS[self.sort], if self.reverse { ", reversed" } else { "" });
        let table = Table::new(symbols.iter().map(row), widths)
            .header(Row::new(names).style(Style::new().fg(Color::Cyan)))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
            .block(Block::bordered().title(format!("{} instruments, {order}", symbols.len())));
        self.table.select((!symbols.is_empty()).then(|| self.chosen.min(symbols.len() - 1)));
        frame.render_stateful_widget(table, area, &mut self.table);
    }

    fn hops(&self) -> Table<'_> {
        let row = |hop: &String| {
            let counts = self.page.counts(hop, self.since().map(|(before, _)| before));
            let all: f64 = counts.iter().map(|(_, count)| count).sum();
            let of = |share| quantile(&counts, share).map_or_else(|| "-".to_owned(), time);
            Row::new([hop.clone(), format!("{all:.0}"), of(0.5), of(0.99), of(1.0)])
        };
        let widths = [18, 10, 10, 10, 10].map(Constraint::Length);
        Table::new(self.page.hops.keys().map(row), widths)
            .header(
                Row::new(["HOP", "COUNT", "P50 BELOW", "P99 BELOW", "MAX BELOW"]).style(Style::new().fg(Color::Cyan)),
            )
            .block(Block::bordered().title("hops"))
    }

    fn rings(&self) -> Table<'_> {
        let rings = self.page.labelled.get("keel_ring_items_total").into_iter().flatten();
        let row = |(ring, items): (&String, &f64)| {
            let refused = self.page.of("keel_ring_refused_total", ring).unwrap_or(0.0);
            let rate = rate(self.since(), *items, |before| before.of("keel_ring_items_total", ring));
            let style = if refused > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
            Row::new([ring.clone(), format!("{items:.0}"), rate, format!("{refused:.0}")]).style(style)
        };
        Table::new(rings.map(row), [14, 10, 10, 8].map(Constraint::Length))
            .header(Row::new(["RING", "ITEMS", "A SECOND", "REFUSED"]).style(Style::new().fg(Color::Cyan)))
            .block(Block::bordered().title("rings"))
    }

    fn keys(&self) -> Line<'_> {
        Line::from("q quit   up, down choose   s sort by   r reverse").fg(Color::DarkGray)
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;

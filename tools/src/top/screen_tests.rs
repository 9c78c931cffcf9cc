//! The screen drawn onto a terminal in memory, from pages the exporter wrote.

use super::*;
use crate::node::board::{Board, Cell};
use crate::node::meter::{Hop, LiveHops, Meter};
use crate::node::metrics::Exporter;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::sync::Arc;
use std::sync::atomic::Ordering;

fn recorded(positions: &[(&str, i64)]) -> String {
    let (board, hops) = (Arc::new(Board::default()), Arc::new(LiveHops::default()));
    board.name_rows(positions.iter().map(|(symbol, _)| (*symbol).to_owned()).collect());
    for (at, (_, position)) in positions.iter().enumerate() {
        board.row(at).position.store(*position, Ordering::Release);
        board.row(at).book_state.store(1 + (at as u64) % 2, Ordering::Release);
        board.row(at).distance.store(12_500_000 + at as i64, Ordering::Release);
    }
    for (cell, value) in [
        (Cell::PublicLink, 2),
        (Cell::BrakeState, 3),
        (Cell::HeadSeq, 100),
        (Cell::DurableSeq, 90),
        (Cell::OpenOrders, 4),
        (Cell::Equity, 1_000_000_000_000),
        (Cell::ValueAtRisk, 12_345_000_000),
        (Cell::ValueAtRiskLimit, 40_000_000_000),
    ] {
        board.set(cell, value);
    }
    let mut meter = Meter::new(Hop::Decide, &hops);
    [150, 1_500, 1_500, 90_000].into_iter().for_each(|nanos| meter.record(nanos));
    meter.settle();
    Exporter::new(board, hops).render()
}

fn screen(text: &str, shipper: Option<&str>) -> Screen {
    Screen::new("127.0.0.1:9464".parse().unwrap(), Page::read(text), shipper.map(Page::read))
}

/// What stands on a terminal of this size, line by line, words one space apart.
fn drawn(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn press(screen: &mut Screen, code: KeyCode) -> bool {
    screen.key(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Symbols from top to bottom.
fn order(screen: &mut Screen) -> Vec<String> {
    let lines = drawn(screen, 130, 40);
    lines
        .iter()
        .filter_map(|line| line.strip_prefix('│')?.split(' ').find(|word| word.ends_with("USDT")))
        .map(str::to_owned)
        .collect()
}

const THREE: &[(&str, i64)] = &[("ADAUSDT", 100_000_000), ("BTCUSDT", -900_000_000), ("ETHUSDT", 0)];

#[test]
fn a_recorded_page_is_drawn() {
    let shipper = "keel_ship_lag_records{store=\"loki\"} 12\nkeel_ship_oldest_unshipped_seconds{store=\"loki\"} 3\n";
    let mut screen = screen(&recorded(THREE), Some(shipper));
    let lines = drawn(&mut screen, 130, 40);
    for wanted in [
        "keel top 127.0.0.1:9464 since the start",
        "links public ready, private DOWN, trade DOWN; account compared: NO",
        "brake HALTED",
        "journal sound, record 100, 10 of them not yet on the medium",
        "ship loki 12 records behind, the oldest 3.0 s",
        "risk value at risk 123.45 of 400.00, shortfall - of -, stress - of 0.00 USDT",
        "account equity 10000.00, drawdown 0.00, initial margin 0.00, maintenance 0.00 USDT; 4 orders open",
        "BTCUSDT -9 0.00 0.00 STALE 0 ns 0 ns 12.5 %",
        "decide 4 2 us 100 us 100 us",
        "wire_to_wire 0 - - -",
        "3 instruments, by name",
        "q quit up, down choose s sort by r reverse",
    ] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted} is missing from\n{}", lines.join("\n"));
    }
}

#[test]
fn keys_sort_choose_and_end() {
    let mut screen = screen(&recorded(THREE), None);
    assert_eq!(order(&mut screen), ["ADAUSDT", "BTCUSDT", "ETHUSDT"]);
    assert!(!press(&mut screen, KeyCode::Char('s')));
    assert_eq!(order(&mut screen), ["BTCUSDT", "ADAUSDT", "ETHUSDT"], "by position");
    press(&mut screen, KeyCode::Char('r'));
    assert_eq!(order(&mut screen), ["ETHUSDT", "ADAUSDT", "BTCUSDT"]);
    for _ in 0..9 {
        press(&mut screen, KeyCode::Down);
    }
    order(&mut screen);
    assert_eq!((screen.chosen, screen.table.selected()), (2, Some(2)), "not past the end");
    press(&mut screen, KeyCode::Up);
    assert_eq!(screen.chosen, 1);
    assert!(press(&mut screen, KeyCode::Char('q')) && press(&mut screen, KeyCode::Esc));
    assert!(screen.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
}

#[test]
fn the_chosen_instrument_stays_in_sight_on_a_small_terminal() {
    let names: Vec<String> = (0..60).map(|at| format!("C{at:02}USDT")).collect();
    let many: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let mut screen = screen(&recorded(&many), None);
    press(&mut screen, KeyCode::End);
    let lines = drawn(&mut screen, 110, 30);
    assert!(lines.iter().any(|line| line.contains("C59USDT")), "{}", lines.join("\n"));
    for (width, height) in [(1, 1), (20, 5), (300, 100)] {
        drawn(&mut screen, width, height);
    }
}

#[test]
fn a_node_that_goes_away_is_said_and_its_last_page_stays() {
    let mut screen = screen(&recorded(THREE), None);
    screen.look(Ok(Page::read(&recorded(THREE))), None, 2.0);
    assert!(drawn(&mut screen, 130, 40)[0].contains("last 2.0 s"));
    screen.look(Err(anyhow::anyhow!("no node answers")), None, 1.0);
    let lines = drawn(&mut screen, 130, 40);
    assert!(lines[0].contains("no node answers") && lines.iter().any(|line| line.contains("BTCUSDT")));
    screen.look(Ok(Page::read("keel_a 1")), None, 1.0);
    assert!(drawn(&mut screen, 130, 40).iter().any(|line| line.contains("0 instruments")));
}

//! `keel top`: a running node on one screen: links, brake, journal, risk, hops, rings, books, positions.
//!
//! In: the node's `/metrics`, over loopback, once a look, and a shipper's where one is named; keys. Out: a screen that
//! stays, or one frame of plain text. Never: anything the node's hot thread could notice: the page is rendered by the
//! thread that serves it, from counters that are published anyway. Figures between two looks are of that time alone; in
//! the first frame, and with `--once`, of the whole run.

mod page;
mod plain;
mod screen;

use crate::node::clock::Stopwatch;
use crate::node::thread::Stop;
use anyhow::{Context, Result, bail, ensure};
use page::Page;
use ratatui::crossterm::event::{self, Event};
use screen::Screen;
use std::io::{IsTerminal, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest page; a longer one is refused.
const MOST: u64 = 4 << 20;
/// Between two looks at whether to end.
const BLINK: Duration = Duration::from_millis(50);

/// What a person may say to `keel top`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the node serves /metrics
    #[arg(default_value = "127.0.0.1:9464", value_name = "ADDR")]
    pub at: SocketAddr,
    /// Where `keel ship` serves /metrics: how far behind the stores are
    #[arg(long, value_name = "ADDR")]
    pub ship: Option<SocketAddr>,
    /// One frame of plain text, then end
    #[arg(long)]
    pub once: bool,
    /// Milliseconds between two looks
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub every: u64,
}

/// `keel top`.
pub fn run(args: &Args) -> Result<()> {
    let mut out = std::io::stdout();
    let first = Page::read(&fetch(args.at)?);
    let shipper = || args.ship.map(|at| Page::read(&fetch(at).unwrap_or_default()));
    if args.once || !out.is_terminal() {
        return Ok(write!(out, "{}", plain::frame(args.at, &first, shipper().as_ref(), None))?);
    }
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.flag()).context("watching for Ctrl-C")?;
    }
    let mut terminal = ratatui::try_init().context("the terminal cannot show a screen; try --once")?;
    let ended = live(args, &stop, Screen::new(args.at, first, shipper()), &mut terminal);
    ratatui::try_restore()?;
    ended
}

#[allow(clippy::cast_precision_loss, reason = "rates for people")]
fn live(args: &Args, stop: &Stop, mut screen: Screen, terminal: &mut ratatui::DefaultTerminal) -> Result<()> {
    let watch = Stopwatch::new();
    let mut looked = watch.ticks();
    loop {
        terminal.draw(|frame| screen.draw(frame))?;
        while watch.nanos(looked, watch.ticks()) < args.every * 1_000_000 {
            if stop.is_raised() {
                return Ok(());
            }
            if event::poll(BLINK)? {
                if let Event::Key(key) = event::read()?
                    && screen.key(key)
                {
                    return Ok(());
                }
                terminal.draw(|frame| screen.draw(frame))?;
            }
        }
        let next = fetch(args.at).map(|text| Page::read(&text));
        let shipper = args.ship.map(|at| Page::read(&fetch(at).unwrap_or_default()));
        let seconds = watch.nanos(looked, watch.ticks()) as f64 / 1e9;
        screen.look(next, shipper, seconds);
        looked = watch.ticks();
    }
}

/// The body of `/metrics`.
fn fetch(at: SocketAddr) -> Result<String> {
    let unreached = || format!("no node answers on {at}; `keel run` and `keel demo --http {at}` serve /metrics");
    let mut socket = TcpStream::connect_timeout(&at, PATIENCE).with_context(unreached)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    write!(socket, "GET /metrics HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(MOST).read_to_string(&mut answer).with_context(unreached)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("{at} does not speak HTTP") };
    ensure!(head.starts_with("HTTP/1.1 200"), "{at} answered {:?}", head.lines().next().unwrap_or(""));
    ensure!(body.contains("keel_"), "what listens on {at} is no keel node");
    Ok(body.to_owned())
}

//! The null echo: the node's own wire, and nothing between a tick and a canned order.
//!
//! It holds the same three conversations with the venue, market data, private and order entry, and hears the same answers
//! to its orders, which it drops. It answers each delta with one order whose price it copies from the frame, so that the
//! venue can tell which tick was meant. No book, no strategy, no risk, no journal: whatever keel takes longer than this is
//! what keel costs.

use crate::report::hop;
use crate::venue::{tick_price, url};
use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use keel_core::units::Wall;
use keel_gateway::sign::Signer;
use keel_tools::node::clock::{Stopwatch, system_wall};
use keel_tools::node::wire::{Endpoint, Traffic, Turn, Wire, tls};
use keel_wire::tape::SYMBOL;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Empty looks before a connection counts as failed.
const PATIENCE: u64 = 200_000_000;

fn open(wire: &mut Wire) -> Result<()> {
    let mut text = String::new();
    wire.connect();
    for _ in 0..PATIENCE {
        match wire.read(&mut text) {
            Turn::Opened => return Ok(()),
            Turn::Closed => bail!("{}", wire.trouble().unwrap_or_default()),
            _ => std::hint::spin_loop(),
        }
    }
    bail!("the venue did not answer")
}

/// The next text frame.
fn frame(wire: &mut Wire) -> Result<String> {
    let mut text = String::new();
    for _ in 0..PATIENCE {
        match wire.read(&mut text) {
            Turn::Frame => return Ok(text),
            Turn::Closed => bail!("{}", wire.trouble().unwrap_or_default()),
            _ => std::hint::spin_loop(),
        }
    }
    bail!("the venue did not answer")
}

/// A canned order: everything but its id and price stands.
struct Canned {
    text: Vec<u8>,
    id: usize,
    price: usize,
    next: u64,
}

impl Canned {
    fn new(now: Wall) -> Self {
        let text = format!(
            "{{\"reqId\":\"0000000000000000\",\"header\":{{\"X-BAPI-TIMESTAMP\":\"{}\",\"X-BAPI-RECV-WINDOW\":\"60000\"}},\"op\":\"order.create\",\"args\":[{{\"category\":\"linear\",\"symbol\":\"{SYMBOL}\",\"side\":\"Buy\",\"orderType\":\"Limit\",\"qty\":\"0.016\",\"price\":\"60000.0\",\"timeInForce\":\"IOC\",\"orderLinkId\":\"k000000000000000\",\"reduceOnly\":false,\"smpType\":\"CancelMaker\",\"positionIdx\":0}}]}}",
            now.millis()
        );
        let at = |key: &str| text.find(key).map_or(0, |at| at + key.len());
        let (id, price) = (at("\"orderLinkId\":\"k"), at("\"price\":\""));
        Self { text: text.into_bytes(), id, price, next: 0 }
    }

    fn at(&mut self, tenths: i64) -> &[u8] {
        use std::io::Write as _;
        self.next += 1;
        let (price, next) = (self.price, self.next);
        let _ = write!(&mut self.text[price..price + 7], "{}.{}", tenths / 10, tenths % 10);
        let id = self.id;
        let _ = write!(&mut self.text[id..id + 15], "{next:015}");
        &self.text
    }
}

/// Says when its input ends.
pub(crate) fn until_end_of_input() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    std::thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0) {}
        flag.store(true, Ordering::Release);
    });
    over
}

/// Opens a conversation and logs in.
fn login(wire: &mut Wire) -> Result<()> {
    open(wire)?;
    let expires = system_wall().after(10_000_000_000);
    wire.send(Signer::new("demo-key", b"demo-secret").auth_frame(expires).as_bytes());
    let answer = frame(wire)?;
    ensure!(answer.contains("\"retCode\":0") || answer.contains("\"success\":true"), "login: {answer}");
    Ok(())
}

/// Runs until its input ends.
pub(crate) fn run(port: u16, authority: Option<&Path>, cpu: Option<usize>) -> Result<()> {
    let traffic = Arc::new(Traffic::default());
    let tls = tls(authority)?;
    let wire = |path: &str| {
        Ok::<_, anyhow::Error>(Wire::new(Endpoint::new(&url(port, authority, path), &tls)?, Arc::clone(&traffic)))
    };
    let (mut public, mut private, mut trade) = (wire("/v5/public/linear")?, wire("/v5/private")?, wire("/v5/trade")?);
    login(&mut trade)?;
    login(&mut private)?;
    private.send(br#"{"op":"subscribe","args":["order","execution","position","wallet"]}"#);
    frame(&mut private)?;
    open(&mut public)?;
    public.send(format!("{{\"op\":\"subscribe\",\"args\":[\"orderbook.50.{SYMBOL}\"]}}").as_bytes());
    frame(&mut public)?;
    println!("ready");
    std::io::stdout().flush()?;
    let over = until_end_of_input();
    if let Some(id) = cpu {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
    let (mut order, mut text) = (Canned::new(system_wall()), String::new());
    let watch = Stopwatch::new();
    let mut spans = [("receive", empty()?), ("answer", empty()?), ("send", empty()?)];
    while !over.load(Ordering::Relaxed) {
        let from = watch.ticks();
        if public.read(&mut text) == Turn::Frame {
            let read = watch.ticks();
            if let Some(px) = tick_price(text.as_bytes()) {
                let bytes = order.at(px);
                let made = watch.ticks();
                trade.send(bytes);
                let marks = [from, read, made, watch.ticks()];
                for ((_, span), pair) in spans.iter_mut().zip(marks.windows(2)) {
                    span.saturating_record(watch.nanos(pair[0], pair[1]).max(1));
                }
            }
        }
        // the venue's end is the measurement's
        if trade.read(&mut text) == Turn::Closed || private.read(&mut text) == Turn::Closed {
            break;
        }
    }
    println!("{}", serde_json::json!({ "hops": spans.map(|(name, span)| hop(name, &span)) }));
    Ok(())
}

fn empty() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

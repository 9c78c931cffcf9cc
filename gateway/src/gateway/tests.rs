//! The room alone, its sessions and answers scripted; `world` puts it before a venue, `cost` measures it.

mod cost;
mod faults;
mod world;

use super::*;
use crate::testing::{at, instruments};
use keel_core::event::{Op, OrderStatus, Reconciliation};
use keel_core::ids::ClientId;
use keel_core::units::{Px, Qty};

const OK: &str = r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"p1"}"#;
const SUBSCRIBED: &str = r#"{"success":true,"ret_msg":"","op":"subscribe","conn_id":"p1"}"#;

/// The room, a clock, and everything it said.
struct Room {
    gateway: Gateway,
    millis: u64,
    facts: Vec<ExecEvent>,
    sent: Vec<(Channel, String)>,
    requests: Vec<(u64, Request)>,
    connects: Vec<Channel>,
}

impl Room {
    fn new() -> Self {
        let config = Config {
            run: 1,
            self_match: SelfMatch::CancelMaker,
            executions_since: at(0).wall,
            guarded: false,
            seed: 1,
        };
        let gateway = Gateway::new(Signer::new("K3Y", b"S3CRET"), &instruments(), &config);
        let mut room = Self {
            gateway,
            millis: 0,
            facts: Vec::new(),
            sent: Vec::new(),
            requests: Vec::new(),
            connects: Vec::new(),
        };
        room.step(Input::Timer);
        room
    }

    fn step(&mut self, input: Input<'_>) {
        self.gateway.handle(at(self.millis), input, &mut |fact| self.facts.push(fact));
        self.drain();
    }

    fn order(&mut self, order: &Order) {
        self.gateway.order(at(self.millis), order, &mut |fact| self.facts.push(fact));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.gateway.poll() {
            match output {
                Output::Send { channel, bytes } => {
                    self.sent.push((channel, String::from_utf8(bytes.to_vec()).unwrap()))
                }
                Output::Rest { token, request } => self.requests.push((token, request)),
                Output::Connect { channel, .. } => self.connects.push(channel),
                Output::Close { .. } => {}
            }
        }
    }

    fn say(&mut self, channel: Channel, frame: &str) {
        self.step(Input::Frame { channel, bytes: frame.as_bytes(), ticks: 0 });
    }

    /// Answers the oldest request whose path starts with `path`.
    fn answer(&mut self, path: &str, body: &str) {
        let (token, request) = self.requests.remove(0);
        assert!(request.path_and_query.starts_with(path), "{path} expected, {}", request.path_and_query);
        self.step(Input::RestReply { token, status: 200, body: body.as_bytes(), rate: RateHeader::default() });
    }

    fn links_up(&mut self) {
        for channel in [Channel::Private, Channel::Trade] {
            self.step(Input::Connected { channel });
            self.say(channel, OK);
        }
        self.say(Channel::Private, SUBSCRIBED);
    }

    fn live() -> Self {
        let mut room = Self::new();
        room.links_up();
        room.answer("/v5/order/realtime", &list(""));
        room.answer("/v5/execution/list", &list(""));
        room.answer("/v5/position/list", &list(""));
        room.answer("/v5/account/wallet-balance", &list(""));
        assert!(room.gateway.is_live() && room.requests.is_empty());
        room.facts.clear();
        room.sent.clear();
        room
    }

    fn outcomes(&self) -> Vec<SentOutcome> {
        self.facts
            .iter()
            .filter_map(|fact| if let ExecEvent::Sent(sent) = fact { Some(sent.outcome) } else { None })
            .collect()
    }

    fn reconciliations(&self) -> Vec<Reconciliation> {
        let of = |fact: &ExecEvent| if let ExecEvent::Reconciliation(it) = fact { Some(*it) } else { None };
        self.facts.iter().filter_map(of).collect()
    }
}

fn list(rows: &str) -> String {
    page(rows, "")
}

fn page(rows: &str, next: &str) -> String {
    format!(
        r#"{{"retCode":0,"retMsg":"OK","result":{{"category":"linear","nextPageCursor":"{next}","list":[{rows}]}},"retExtInfo":{{}},"time":1900000001400}}"#
    )
}

fn row(link: &str) -> String {
    format!(
        r#"{{"symbol":"ABCUSDT","orderId":"7d1e-{link}","orderLinkId":"{link}","side":"Buy","price":"20.05","qty":"10","timeInForce":"GTC","orderStatus":"New","leavesQty":"10","cumExecQty":"0","updatedTime":"1900000001007"}}"#
    )
}

fn buy(count: u32) -> Order {
    Order { client: ClientId::new(1, count), px: Px::whole(20), qty: Qty::whole(1), ..Order::default() }
}

#[test]
fn once_the_stream_is_up_the_whole_account_is_read_between_two_marks() {
    let mut room = Room::new();
    assert_eq!(room.connects, [Channel::Private, Channel::Trade]);
    room.links_up();
    room.answer("/v5/order/realtime", &page(&row("k00000001-00000001"), "c%3A1"));
    assert!(room.requests[0].1.path_and_query.ends_with("&cursor=c%3A1"), "passed back verbatim");
    room.answer("/v5/order/realtime", &list(&row("k00000001-00000002")));
    room.answer("/v5/execution/list", &list(""));
    room.answer("/v5/position/list", &list(""));
    assert!(!room.gateway.is_live());
    room.answer("/v5/account/wallet-balance", &list(r#"{"accountType":"UNIFIED","coin":[]}"#));
    assert!(room.gateway.is_live());
    let marks = room.reconciliations();
    assert_eq!(marks.iter().map(|m| m.complete).collect::<Vec<_>>(), [Flag::No, Flag::Yes]);
    assert_eq!((marks[1].orders, marks[1].fills, marks[1].positions), (2, 0, 0));
    let queried = room.facts.iter().filter(|fact| matches!(fact, ExecEvent::Order(o) if o.queried.is_set())).count();
    assert_eq!(queried, 2);
}

// the venue answers seven days at once: what came after them would never be read
#[test]
fn an_account_that_was_quiet_for_weeks_is_read_span_by_span_up_to_the_present() {
    const DAY: u64 = 86_400_000;
    let mut room = Room::new();
    room.millis = 20 * DAY;
    room.step(Input::Timer);
    room.links_up();
    room.answer("/v5/order/realtime", &list(""));
    let mut spans = Vec::new();
    while room.requests.first().is_some_and(|(_, request)| request.path_and_query.starts_with("/v5/execution/list")) {
        let path = room.requests[0].1.path_and_query.clone();
        let of = |key: &str| path.split(key).nth(1).unwrap().split('&').next().unwrap().parse::<u64>().unwrap();
        spans.push((of("startTime="), of("endTime=")));
        room.answer("/v5/execution/list", &list(""));
    }
    assert_eq!(spans.len(), 4);
    assert!(spans.windows(2).all(|pair| pair[0].1 == pair[1].0), "without a hole: {spans:?}");
    assert!(spans.iter().all(|(from, to)| to - from <= 7 * DAY));
    assert!(spans[0].0 < at(0).wall.millis() && spans[3].1 > at(20 * DAY).wall.millis(), "{spans:?}");
}

#[test]
fn a_stream_that_breaks_while_the_account_is_read_starts_the_reading_over() {
    let mut room = Room::new();
    room.links_up();
    room.answer("/v5/order/realtime", &list(&row("k00000001-00000001")));
    let late = room.requests.remove(0);
    room.step(Input::Closed { channel: Channel::Private });
    let facts = room.facts.len();
    room.step(Input::RestReply { token: late.0, status: 200, body: list("").as_bytes(), rate: RateHeader::default() });
    assert_eq!((room.facts.len(), room.requests.len()), (facts, 0), "a late answer says nothing");
    room.millis += 400;
    room.step(Input::Connected { channel: Channel::Private });
    room.say(Channel::Private, OK);
    room.say(Channel::Private, SUBSCRIBED);
    assert!(room.requests[0].1.path_and_query.starts_with("/v5/order/realtime"));
    assert_eq!(room.reconciliations().len(), 2, "begun twice, completed never");
}

#[test]
fn an_answer_that_cannot_be_read_is_asked_for_again_and_never_means_nothing_there() {
    for body in ["", "{}", r#"{"retCode":0,"result":{}}"#, r#"{"retCode":0,"result":null}"#, r#"{"retCode":10016}"#] {
        let mut room = Room::new();
        room.links_up();
        room.answer("/v5/order/realtime", body);
        assert!(room.requests.is_empty(), "not at once: {body}");
        room.millis += 500;
        room.step(Input::Timer);
        assert!(room.requests[0].1.path_and_query.starts_with("/v5/order/realtime"), "{body}");
    }
}

#[test]
fn an_order_leaves_on_order_entry_or_a_fact_says_why_not() {
    let mut room = Room::live();
    room.order(&buy(1));
    assert_eq!(room.sent[0].0, Channel::Trade);
    assert!(room.sent[0].1.contains(r#""orderLinkId":"k00000001-00000001""#));
    for count in 2..=11 {
        room.order(&buy(count));
    }
    assert_eq!(room.outcomes().iter().filter(|outcome| **outcome == SentOutcome::Wire).count(), 10);
    assert_eq!(room.outcomes().last(), Some(&SentOutcome::NoBudget));
    room.order(&Order { op: Op::Cancel, ..buy(1) });
    assert_eq!(room.outcomes().last(), Some(&SentOutcome::Wire), "cancels have their own budget");
    room.order(&Order { qty: Qty::ZERO, op: Op::Amend, ..buy(1) });
    assert_eq!(room.outcomes().last(), Some(&SentOutcome::Unsayable));
}

#[test]
fn while_order_entry_is_down_orders_go_over_rest_and_its_answer_is_an_ack() {
    let mut room = Room::live();
    room.step(Input::Closed { channel: Channel::Trade });
    room.order(&Order { op: Op::Cancel, ..buy(7) });
    assert_eq!((room.outcomes(), room.sent.len()), (vec![SentOutcome::Wire], 0));
    room.answer(
        "/v5/order/cancel",
        r#"{"retCode":110001,"retMsg":"late","result":{},"retExtInfo":{},"time":1900000001400}"#,
    );
    let ack =
        room.facts.iter().find_map(|fact| if let ExecEvent::Ack(ack) = fact { Some(*ack) } else { None }).unwrap();
    assert_eq!((ack.client, ack.op, ack.code, ack.channel), (ClientId::new(1, 7), Op::Cancel, 110_001, Channel::Rest));
}

#[test]
fn a_rate_refusal_closes_the_endpoint_until_the_reset_and_no_longer() {
    let mut room = Room::live();
    room.order(&buy(1));
    room.say(
        Channel::Trade,
        r#"{"reqId":"k00000001-00000001n0000000100000001","retCode":10006,"op":"order.create","data":{},"header":{"X-Bapi-Limit":"10","X-Bapi-Limit-Status":"0","X-Bapi-Limit-Reset-Timestamp":"1900000001300","Timenow":"1900000001005"}}"#,
    );
    room.order(&buy(2));
    assert_eq!(room.outcomes().last(), Some(&SentOutcome::NoBudget));
    room.millis = 1_051;
    room.order(&buy(3));
    assert_eq!(room.outcomes().last(), Some(&SentOutcome::Wire));
}

#[test]
fn a_banned_address_stops_asking_and_cancels_go_on_over_order_entry() {
    let mut room = Room::live();
    room.say(Channel::Private, r#"{"topic":"order","data":[{}"#);
    room.millis += 1_000;
    room.step(Input::Connected { channel: Channel::Private });
    room.say(Channel::Private, OK);
    room.say(Channel::Private, SUBSCRIBED);
    let (token, _) = room.requests.remove(0);
    room.step(Input::RestReply { token, status: 403, body: b"access too frequent", rate: RateHeader::default() });
    room.millis += 60_000;
    room.step(Input::Timer);
    assert!(room.requests.is_empty(), "ten minutes of silence");
    assert!(!room.gateway.is_live());
}

const NONE: &str = r#"{"retCode":0,"retMsg":"OK","result":{"category":"linear","nextPageCursor":"","list":[]},"retExtInfo":{},"time":1900000001400}"#;

impl Room {
    fn pass(&mut self, millis: u64) {
        let end = self.millis + millis;
        while let Some(due) = self.gateway.deadline().map(|due| due.millis() + at(0).wall.millis() - 1_900_000_001_000)
            && due <= 10_000 + end
        {
            self.millis = self.millis.max(due.saturating_sub(10_000));
            self.say(Channel::Private, r#"{"op":"pong"}"#);
            self.say(Channel::Trade, r#"{"op":"pong"}"#);
            let before = self.gateway.deadline();
            self.step(Input::Timer);
            if self.gateway.deadline() == before {
                break;
            }
        }
        self.millis = end;
    }

    fn updates(&self) -> Vec<keel_core::event::OrderUpdate> {
        self.facts
            .iter()
            .filter_map(|fact| if let ExecEvent::Order(update) = fact { Some(*update) } else { None })
            .collect()
    }
}

// nautilus_trader#4958: an in-flight time-out emits "rejected" while the order may live
#[test]
fn an_unanswered_order_is_asked_about_and_absent_only_after_both_memories_denied_it_thrice() {
    let mut room = Room::live();
    room.order(&buy(1));
    let (mut rounds, mut denied) = (0, 0);
    while room.updates().is_empty() && rounds < 60 {
        room.pass(1_000);
        rounds += 1;
        while let Some((_, request)) = room.requests.first() {
            let path = request.path_and_query.clone();
            denied += u32::from(path.contains("history") && path.contains("k00000001-00000001"));
            room.answer(path.split('?').next().unwrap(), NONE);
        }
    }
    assert_eq!(
        room.updates().iter().map(|u| (u.client, u.status)).collect::<Vec<_>>(),
        [(ClientId::new(1, 1), OrderStatus::Absent)]
    );
    assert!((15..=40).contains(&rounds) && denied >= 3, "{rounds} s, {denied} denials");
    assert_eq!(room.gateway.owed(), 0);
}

#[test]
fn an_order_the_venue_has_shown_is_never_absent_however_often_it_is_denied() {
    let mut room = Room::live();
    room.order(&buy(1));
    let shown = row("k00000001-00000001");
    room.say(Channel::Private, &format!(r#"{{"topic":"order","creationTime":1,"data":[{shown}]}}"#));
    room.order(&Order { op: Op::Cancel, ..buy(1) });
    for _ in 0..120 {
        room.pass(1_000);
        while let Some((_, request)) = room.requests.first() {
            let path = request.path_and_query.split('?').next().unwrap().to_owned();
            room.answer(&path, NONE);
        }
    }
    assert!(room.updates().iter().all(|update| update.status != OrderStatus::Absent));
    assert_eq!(room.gateway.owed(), 1, "and it is asked about still");
}

#[test]
fn an_answer_in_doubt_is_asked_about_at_once() {
    for code in [10_016, 10_000, 10_429, 110_072, 987_654] {
        let mut room = Room::live();
        room.order(&buy(1));
        let frame = format!(
            r#"{{"reqId":"k00000001-00000001n0000000100000001","retCode":{code},"op":"order.create","data":{{}}}}"#
        );
        room.say(Channel::Trade, &frame);
        room.pass(150);
        assert!(room.requests[0].1.path_and_query.contains("orderLinkId=k00000001-00000001"), "{code}");
        room.answer("/v5/order/realtime", &list(&row("k00000001-00000001")));
        assert_eq!(room.gateway.owed(), 0);
    }
}

// ccxt notes it: some refusals come without a request id
#[test]
fn a_refusal_that_does_not_say_of_what_makes_everything_unanswered_asked_about() {
    let mut room = Room::live();
    room.order(&buy(1));
    room.order(&buy(2));
    room.say(Channel::Trade, r#"{"retCode":10005,"retMsg":"Permission denied","op":"order.create","connId":"t1"}"#);
    room.pass(150);
    assert_eq!(room.requests.len(), 2);
}

// nautilus_trader#5000: startup reconciliation dropped 14 of 744 reports
#[test]
fn a_restart_with_seven_hundred_working_orders_reads_every_page() {
    let mut room = Room::new();
    room.links_up();
    for page_of in 0..15 {
        let rows: Vec<_> = (1..=50).map(|n| row(&format!("k00000001-{:08x}", page_of * 50 + n))).collect();
        let next = if page_of < 14 { format!("c{page_of}") } else { String::new() };
        room.answer("/v5/order/realtime", &page(&rows.join(","), &next));
    }
    assert_eq!(room.updates().len(), 750);
    room.answer("/v5/execution/list", NONE);
    room.answer("/v5/position/list", NONE);
    room.answer("/v5/account/wallet-balance", NONE);
    assert_eq!(room.reconciliations().last().map(|mark| (mark.orders, mark.complete)), Some((750, Flag::Yes)));
}

// hummingbot#366: persist open orders so that a restart can cancel them
#[test]
fn an_order_of_a_dead_run_is_asked_about_and_can_be_cancelled_by_its_old_id() {
    let mut dead = keel_core::orders::Orders::new(1);
    dead.admit(at(0).mono, &buy(1)).unwrap();
    let orders = dead.succeeded_by(2);
    let mut room = Room::live();
    room.gateway.adopt(at(0), &orders.open()[0], 0);
    room.pass(1_100);
    assert!(room.requests[0].1.path_and_query.contains("orderLinkId=k00000001-00000001"));
    room.order(&Order { op: Op::Cancel, ..orders.open()[0].order });
    assert!(room.sent.iter().any(|(_, frame)| frame.contains("order.cancel") && frame.contains("k00000001-00000001")));
}

// nautilus_trader#3820: commands replayed on an unauthenticated session during reconnect
#[test]
fn no_order_waits_for_a_session_it_was_not_meant_for() {
    let mut room = Room::live();
    room.step(Input::Closed { channel: Channel::Trade });
    room.millis += 600;
    room.step(Input::Connected { channel: Channel::Trade });
    room.sent.clear();
    room.order(&buy(1));
    room.say(Channel::Trade, OK);
    assert!(room.sent.is_empty(), "it left by REST at once, and nothing is sent again");
    assert!(room.requests.iter().any(|(_, request)| request.path_and_query == "/v5/order/create"));
}

// nautilus_trader#917: signed requests expire in a queue
#[test]
fn an_order_carries_the_time_it_leaves_at() {
    let mut room = Room::live();
    room.millis = 4_321;
    room.order(&buy(1));
    assert!(room.sent[0].1.contains(r#""X-BAPI-TIMESTAMP":"1900000005321""#), "{}", room.sent[0].1);
}

// hummingbot#2534: the kill switch fired, threw, and the bot kept quoting; the venue: at most 500 a call, at random
#[test]
fn cancelling_everything_is_repeated_until_the_venue_says_nothing_is_open() {
    const HEARD: &str = r#"{"retCode":0,"retMsg":"OK","result":{"list":[],"success":"1"},"retExtInfo":{},"time":1}"#;
    let mut room = Room::live();
    room.step(Input::CancelAll);
    room.answer("/v5/order/cancel-all", r#"{"retCode":10016,"retMsg":"busy","result":{},"time":1}"#);
    room.pass(600);
    room.answer("/v5/order/cancel-all", HEARD);
    room.pass(300);
    room.answer("/v5/order/realtime", &list(&row("web-1")));
    room.pass(10);
    room.answer("/v5/order/cancel-all", HEARD);
    room.pass(300);
    assert_eq!(room.gateway.sweeping(), Some(2));
    room.answer("/v5/order/realtime", NONE);
    assert_eq!(room.gateway.sweeping(), None);
}

#[test]
fn the_account_is_read_again_every_minute_without_stopping_trade() {
    let mut room = Room::live();
    room.pass(60_500);
    assert!(room.gateway.is_live() && room.requests[0].1.path_and_query.starts_with("/v5/order/realtime"));
    assert!(room.reconciliations()[0].periodic.is_set());
}

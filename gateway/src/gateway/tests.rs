use super::*;
use crate::testing::{at, instruments};
use keel_core::event::{Op, Reconciliation};
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
            executions_since: Wall::default(),
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

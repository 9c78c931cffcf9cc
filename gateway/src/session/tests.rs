//! Conversations that begin, break and come back.

use super::*;
use crate::testing::{at, instruments};

const AUTH_OK: &str = r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"p1"}"#;
const AUTH_BAD: &str = r#"{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"p1"}"#;
const SUB_OK: &str = r#"{"success":true,"ret_msg":"","op":"subscribe","conn_id":"p1"}"#;
const PONG: &str = r#"{"req_id":"","op":"pong","args":["1"],"conn_id":"p1"}"#;

struct Talk<E> {
    session: Session<E>,
    links: Vec<LinkState>,
    facts: usize,
}

impl<E: Endpoint> Talk<E> {
    fn new() -> Self {
        let session = Session::new(Signer::new("K3Y", b"S3CRET"), &instruments(), 1);
        Self { session, links: Vec::new(), facts: 0 }
    }

    /// Hands in, drains, and says what was asked for in short words.
    fn step(&mut self, millis: u64, input: Input<'_>) -> Vec<String> {
        self.session.handle(at(millis), input, &mut |fact| match fact {
            ExecEvent::Link(link) => self.links.push(link.state),
            _ => self.facts += 1,
        });
        let mut asked = Vec::new();
        while let Some(output) = self.session.poll() {
            asked.push(match output {
                Output::Send(bytes) => {
                    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                    value["op"].as_str().unwrap().to_owned()
                }
                Output::Close => "close".to_owned(),
                Output::Connect { after_nanos: 0 } => "connect".to_owned(),
                Output::Connect { .. } => "connect later".to_owned(),
            });
        }
        asked
    }

    fn say(&mut self, millis: u64, frame: &str) -> Vec<String> {
        self.step(millis, Input::Frame { bytes: frame.as_bytes(), ticks: 0 })
    }

    fn up(&mut self) {
        assert_eq!(self.step(0, Input::Timer), ["connect"]);
        assert_eq!(self.step(1, Input::Connected), ["auth"]);
        match E::SUBSCRIBE {
            Some(_) => {
                assert_eq!(self.say(2, AUTH_OK), ["subscribe"]);
                assert!(self.say(3, SUB_OK).is_empty());
            }
            None => assert!(self.say(2, AUTH_OK).is_empty()),
        }
        assert!(self.session.is_ready());
        assert_eq!(self.links, [LinkState::Connected, LinkState::Ready]);
    }
}

#[test]
fn the_private_stream_authenticates_then_subscribes_then_is_ready() {
    Talk::<Private>::new().up();
}

#[test]
fn order_entry_is_ready_once_authenticated() {
    Talk::<Trade>::new().up();
}

#[test]
fn a_refused_key_is_not_hammered() {
    let mut talk = Talk::<Private>::new();
    talk.step(0, Input::Timer);
    talk.step(1, Input::Connected);
    assert_eq!(talk.say(2, AUTH_BAD), ["close", "connect later"]);
    assert!(talk.session.deadline().unwrap() >= at(2).mono.after(AUTH_BACKOFF));
    assert_eq!((talk.session.ended().refused, talk.links.last()), (1, Some(&LinkState::Down)));
}

#[test]
fn a_silent_socket_is_pinged_then_dropped() {
    let mut talk = Talk::<Private>::new();
    talk.up();
    assert_eq!(talk.step(5_003, Input::Timer), ["ping"]);
    assert!(talk.say(5_020, PONG).is_empty());
    assert_eq!(talk.step(10_003, Input::Timer), ["ping"]);
    assert_eq!(talk.step(15_003, Input::Timer), ["ping"]);
    assert_eq!(talk.session.deadline(), Some(at(17_020).mono));
    assert_eq!(talk.step(17_020, Input::Timer), ["close", "connect later"]);
    assert_eq!((talk.session.ended().silent, talk.links.last()), (1, Some(&LinkState::Down)));
}

#[test]
fn an_account_without_cancel_on_disconnect_is_refused_that_and_nothing_else() {
    let mut talk = Talk::<Private>::new();
    talk.session = talk.session.guarded();
    talk.step(0, Input::Timer);
    talk.step(1, Input::Connected);
    talk.say(2, AUTH_OK);
    assert_eq!(talk.say(3, SUB_OK), ["subscribe"]);
    let refused = r#"{"success":false,"ret_msg":"error:handler not found,topic:dcp.future","op":"subscribe"}"#;
    assert!(talk.say(4, refused).is_empty() && talk.session.is_ready());
}

#[test]
fn an_unreadable_frame_ends_the_conversation_because_a_fact_may_be_lost() {
    let mut talk = Talk::<Private>::new();
    talk.up();
    assert_eq!(talk.say(4, r#"{"topic":"order","data":[{"orderId":"#), ["close", "connect later"]);
    assert_eq!((talk.session.last_error(), talk.facts), (Some(DecodeError::Json), 0));
}

#[test]
fn a_restarting_node_is_left_after_its_answer_was_read() {
    let mut talk = Talk::<Trade>::new();
    talk.up();
    let frame = r#"{"retCode":10019,"retMsg":"node restarting","op":"order.create","connId":"t1"}"#;
    assert_eq!(talk.say(4, frame), ["close", "connect later"]);
    assert_eq!((talk.facts, talk.session.ended().restarting), (1, 1));
}

#[test]
fn nothing_is_sent_on_a_reconnect_before_it_is_authenticated_again() {
    let mut talk = Talk::<Private>::new();
    talk.up();
    assert_eq!(talk.step(10, Input::Closed), ["connect later"]);
    assert!(!talk.session.is_ready());
    assert!(talk.say(11, SUB_OK).is_empty(), "a frame of the old socket");
    assert_eq!(talk.step(500, Input::Connected), ["auth"]);
    assert!(talk.say(501, SUB_OK).is_empty() && !talk.session.is_ready(), "an answer nobody asked for");
    assert_eq!(talk.say(502, AUTH_OK), ["subscribe"]);
}

#[test]
fn reconnects_back_off_and_stay_far_below_the_venues_ban() {
    let mut talk = Talk::<Private>::new();
    let (mut connects, mut millis) = (0, 0);
    while millis < 300_000 {
        talk.step(millis, Input::Timer);
        talk.step(millis, Input::Closed);
        connects += 1;
        let timeout = CONNECT_TIMEOUT / 1_000_000;
        millis = talk.session.deadline().unwrap().millis() - at(0).mono.millis() - timeout + 1;
    }
    assert!((20..80).contains(&connects), "{connects} in five minutes");
}

//! Two gates as one: the recorded one answers, the other one sees the same and is asked beside it.
//!
//! In: everything the engine tells its gate. Out: the recorded gate's answers. Never: an answer of the other one.

use super::Gates;
use keel_core::desk::Desk;
use keel_core::event::{Command, Document, ExecEvent, MarketEvent, Order, Standing};
use keel_core::ids::InstrumentId;
use keel_core::orders::Change as Moved;
use keel_core::permit::{self, Context};
use keel_core::position::Position;
use keel_core::units::{Mono, Now};
use keel_risk::notice::Notice;
use keel_risk::{Approved, Refused};

impl permit::Gate for Gates {
    type Approved = Approved;
    type Refused = Refused;
    type Notice = Notice;

    fn market(&mut self, now: Now, event: &MarketEvent) {
        self.own.market(now, event);
        self.shadow.borrow_mut().gate.market(now, event);
    }

    fn exec(&mut self, now: Now, event: &ExecEvent) {
        self.own.exec(now, event);
        self.shadow.borrow_mut().gate.exec(now, event);
    }

    fn command(&mut self, now: Now, command: &Command) {
        self.own.command(now, command);
        self.shadow.borrow_mut().gate.command(now, command);
    }

    fn document(&mut self, now: Now, document: &Document) {
        self.own.document(now, document);
        self.shadow.borrow_mut().gate.document(now, document);
    }

    fn standing(&mut self, now: Now, standing: &Standing) {
        self.own.standing(now, standing);
        self.shadow.borrow_mut().gate.standing(now, standing);
    }

    fn order(&mut self, now: Now, change: &Moved) {
        self.own.order(now, change);
        self.shadow.borrow_mut().gate.order(now, change);
    }

    fn position(&mut self, now: Now, instrument: InstrumentId, position: &Position) {
        self.own.position(now, instrument, position);
        self.shadow.borrow_mut().gate.position(now, instrument, position);
    }

    fn tick(&mut self, now: Now) {
        self.own.tick(now);
        self.shadow.borrow_mut().gate.tick(now);
    }

    fn deadline(&self) -> Option<Mono> {
        self.own.deadline()
    }

    fn notice(&mut self, now: Now) -> Option<Notice> {
        while self.shadow.borrow_mut().gate.notice(now).is_some() {}
        self.own.notice(now)
    }

    fn stops(&self, order: &Order) -> bool {
        self.own.stops(order)
    }

    fn unwind(&mut self, now: Now, desk: &Desk) -> Option<Order> {
        self.own.unwind(now, desk)
    }

    fn judge(&mut self, now: Now, order: &Order, context: &Context<'_>) -> Result<Approved, Refused> {
        let mut shadow = self.shadow.borrow_mut();
        let other = shadow.gate.weigh(now, order, context);
        let answer = self.own.judge(now, order, context);
        if answer.is_ok() {
            // what left has left: the other gate counts it too
            shadow.gate.spend(now, order);
        }
        shadow.judged.push(other);
        answer
    }
}

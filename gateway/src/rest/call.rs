//! What can be asked, and the bytes that ask it.

use crate::budget::Endpoint;
use crate::encode::SelfMatch;
use crate::sign::Signer;
use core::fmt::Write as _;
use keel_core::event::{Op, Order, OrderKind, Side, TimeInForce};
use keel_core::ids::{ClientId, Symbol, Text};
use keel_core::units::{Qty, Wall};

/// Nanoseconds of executions one question covers; the venue takes up to seven days.
pub const EXECUTIONS_SPAN: u64 = 6 * 86_400_000_000_000;

/// GET asks, POST changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Query in the path.
    Get,
    /// Body as JSON.
    Post,
}

/// A request as it goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// Path, with `?query` when there is one. Send it as it stands: it is signed.
    pub path_and_query: String,
    /// Headers beside the client's own.
    pub headers: Vec<(&'static str, String)>,
    /// Empty for GET. Send it as it stands: it is signed.
    pub body: String,
}

/// One question or one change. Cursors are the venue's, passed back verbatim; empty is the first page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// The venue's clock.
    Time,
    /// What can be traded.
    Instruments {
        /// Page.
        cursor: String,
    },
    /// Our fees on everything.
    FeeRate,
    /// Every open order settled in USDT.
    OpenOrders {
        /// Page.
        cursor: String,
    },
    /// One order by our id, open or just closed.
    FindOrder {
        /// Which.
        client: ClientId,
        /// On what.
        symbol: Symbol,
    },
    /// One closed order by our id: the slower, longer memory.
    FindClosed {
        /// Which.
        client: ClientId,
        /// On what.
        symbol: Symbol,
    },
    /// Executions from `since` on, up to [`EXECUTIONS_SPAN`] of them in time: the venue looks no further at once.
    Executions {
        /// From when.
        since: Wall,
        /// Page.
        cursor: String,
    },
    /// Every position settled in USDT that is not flat.
    Positions {
        /// Page.
        cursor: String,
    },
    /// Does this instrument keep two legs, one a side?
    PositionMode {
        /// On what.
        symbol: Symbol,
    },
    /// The account's money.
    Wallet,
    /// What our key may do and whose it is.
    KeyInfo,
    /// Margin mode and kind of account.
    AccountInfo,
    /// Does the venue re-price orders outside the band?
    Settings,
    /// Place, amend or cancel one order.
    Order {
        /// The approved and recorded request.
        order: Order,
        /// Its symbol.
        symbol: Symbol,
        /// Which own order gives way when two would meet.
        self_match: SelfMatch,
    },
    /// Close part of a position at the market. It can only shrink one: the single order that needs no permission, for a
    /// process that has nobody left to ask.
    Reduce {
        /// On what.
        symbol: Symbol,
        /// Against the position.
        side: Side,
        /// How much.
        qty: Qty,
        /// Its name at the venue; never one a core issues.
        link: Text<39>,
    },
    /// Cancel everything settled in USDT. At most 500 a call: repeat until the open-order query is empty.
    CancelAll,
    /// Orders outside the band are to be rejected, not re-priced.
    RejectOutsideBand,
    /// Cancel all when every private connection has been dead this long. Only where the account has it.
    ArmDisconnect {
        /// Seconds, 3 to 300.
        seconds: u16,
    },
}

impl Call {
    /// Where its rate is counted.
    #[must_use]
    pub const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Time | Self::Instruments { .. } => Endpoint::Market,
            Self::OpenOrders { .. } | Self::FindOrder { .. } => Endpoint::Orders,
            Self::FindClosed { .. } => Endpoint::History,
            Self::Executions { .. } => Endpoint::Executions,
            Self::Positions { .. } | Self::PositionMode { .. } => Endpoint::Positions,
            Self::Wallet => Endpoint::Wallet,
            Self::Order { order, .. } => Endpoint::of(order.op),
            Self::CancelAll => Endpoint::CancelAll,
            Self::Reduce { .. } => Endpoint::Create,
            Self::FeeRate
            | Self::KeyInfo
            | Self::AccountInfo
            | Self::Settings
            | Self::RejectOutsideBand
            | Self::ArmDisconnect { .. } => Endpoint::Account,
        }
    }

    /// The bytes that ask it, signed for `now` unless the venue answers it to anyone.
    #[must_use]
    pub fn request(&self, signer: &Signer, now: Wall) -> Request {
        let (method, path, payload) = self.parts();
        let public = matches!(self, Self::Time | Self::Instruments { .. });
        let mut headers = if public { Vec::new() } else { Vec::from(signer.headers(now, &payload)) };
        if method == Method::Post {
            headers.push(("Content-Type", "application/json".to_owned()));
            return Request { method, path_and_query: path.to_owned(), headers, body: payload };
        }
        let path_and_query = if payload.is_empty() { path.to_owned() } else { format!("{path}?{payload}") };
        Request { method, path_and_query, headers, body: String::new() }
    }

    /// Method, path, and the query or body.
    fn parts(&self) -> (Method, &'static str, String) {
        let get = |path, query: String| (Method::Get, path, query);
        let post = |path, body: String| (Method::Post, path, body);
        match self {
            Self::Time => get("/v5/market/time", String::new()),
            Self::Instruments { cursor } => {
                get("/v5/market/instruments-info", page("category=linear&limit=1000".to_owned(), cursor))
            }
            Self::FeeRate => get("/v5/account/fee-rate", "category=linear".to_owned()),
            Self::OpenOrders { cursor } => get(
                "/v5/order/realtime",
                page("category=linear&settleCoin=USDT&openOnly=0&limit=50".to_owned(), cursor),
            ),
            Self::FindOrder { client, symbol } => get("/v5/order/realtime", by_link(*client, symbol)),
            Self::FindClosed { client, symbol } => get("/v5/order/history", by_link(*client, symbol)),
            Self::Executions { since, cursor } => get(
                "/v5/execution/list",
                page(
                    format!(
                        "category=linear&startTime={}&endTime={}&limit=100",
                        since.millis(),
                        since.after(EXECUTIONS_SPAN).millis()
                    ),
                    cursor,
                ),
            ),
            Self::Positions { cursor } => {
                get("/v5/position/list", page("category=linear&settleCoin=USDT&limit=200".to_owned(), cursor))
            }
            Self::PositionMode { symbol } => get("/v5/position/list", format!("category=linear&symbol={symbol}")),
            Self::Wallet => get("/v5/account/wallet-balance", "accountType=UNIFIED".to_owned()),
            Self::KeyInfo => get("/v5/user/query-api", String::new()),
            Self::AccountInfo => get("/v5/account/info", String::new()),
            Self::Settings => get("/v5/account/user-setting-config", String::new()),
            Self::Order { order, symbol, self_match } => post(
                match order.op {
                    Op::New => "/v5/order/create",
                    Op::Amend => "/v5/order/amend",
                    Op::Cancel => "/v5/order/cancel",
                },
                order_body(order, symbol, *self_match),
            ),
            Self::Reduce { symbol, side, qty, link } => post(
                "/v5/order/create",
                format!(
                    r#"{{"category":"linear","symbol":"{symbol}","orderLinkId":"{link}","positionIdx":0,"side":"{side:?}","orderType":"Market","timeInForce":"IOC","reduceOnly":true,"qty":"{qty}"}}"#
                ),
            ),
            Self::CancelAll => post("/v5/order/cancel-all", r#"{"category":"linear","settleCoin":"USDT"}"#.to_owned()),
            Self::RejectOutsideBand => {
                post("/v5/account/set-limit-px-action", r#"{"category":"linear","modifyEnable":false}"#.to_owned())
            }
            Self::ArmDisconnect { seconds } => post(
                "/v5/order/disconnected-cancel-all",
                format!(r#"{{"timeWindow":{seconds},"product":"DERIVATIVES"}}"#),
            ),
        }
    }
}

fn page(mut query: String, cursor: &str) -> String {
    if !cursor.is_empty() {
        query.push_str("&cursor=");
        query.push_str(cursor);
    }
    query
}

fn by_link(client: ClientId, symbol: &Symbol) -> String {
    format!("category=linear&symbol={symbol}&orderLinkId={client}")
}

/// The same object the encoder puts into `args`.
fn order_body(order: &Order, symbol: &Symbol, self_match: SelfMatch) -> String {
    let mut body = format!(r#"{{"category":"linear","symbol":"{symbol}","orderLinkId":"{}""#, order.client);
    if order.op == Op::New {
        let side = match order.side {
            Side::Buy => "Buy",
            Side::Sell => "Sell",
        };
        let kind = match order.kind {
            OrderKind::Limit => "Limit",
            OrderKind::Market => "Market",
        };
        let tif = match order.tif {
            TimeInForce::Gtc => "GTC",
            TimeInForce::Ioc => "IOC",
            TimeInForce::Fok => "FOK",
            TimeInForce::PostOnly => "PostOnly",
        };
        let (reduce, smp) = (order.reduce_only.is_set(), self_match.word());
        let _ = write!(
            body,
            r#","positionIdx":0,"smpType":"{smp}","side":"{side}","orderType":"{kind}","timeInForce":"{tif}","reduceOnly":{reduce}"#
        );
    }
    if order.op != Op::Cancel {
        let _ = write!(body, r#","qty":"{}""#, order.qty);
        if order.op == Op::Amend || order.kind == OrderKind::Limit {
            let _ = write!(body, r#","price":"{}""#, order.px);
        }
    }
    body.push('}');
    body
}

//! The venue's own words for no: code and text, as its documentation and its users report them.

use std::borrow::Cow;

/// A business error: `retCode` and `retMsg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `retCode`.
    pub code: i32,
    /// `retMsg`.
    pub text: Cow<'static, str>,
    /// `result`, as JSON.
    pub result: Cow<'static, str>,
}

impl Refusal {
    pub(super) const fn new(code: i32, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text), result: Cow::Borrowed("{}") }
    }

    pub(super) fn said(code: i32, text: String) -> Self {
        Self { code, text: Cow::Owned(text), result: Cow::Borrowed("{}") }
    }

    /// 3400045: a margin mode that cannot be set, with its reason.
    pub(super) fn reasons(code: &str, why: &str) -> Self {
        let mut no = Self::new(3_400_045, "Set margin mode failed");
        no.result = Cow::Owned(format!(r#"{{"reasons":[{{"reasonCode":"{code}","reasonMsg":"{why}"}}]}}"#));
        no
    }

    /// 10001 with its reason.
    pub(super) fn params(reason: &str) -> Self {
        Self::said(10001, format!("params error: {reason}"))
    }
}

macro_rules! codes {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(pub(super) const $name: Refusal = Refusal::new($code, $text);)*
        /// Every refusal with a fixed text.
        pub(super) const ALL: &[Refusal] = &[$($name),*];
    };
}

codes! {
    TIMEOUT = 10000, "Server Timeout";
    BAD_KEY = 10003, "API key is invalid.";
    BAD_SIGN = 10004, "error sign! please check your signature generation algorithm.";
    NO_PERMISSION = 10005, "Permission denied, please check your API key permissions.";
    TOO_MANY = 10006, "Too many visits. Exceeded the API Rate Limit.";
    NO_AUTH = 10007, "User authentication failed.";
    BAD_IP = 10010, "Unmatched IP, please check your API key's bound IP addresses.";
    INTERNAL = 10016, "Internal server error.";
    NO_ROUTE = 10017, "Route not found.";
    RESTARTING = 10019, "The trade service is restarting. Please reconnect to the server.";
    BANNED = 10029, "The requested symbol is invalid, please check symbol whitelist";
    DUP_REQ = 20006, "Duplicate reqId";
    BAD_OP = 10404, "op type is not found";
    IP_RATE = 10403, "Exceed IP rate limit.";
    PROTECTED = 10429, "System level frequency protection.";
    AUTHED = 20001, "Repeat auth";
    TOO_FREQUENT = 20003, "Too frequent requests under the same session";
    NO_ORDER_CANCEL = 110001, "order not exists or too late to cancel";
    NO_ORDER_REPLACE = 110001, "order not exists or too late to replace";
    PRICE_BAND = 110003, "Order price exceeds the allowable range.";
    NO_WALLET = 110004, "Wallet balance is insufficient.";
    NO_MARGIN = 110007, "ab not enough for new order";
    TOO_MANY_STOPS = 110009, "The number of stop orders exceeds the maximum allowable limit.";
    LEVERAGE_HIGH = 110013, "cannot set leverage gt maxLeverage by risk limit";
    REDUCE_ZERO = 110017, "current position is zero, cannot fix reduce-only order qty";
    TOO_MANY_ORDERS = 110020, "not allowed to have more than 500 active orders";
    HALTED = 110066, "Trading is currently not allowed.";
    DELISTED = 110074, "This contract is not live";
    MODE_SAME = 110025, "Position mode is not modified";
    HAS_POSITION = 110024, "You have existing position, so position mode cannot be switched";
    HAS_ORDERS = 110028, "You have existing open orders, so position mode cannot be switched";
    WOULD_LIQUIDATE = 110011, "Liquidation will be triggered immediately by this adjustment";
    NO_MARGIN_TO_ADD = 110014, "Insufficient available balance to add additional margin.";
    IS_CROSS = 110015, "The position is in cross margin mode.";
    MARGIN_SAME = 110027, "Margin has not been modified.";
    NO_POSITION = 110033, "You can't set margin without an open position";
    ONLY_ISOLATED = 110076, "Only isolated mode can set auto-add-margin";
    MARGIN_TOO_LOW = 110078, "Added margin more than max can reduce margin";
    NOT_RESTRICTED = 110082, "You cannot lift Reduce-Only restrictions, as no Reduce-Only restrictions are applied to your position";
    RISK_LIMIT = 110089, "Exceeds the maximum risk limit level";
    LEVERAGE_SAME = 110043, "leverage not modified";
    QTY_BELOW_FILLED = 110064, "The modified quantity is less than or equal to the filled quantity.";
    DUP_LINK = 110072, "OrderLinkedID is duplicate";
    TRIGGER_BUY = 110092, "expect Rising, but trigger_price is not above current price";
    TRIGGER_SELL = 110093, "expect Falling, but trigger_price is not below current price";
    EXITS_FIXED = 110059, "Not allowed to modify the TP/SL of a partially filled open order.";
    GUARD_FIXED = 110060, "Under full TP/SL mode, it is not allowed to modify TP/SL.";
    GUARD_TOO_LARGE = 110058, "You can't set take profit and stop loss due to insufficient size of remaining position size.";
    TOO_MANY_GUARDS = 110061, "Not allowed to have more than 20 TP/SLs under Partial tpSlMode.";
    NOT_MODIFIED = 34040, "not modified";
    NO_RPI = 110119, "Order failed. RPI orders are restricted to approved market makers only";
    MIN_NOTIONAL = 110094, "Order does not meet minimum order value 5USDT";
    IDX_MISMATCH = 10001, "position idx not match position mode";
    BAD_SYMBOL = 10001, "params error: symbol invalid";
    BAD_CATEGORY = 10001, "params error: category invalid";
    QTY_ERR = 10001, "params error: qty err";
    UNCHANGED = 10001, "params error: order not modified";
}

/// The refusal of a code, with its text where one is known.
pub(super) fn by_code(code: i32) -> Refusal {
    ALL.iter().find(|r| r.code == code).cloned().unwrap_or(Refusal::new(code, "Request refused."))
}

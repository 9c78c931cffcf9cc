//! The rows of the private streams and of the queries, as the venue writes them, and the facts they become.
//!
//! A row is checked field by field; the first field that cannot be read refuses the whole frame. Words we do not know
//! stay `Unrecognised` where the fact has such a value. Numbers that decide (prices and quantities of orders and fills,
//! fees) must be exact; averages and valuations may carry more digits than we keep.

use super::scalar::Scalar;
use super::scan::{Scan, row};
use super::{DecodeError, Source};
use keel_core::event::{ExecKind, Fill, Flag, OrderStatus, OrderUpdate, Side, TimeInForce, VenuePosition, Wallet};
use keel_core::ids::{ClientId, InstrumentId, Text, VenueId};
use keel_core::units::{Notional, Px, Qty, SCALE};

row! {
    /// A row of `order`, `order/realtime`, `order/history`.
    OrderRow {
        pub(crate) category: "category",
        pub(crate) symbol: "symbol",
        order_id: "orderId",
        order_link_id: "orderLinkId",
        side: "side",
        order_status: "orderStatus",
        reject_reason: "rejectReason",
        cancel_type: "cancelType",
        time_in_force: "timeInForce",
        price: "price",
        qty: "qty",
        avg_price: "avgPrice",
        leaves_qty: "leavesQty",
        cum_exec_qty: "cumExecQty",
        reduce_only: "reduceOnly",
        updated_time: "updatedTime",
    }
}

impl OrderRow<'_> {
    pub(crate) fn fact(&self, instrument: InstrumentId, source: Source) -> Result<OrderUpdate, DecodeError> {
        let status = status(self.order_status.text())?;
        let (qty, filled) = (qty(self.qty)?, qty(self.cum_exec_qty)?);
        if filled > qty && !qty.is_zero() {
            return Err(DecodeError::Contradiction);
        }
        Ok(OrderUpdate {
            client: client(self.order_link_id),
            recv: source.recv,
            ticks: source.ticks,
            updated: self.updated_time.wall()?,
            px: px(self.price)?,
            qty,
            filled,
            leaves: self::qty(self.leaves_qty)?,
            avg_px: average(self.avg_price)?,
            venue: venue(self.order_id)?,
            reason: reason(self.reject_reason, self.cancel_type),
            instrument,
            side: side(self.side)?,
            status,
            tif: tif(self.time_in_force.text()),
            reduce_only: self.reduce_only.flag(),
            queried: source.queried,
            pad: 0,
        })
    }
}

row! {
    /// A row of `execution` or `execution/list`.
    ExecRow {
        pub(crate) category: "category",
        pub(crate) symbol: "symbol",
        order_id: "orderId",
        order_link_id: "orderLinkId",
        side: "side",
        leaves_qty: "leavesQty",
        exec_id: "execId",
        exec_price: "execPrice",
        exec_qty: "execQty",
        exec_fee: "execFee",
        exec_type: "execType",
        exec_time: "execTime",
        is_maker: "isMaker",
        closed_size: "closedSize",
        exec_pnl: "execPnl",
        mark_price: "markPrice",
        seq: "seq",
    }
}

impl ExecRow<'_> {
    pub(crate) fn fact(&self, instrument: InstrumentId, source: Source) -> Result<Fill, DecodeError> {
        let exec = venue(self.exec_id)?;
        let (kind, qty) = (exec_kind(self.exec_type.text()), qty(self.exec_qty)?);
        let side = match kind {
            ExecKind::Funding => side(self.side).unwrap_or_default(),
            _ => side(self.side)?,
        };
        if exec.is_empty() || (qty <= Qty::ZERO && kind != ExecKind::Funding) {
            return Err(DecodeError::Contradiction);
        }
        Ok(Fill {
            client: client(self.order_link_id),
            recv: source.recv,
            ticks: source.ticks,
            ts: self.exec_time.wall()?,
            seq: self.seq.count()?,
            px: px(self.exec_price)?,
            qty,
            leaves: self::qty(self.leaves_qty)?,
            closed: self::qty(self.closed_size)?,
            fee: fee(self.exec_fee)?,
            pnl: money(self.exec_pnl)?,
            mark: average(self.mark_price)?,
            exec,
            venue: venue(self.order_id)?,
            instrument,
            side,
            kind,
            maker: self.is_maker.flag(),
            queried: source.queried,
            pad: [0; 2],
        })
    }
}

row! {
    /// A row of `position` or `position/list`.
    PositionRow {
        pub(crate) category: "category",
        pub(crate) symbol: "symbol",
        pub(crate) position_idx: "positionIdx",
        side: "side",
        size: "size",
        /// The stream's word for it; the query says `avgPrice`.
        entry_price: "entryPrice" or "avgPrice",
        mark_price: "markPrice",
        liq_price: "liqPrice",
        unrealised_pnl: "unrealisedPnl",
        cur_realised_pnl: "curRealisedPnl",
        initial_margin: "positionIM",
        maintenance_margin: "positionMM",
        position_status: "positionStatus",
        updated_time: "updatedTime",
        seq: "seq",
    }
}

impl PositionRow<'_> {
    pub(crate) fn fact(&self, instrument: InstrumentId, source: Source) -> Result<VenuePosition, DecodeError> {
        let size = qty(self.size)?;
        let size = match self.side.text() {
            b"Buy" => size,
            b"Sell" => -size,
            b"" | b"None" if size.is_zero() => size,
            _ => return Err(DecodeError::Side),
        };
        Ok(VenuePosition {
            recv: source.recv,
            updated: self.updated_time.wall()?,
            seq: self.seq.count()?,
            size,
            entry: average(self.entry_price)?,
            mark: average(self.mark_price)?,
            liquidation: average(self.liq_price)?,
            unrealised: money(self.unrealised_pnl)?,
            realised: money(self.cur_realised_pnl)?,
            initial_margin: money(self.initial_margin)?,
            maintenance_margin: money(self.maintenance_margin)?,
            instrument,
            distressed: Flag::from(!matches!(self.position_status.text(), b"Normal" | b"")),
            queried: source.queried,
            pad: [0; 4],
        })
    }
}

row! {
    /// A row of `wallet` or `wallet-balance`: the account in USD, its coins each in itself.
    WalletRow {
        pub(crate) account_type: "accountType",
        total_available_balance: "totalAvailableBalance",
        total_initial_margin: "totalInitialMargin",
        total_maintenance_margin: "totalMaintenanceMargin",
        coin: "coin",
    }
}

row! {
    CoinRow {
        coin: "coin",
        equity: "equity",
        wallet_balance: "walletBalance",
        unrealised_pnl: "unrealisedPnl",
    }
}

impl<'a> WalletRow<'a> {
    fn usdt(&self) -> Result<Option<CoinRow<'a>>, DecodeError> {
        let mut usdt = None;
        if let Some(coins) = self.coin.part() {
            Scan::new(coins).array(|scan| {
                let row = CoinRow::read(scan)?;
                if usdt.is_none() && row.coin.text() == b"USDT" {
                    usdt = Some(row);
                }
                Ok(())
            })?;
        }
        Ok(usdt)
    }

    /// `None` when the row does not speak of USDT. A query leaves coins of nothing out: there it means zero.
    pub(crate) fn fact(&self, ts: keel_core::units::Wall, source: Source) -> Result<Option<Wallet>, DecodeError> {
        let usdt = match self.usdt()? {
            Some(row) => row,
            None if source.queried.is_set() => CoinRow::default(),
            None => return Ok(None),
        };
        Ok(Some(Wallet {
            recv: source.recv,
            ts,
            equity: money(usdt.equity)?,
            balance: money(usdt.wallet_balance)?,
            available: money(self.total_available_balance)?,
            initial_margin: money(self.total_initial_margin)?,
            maintenance_margin: money(self.total_maintenance_margin)?,
            unrealised: money(usdt.unrealised_pnl)?,
            queried: source.queried,
            pad: [0; 7],
        }))
    }
}

fn px(value: Scalar<'_>) -> Result<Px, DecodeError> {
    let px = Px::from_raw(value.exact()?);
    (px >= Px::ZERO && px <= Px::MAX).then_some(px).ok_or(DecodeError::Number)
}

fn qty(value: Scalar<'_>) -> Result<Qty, DecodeError> {
    let qty = Qty::from_raw(value.exact()?);
    (qty >= Qty::ZERO && qty <= Qty::MAX).then_some(qty).ok_or(DecodeError::Number)
}

/// A valuation: digits beyond the eighth decimal are dropped.
fn average(value: Scalar<'_>) -> Result<Px, DecodeError> {
    let px = Px::from_raw(value.rounded()?);
    (px.abs() <= Px::MAX).then_some(px).ok_or(DecodeError::Number)
}

/// A valuation: digits beyond the eighth decimal are dropped.
fn money(value: Scalar<'_>) -> Result<Notional, DecodeError> {
    let money = Notional::from_raw(value.rounded()?);
    (money.abs() <= Notional::MAX).then_some(money).ok_or(DecodeError::Number)
}

/// A fee with more digits than we keep rounds against us.
fn fee(value: Scalar<'_>) -> Result<Notional, DecodeError> {
    let raw = match value.exact() {
        Ok(raw) => raw,
        Err(_) => value.rounded()?.saturating_add(1),
    };
    (raw.abs() <= Notional::MAX.raw()).then_some(Notional::from_raw(raw)).ok_or(DecodeError::Number)
}

fn client(link: Scalar<'_>) -> ClientId {
    ClientId::from_link(link.text()).unwrap_or(ClientId::NONE)
}

fn venue(id: Scalar<'_>) -> Result<VenueId, DecodeError> {
    VenueId::new(id.text()).ok_or(DecodeError::Id)
}

fn side(word: Scalar<'_>) -> Result<Side, DecodeError> {
    match word.text() {
        b"Buy" => Ok(Side::Buy),
        b"Sell" => Ok(Side::Sell),
        _ => Err(DecodeError::Side),
    }
}

/// The reject reason when there is one, else what cancelled it.
fn reason(reject: Scalar<'_>, cancel: Scalar<'_>) -> Text<39> {
    let word = match (reject.text(), cancel.text()) {
        (b"" | b"EC_NoError", b"" | b"UNKNOWN") => b"".as_slice(),
        (b"" | b"EC_NoError", cancelled) => cancelled,
        (rejected, _) => rejected,
    };
    Text::new(&word[..word.len().min(39)]).unwrap_or(Text::EMPTY)
}

fn status(word: &[u8]) -> Result<OrderStatus, DecodeError> {
    Ok(match word {
        b"New" => OrderStatus::New,
        b"PartiallyFilled" => OrderStatus::PartiallyFilled,
        b"Untriggered" => OrderStatus::Untriggered,
        b"Triggered" => OrderStatus::Triggered,
        b"Filled" => OrderStatus::Filled,
        b"Cancelled" | b"PartiallyFilledCanceled" => OrderStatus::Cancelled,
        b"Rejected" => OrderStatus::Rejected,
        b"Deactivated" => OrderStatus::Deactivated,
        b"" => return Err(DecodeError::Missing),
        _ => OrderStatus::Unrecognised,
    })
}

/// `RPI` rests or is cancelled like `PostOnly`; a word we do not know is taken for the longest life.
fn tif(word: &[u8]) -> TimeInForce {
    match word {
        b"IOC" => TimeInForce::Ioc,
        b"FOK" => TimeInForce::Fok,
        b"PostOnly" | b"RPI" => TimeInForce::PostOnly,
        _ => TimeInForce::Gtc,
    }
}

fn exec_kind(word: &[u8]) -> ExecKind {
    match word {
        b"Trade" => ExecKind::Trade,
        b"Funding" => ExecKind::Funding,
        b"BustTrade" => ExecKind::Liquidation,
        b"AdlTrade" => ExecKind::Adl,
        b"Delivery" | b"Settle" => ExecKind::Settlement,
        b"BlockTrade" | b"MovePosition" | b"FutureSpread" | b"CorporateAction" => ExecKind::Other,
        _ => ExecKind::Unrecognised,
    }
}

const _: () = assert!(SCALE == 100_000_000, "`Scalar::rounded` keeps eight decimals");

//! What the venue says it trades: one page of `GET /v5/market/instruments-info` to instrument rows.
//!
//! In: the body of an answer. Out: rows whose numbers fit, refusals with their reason, the cursor of the next page.
//! Never: a row repaired or guessed. Fees are not on this page and stay zero; they come from the account.

use crate::decode::DecodeError;
use crate::json::{Json, must, optional};
use keel_core::event::Flag;
use keel_core::ids::{InstrumentId, Symbol};
use keel_core::instrument::{Instrument, Instruments, Misfit};
use keel_core::units::{Notional, Px, Qty, SCALE, Wall, parse_decimal};

/// Bodies longer than this are refused unread; a page of 1000 rows is about 1.3 MB.
pub const MAX_BODY: usize = 8 << 20;

/// One page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows that fit. Ids are not given out yet.
    pub rows: Vec<Instrument>,
    /// Rows that do not.
    pub refused: Vec<(Symbol, RowError)>,
    /// To be passed back as it is for the next page; empty at the end.
    pub cursor: String,
    /// The venue's clock when it answered.
    pub time: Wall,
}

/// Why a page was refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Not the answer it should be.
    Body(DecodeError),
    /// The venue refused, with this `retCode`.
    Venue(u64),
}

impl From<DecodeError> for PageError {
    fn from(why: DecodeError) -> Self {
        Self::Body(why)
    }
}

/// Why a row was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowError {
    /// This field is missing or not what it should be.
    Field(&'static str, DecodeError),
    /// Not a USDT-settled perpetual: another product keel does not trade.
    OtherProduct,
    /// Its numbers do not fit each other.
    Misfit(Misfit),
}

/// Path and query of a page; an empty cursor asks for the first.
#[must_use]
pub fn path_and_query(cursor: &str) -> String {
    let cursor = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
    format!("/v5/market/instruments-info?category=linear&limit=1000{cursor}")
}

/// Reads a page.
pub fn parse(body: &[u8]) -> Result<Page, PageError> {
    if body.is_empty() || body.len() > MAX_BODY {
        return Err(DecodeError::Length.into());
    }
    let mut copy = body.to_vec();
    let tape = simd_json::to_tape(&mut copy).map_err(|_| DecodeError::NotJson)?;
    let [code, result, time] = Json::whole(&tape.0)?.fields(["retCode", "result", "time"])?;
    let code = must(code)?.int()?;
    if code != 0 {
        return Err(PageError::Venue(code));
    }
    let [list, cursor] = must(result)?.fields(["list", "nextPageCursor"])?;
    let mut page = Page {
        // A missing or null cursor is the end, like an empty one.
        cursor: cursor.and_then(|cursor| cursor.text().ok()).map_or_else(String::new, lossless),
        time: optional(time, |time| time.int().map(Wall::from_millis), Wall::default())?,
        ..Page::default()
    };
    for item in must(list)?.items()? {
        let mut symbol = Symbol::EMPTY;
        match row(item, &mut symbol) {
            Ok(row) => page.rows.push(row),
            Err(why) => page.refused.push((symbol, why)),
        }
    }
    Ok(page)
}

/// What a refresh found different about an instrument in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Not on the list any more: delisted.
    Gone,
    /// No longer open for trading: halted, delivering.
    Closed,
    /// Open for trading again.
    Open,
    /// A grid, size, band or leverage is another: what was computed with the old one must be computed again.
    Numbers,
}

/// Compares a table in use with rows just fetched, all pages together. Fees are not on the page and not compared. A
/// table is fixed after the start: the caller decides whether to stop trading or to start over.
pub fn changes<'a>(
    table: &'a Instruments,
    fetched: &'a [Instrument],
) -> impl Iterator<Item = (InstrumentId, Changed)> + 'a {
    table.rows().iter().filter_map(|have| {
        let Some(new) = fetched.iter().find(|row| row.symbol == have.symbol) else {
            return Some((have.id, Changed::Gone));
        };
        let comparable = Instrument { id: have.id, taker_fee: have.taker_fee, maker_fee: have.maker_fee, ..*new };
        match (have.trading.is_set(), new.trading.is_set()) {
            (true, false) => Some((have.id, Changed::Closed)),
            (false, true) => Some((have.id, Changed::Open)),
            _ if comparable != *have => Some((have.id, Changed::Numbers)),
            _ => None,
        }
    })
}

fn lossless(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// Names the field a reader failed at.
fn at<T>(name: &'static str, value: Result<T, DecodeError>) -> Result<T, RowError> {
    value.map_err(|why| RowError::Field(name, why))
}

fn row(item: Json<'_>, symbol: &mut Symbol) -> Result<Instrument, RowError> {
    let keys = ["symbol", "contractType", "status", "quoteCoin", "settleCoin", "fundingInterval", "isPreListing"];
    let [name, contract, status, quote, settle, funding, pre_listing] = at("row", item.fields(keys))?;
    let keys = ["priceFilter", "lotSizeFilter", "leverageFilter", "riskParameters"];
    let [prices, lots, leverage, risk] = at("row", item.fields(keys))?;
    *symbol = at("symbol", word(name).and_then(|name| Symbol::new(name).ok_or(DecodeError::WrongType)))?;
    if at("contractType", word(contract))? != b"LinearPerpetual"
        || at("quoteCoin", word(quote))? != b"USDT"
        || at("settleCoin", word(settle))? != b"USDT"
    {
        return Err(RowError::OtherProduct);
    }
    let open = at("status", word(status))? == b"Trading";
    let pre_listing = at("isPreListing", optional(pre_listing, |flag| flag.boolean(), false))?;
    let [tick, min_px, max_px] =
        at("priceFilter", must(prices).and_then(|p| p.fields(["tickSize", "minPrice", "maxPrice"])))?;
    let keys = ["qtyStep", "minOrderQty", "maxOrderQty", "maxMktOrderQty", "minNotionalValue"];
    let [step, min_qty, max_qty, max_market_qty, min_notional] =
        at("lotSizeFilter", must(lots).and_then(|l| l.fields(keys)))?;
    let [max_leverage] = at("leverageFilter", must(leverage).and_then(|l| l.fields(["maxLeverage"])))?;
    let [band_x, band_y] = match risk {
        Some(risk) => at("riskParameters", risk.fields(["priceLimitRatioX", "priceLimitRatioY"]))?,
        None => [None, None],
    };
    let instrument = Instrument {
        symbol: *symbol,
        tick: at("tickSize", px(tick))?,
        min_px: at("minPrice", px(min_px))?,
        max_px: at("maxPrice", px(max_px))?,
        step: at("qtyStep", qty(step))?,
        min_qty: at("minOrderQty", qty(min_qty))?,
        max_qty: at("maxOrderQty", qty(max_qty))?,
        max_market_qty: at("maxMktOrderQty", qty(max_market_qty))?,
        min_notional: at("minNotionalValue", notional(min_notional))?,
        band_x: at("priceLimitRatioX", ratio(band_x))?,
        band_y: at("priceLimitRatioY", ratio(band_y))?,
        funding_minutes: at("fundingInterval", minutes(funding))?,
        max_leverage: at("maxLeverage", hundredths(max_leverage))?,
        trading: Flag::from(open && !pre_listing),
        ..Instrument::default()
    };
    instrument.check().map_err(RowError::Misfit)?;
    Ok(instrument)
}

fn word(value: Option<Json<'_>>) -> Result<&[u8], DecodeError> {
    must(value)?.text()
}

fn px(value: Option<Json<'_>>) -> Result<Px, DecodeError> {
    Ok(Px::parse(word(value)?)?)
}

fn qty(value: Option<Json<'_>>) -> Result<Qty, DecodeError> {
    Ok(Qty::parse(word(value)?)?)
}

fn notional(value: Option<Json<'_>>) -> Result<Notional, DecodeError> {
    Ok(Notional::parse(word(value)?)?)
}

/// A band ratio between 0 and 1, in 1e-8; zero when the venue does not say.
fn ratio(value: Option<Json<'_>>) -> Result<i64, DecodeError> {
    match value.map(Json::text).transpose()? {
        None | Some(b"") => Ok(0),
        Some(text) => match parse_decimal(text)? {
            ratio if (0..=SCALE).contains(&ratio) => Ok(ratio),
            _ => Err(DecodeError::Range),
        },
    }
}

fn minutes(value: Option<Json<'_>>) -> Result<u32, DecodeError> {
    u32::try_from(must(value)?.int()?).map_err(|_| DecodeError::Range)
}

/// Leverage in hundredths; finer is refused.
fn hundredths(value: Option<Json<'_>>) -> Result<u32, DecodeError> {
    let raw = parse_decimal(word(value)?)?;
    if raw % (SCALE / 100) != 0 {
        return Err(DecodeError::Precision);
    }
    u32::try_from(raw / (SCALE / 100)).map_err(|_| DecodeError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"symbol":"ABCUSDT","symbolId":900,"contractType":"LinearPerpetual","status":"Trading","baseCoin":"ABC","quoteCoin":"USDT","settleCoin":"USDT","symbolType":"","launchTime":"1700000000000","deliveryTime":"0","deliveryFeeRate":"","priceScale":"2","leverageFilter":{"minLeverage":"1","maxLeverage":"25.00","leverageStep":"0.01"},"priceFilter":{"minPrice":"0.01","maxPrice":"1999.98","tickSize":"0.01"},"lotSizeFilter":{"minOrderQty":"0.1","maxOrderQty":"40000.0","maxMktOrderQty":"9000.0","qtyStep":"0.1","minNotionalValue":"5","postOnlyMaxOrderQty":"40000.0"},"unifiedMarginTrade":true,"fundingInterval":480,"copyTrading":"none","upperFundingRate":"0.01","lowerFundingRate":"-0.01","displayName":"","forbidUplWithdrawal":false,"isPreListing":false,"preListingInfo":null,"riskParameters":{"priceLimitRatioX":"0.02","priceLimitRatioY":"0.04"}}"#;

    fn page(rows: &[&str], cursor: &str) -> String {
        let rows = rows.join(",");
        format!(
            "{{\"retCode\":0,\"retMsg\":\"OK\",\"result\":{{\"category\":\"linear\",\"list\":[{rows}],\"nextPageCursor\":{cursor}}},\"retExtInfo\":{{}},\"time\":1900000000200}}"
        )
    }

    #[test]
    fn a_row_is_read_whole() {
        let page = parse(page(&[ROW], "\"first%3A2\"").as_bytes()).unwrap();
        let row = page.rows[0];
        assert_eq!((row.symbol.as_str(), row.tick.to_string().as_str()), ("ABCUSDT", "0.01"));
        assert_eq!((row.max_leverage, row.funding_minutes), (2500, 480));
        assert_eq!((row.band_x, row.band_y), (2_000_000, 4_000_000));
        assert!(row.trading.is_set() && page.refused.is_empty());
        assert_eq!((page.cursor.as_str(), page.time), ("first%3A2", Wall::from_millis(1_900_000_000_200)));
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        for end in ["\"\"", "null"] {
            assert_eq!(parse(page(&[], end).as_bytes()).unwrap().cursor, "");
        }
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused_with_its_reason_and_the_others_stay() {
        let rows: [(&str, &str, RowError); 12] = [
            ("\"LinearPerpetual\"", "\"LinearFutures\"", RowError::OtherProduct),
            ("\"quoteCoin\":\"USDT\"", "\"quoteCoin\":\"USDC\"", RowError::OtherProduct),
            ("\"tickSize\":\"0.01\"", "\"tickSize\":\"0\"", RowError::Misfit(Misfit::Tick)),
            (
                "\"tickSize\":\"0.01\"",
                "\"tickSize\":\"0.000000001\"",
                RowError::Field("tickSize", DecodeError::Precision),
            ),
            ("\"tickSize\":\"0.01\"", "\"tickSize\":0.01", RowError::Field("tickSize", DecodeError::WrongType)),
            ("\"tickSize\":\"0.01\"", "\"tick\":\"0.01\"", RowError::Field("tickSize", DecodeError::Missing)),
            ("\"minPrice\":\"0.01\"", "\"minPrice\":\"0.015\"", RowError::Misfit(Misfit::PriceRange)),
            ("\"maxOrderQty\":\"40000.0\"", "\"maxOrderQty\":\"0.05\"", RowError::Misfit(Misfit::QtyRange)),
            ("\"maxMktOrderQty\":\"9000.0\"", "\"maxMktOrderQty\":\"90000\"", RowError::Misfit(Misfit::MarketQty)),
            (
                "\"fundingInterval\":480",
                "\"fundingInterval\":\"480\"",
                RowError::Field("fundingInterval", DecodeError::WrongType),
            ),
            ("\"25.00\"", "\"25.001\"", RowError::Field("maxLeverage", DecodeError::Precision)),
            ("\"0.02\"", "\"2\"", RowError::Field("priceLimitRatioX", DecodeError::Range)),
        ];
        for (good, bad, why) in rows {
            assert!(ROW.contains(good), "{good}");
            let page = parse(page(&[&ROW.replace(good, bad), ROW], "\"\"").as_bytes()).unwrap();
            assert_eq!(page.refused.iter().map(|(_, why)| *why).collect::<Vec<_>>(), [why], "{bad}");
            assert_eq!(page.rows.len(), 1);
        }
        let closed = parse(page(&[&ROW.replace("\"Trading\"", "\"PreLaunch\"")], "\"\"").as_bytes()).unwrap();
        assert!(!closed.rows[0].trading.is_set(), "listed, not open");
        let listing = ROW.replace("\"isPreListing\":false", "\"isPreListing\":true");
        assert!(!parse(page(&[&listing], "\"\"").as_bytes()).unwrap().rows[0].trading.is_set());
    }

    #[test]
    fn a_refresh_names_what_changed() {
        let fetched = |row: &str| parse(page(&[row], "\"\"").as_bytes()).unwrap().rows;
        let mut row = fetched(ROW)[0];
        row.taker_fee = 55_000;
        let table = Instruments::new([row]).unwrap();
        let halted = ROW.replace("\"Trading\"", "\"Closed\"");
        let finer = ROW.replace("\"tickSize\":\"0.01\"", "\"tickSize\":\"0.005\"");
        let other = ROW.replace("ABCUSDT", "XYZUSDT");
        for (row, expected) in [
            (ROW, None),
            (&halted, Some(Changed::Closed)),
            (&finer, Some(Changed::Numbers)),
            (&other, Some(Changed::Gone)),
        ] {
            let rows = fetched(row);
            assert_eq!(changes(&table, &rows).next().map(|(_, what)| what), expected, "{row}");
        }
        let closed = Instruments::new([Instrument { trading: Flag::No, ..row }]).unwrap();
        assert_eq!(changes(&closed, &fetched(ROW)).next(), Some((InstrumentId(0), Changed::Open)));
    }

    #[test]
    fn recorded_pages_give_rows_or_reasons() {
        let shared = std::env::var_os("KEEL_SHARED").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
            std::path::PathBuf::from,
        );
        for (file, rows, refused) in [
            ("bybit_v5_rest/fastmm_spot_testnet_instruments_info.json", 0, 1),
            ("thirdparty_docs_shaped/nautilus/http_get_instruments_linear.json", 2, 0),
            ("thirdparty_docs_shaped/nautilus/http_get_instruments_inverse.json", 0, 1),
            ("thirdparty_docs_shaped/nautilus/http_get_instruments_option.json", 0, 1),
        ] {
            let Ok(body) = std::fs::read(shared.join(file)) else {
                println!("SKIPPED: recorded data not found ({})", shared.join(file).display());
                continue;
            };
            let page = parse(&body).unwrap();
            assert_eq!((page.rows.len(), page.refused.len()), (rows, refused), "{file}: {:?}", page.refused);
        }
    }

    #[test]
    fn an_answer_that_is_no_page_is_refused() {
        let cut = page(&[ROW], "\"\"");
        for (body, why) in [
            (&b""[..], PageError::Body(DecodeError::Length)),
            (b"<html>", PageError::Body(DecodeError::NotJson)),
            (&cut.as_bytes()[..cut.len() / 2], PageError::Body(DecodeError::NotJson)),
            (b"{}", PageError::Body(DecodeError::Missing)),
            (b"{\"retCode\":10006,\"retMsg\":\"\",\"result\":{}}", PageError::Venue(10006)),
            (b"{\"retCode\":0,\"result\":{\"list\":{}}}", PageError::Body(DecodeError::WrongType)),
        ] {
            assert_eq!(parse(body).err(), Some(why));
        }
    }
}

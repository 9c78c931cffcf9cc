"""ccxt and ccxt.pro, unmodified but for their addresses."""

import asyncio

import ccxt
import ccxt.pro
from venue import KEY, SECRET, command, venue


def options(host, pro):
    http, ws = f"http://{host}", f"ws://{host}"
    api = {"public": http, "private": http}
    if pro:
        api["ws"] = {
            "public": {"linear": ws + "/v5/public/linear"},
            "private": {"contract": ws + "/v5/private", "trade": ws + "/v5/trade"},
        }
    return {"apiKey": KEY, "secret": SECRET, "options": {"fetchMarkets": {"types": ["linear"]}}, "urls": {"api": api}}


def rest(host):
    ex = ccxt.bybit(options(host, False))
    assert set(ex.load_markets()) == {"BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"}
    assert ex.fetch_balance()["USDT"]["total"] == 100000
    book = ex.fetch_order_book("ETH/USDT:USDT", 20)
    assert len(book["bids"]) == 20 and book["bids"][0][0] < book["asks"][0][0]
    ticker = ex.fetch_ticker("ETH/USDT:USDT")
    low = ex.price_to_precision("ETH/USDT:USDT", ticker["bid"] - 50)
    order = ex.create_order("ETH/USDT:USDT", "limit", "buy", 0.1, low, {"clientOrderId": "cc-1"})
    ex.edit_order(order["id"], "ETH/USDT:USDT", "limit", "buy", 0.2, low)
    found = ex.fetch_open_orders("ETH/USDT:USDT")
    assert [(o["id"], o["amount"], o["clientOrderId"]) for o in found] == [(order["id"], 0.2, "cc-1")], found
    ex.cancel_order(order["id"], "ETH/USDT:USDT")
    assert ex.fetch_open_orders("ETH/USDT:USDT") == []
    ex.create_order("ETH/USDT:USDT", "market", "sell", 0.5)
    position = ex.fetch_positions(["ETH/USDT:USDT"])[0]
    assert (position["side"], position["contracts"]) == ("short", 0.5), position
    fills = ex.fetch_my_trades("ETH/USDT:USDT")
    assert abs(sum(f["amount"] for f in fills) - 0.5) < 1e-9 and all(f["fee"]["cost"] > 0 for f in fills)
    try:
        ex.cancel_order(order["id"], "ETH/USDT:USDT")
        raise AssertionError("a dead order was cancelled")
    except ccxt.OrderNotFound:
        pass
    ex.create_order("ETH/USDT:USDT", "market", "buy", 0.5, None, {"reduceOnly": True})


async def streams(host):
    ex = ccxt.pro.bybit(options(host, True))
    try:
        await ex.load_markets()
        book = await ex.watch_order_book("BTC/USDT:USDT", 50)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert await asyncio.wait_for(ex.watch_trades("BTC/USDT:USDT"), 30)
        orders = asyncio.ensure_future(ex.watch_orders("BTC/USDT:USDT"))
        fills = asyncio.ensure_future(ex.watch_my_trades("BTC/USDT:USDT"))
        await asyncio.sleep(0.5)
        low = ex.price_to_precision("BTC/USDT:USDT", book["bids"][0][0] - 300)
        placed = await ex.create_order_ws("BTC/USDT:USDT", "limit", "buy", 0.01, low)
        seen = (await asyncio.wait_for(orders, 20))[0]
        assert (seen["id"], seen["status"]) == (placed["id"], "open"), seen
        await ex.edit_order_ws(placed["id"], "BTC/USDT:USDT", "limit", "buy", 0.02, low)
        await ex.cancel_order_ws(placed["id"], "BTC/USDT:USDT")
        await ex.create_order_ws("BTC/USDT:USDT", "market", "buy", 0.02)
        fill = (await asyncio.wait_for(fills, 20))[0]
        assert fill["symbol"] == "BTC/USDT:USDT" and fill["amount"] > 0
        positions = await asyncio.wait_for(ex.watch_positions(["BTC/USDT:USDT"]), 20)
        assert positions[0]["contracts"] == 0.02, positions
        command(host, "disconnect channel=public")
        async def again():
            while True:
                try:
                    return await ex.watch_order_book("BTC/USDT:USDT", 50)
                except ccxt.NetworkError:
                    continue
        for _ in range(5):
            book = await asyncio.wait_for(again(), 30)
            assert book["bids"][0][0] < book["asks"][0][0]
    finally:
        await ex.close()


with venue("--seed", "12") as address:
    rest(address)
with venue("--seed", "13") as address:
    asyncio.run(streams(address))
print("ccxt: passed")

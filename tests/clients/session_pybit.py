"""pybit, unmodified but for its addresses: markets, balance, streams, place, amend, cancel, fill, history, reconnect."""

import pybit._websocket_trading as trading
import pybit.unified_trading as unified
from venue import KEY, SECRET, command, until, venue


def session(host):
    unified.PUBLIC_WSS = f"ws://{host}/v5/public/{{CHANNEL_TYPE}}"
    unified.PRIVATE_WSS = f"ws://{host}/v5/private"
    trading.TRADE_WSS = f"ws://{host}/v5/trade"
    http = unified.HTTP(api_key=KEY, api_secret=SECRET)
    http.endpoint = f"http://{host}"
    rows = http.get_instruments_info(category="linear")["result"]["list"]
    assert {row["symbol"] for row in rows} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    wallet = http.get_wallet_balance(accountType="UNIFIED")["result"]["list"][0]
    assert wallet["totalEquity"] == "100000", wallet["totalEquity"]

    seen = {"book": [], "trade": [], "ticker": [], "order": [], "execution": [], "position": [], "wallet": []}
    public = unified.WebSocket(testnet=False, channel_type="linear")
    public.orderbook_stream(50, "BTCUSDT", seen["book"].append)
    public.trade_stream("BTCUSDT", seen["trade"].append)
    public.ticker_stream("BTCUSDT", seen["ticker"].append)
    private = unified.WebSocket(testnet=False, channel_type="private", api_key=KEY, api_secret=SECRET)
    private.order_stream(seen["order"].append)
    private.execution_stream(seen["execution"].append)
    private.position_stream(seen["position"].append)
    private.wallet_stream(seen["wallet"].append)
    for name in ("book", "trade", "ticker"):
        until(f"a {name}", lambda: len(seen[name]) > 3)
    book = seen["book"][-1]["data"]
    assert len(book["b"]) == 50 and float(book["b"][0][0]) < float(book["a"][0][0])

    low = f"{float(book['b'][0][0]) - 500:.1f}"
    placed = http.place_order(
        category="linear", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price=low, orderLinkId="py-1"
    )["result"]["orderId"]
    until("New", lambda: any(o["orderStatus"] == "New" for m in seen["order"] for o in m["data"]))
    http.amend_order(category="linear", symbol="BTCUSDT", orderId=placed, qty="0.02")
    row = http.get_open_orders(category="linear", symbol="BTCUSDT")["result"]["list"][0]
    assert (row["orderId"], row["qty"], row["orderLinkId"]) == (placed, "0.02", "py-1")
    http.cancel_order(category="linear", symbol="BTCUSDT", orderLinkId="py-1")
    until("Cancelled", lambda: any(o["orderStatus"] == "Cancelled" for m in seen["order"] for o in m["data"]))

    acks = []
    trade = unified.WebSocketTrading(testnet=False, api_key=KEY, api_secret=SECRET)
    trade.place_order(
        acks.append, category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.05", orderLinkId="py-2"
    )
    until("an ack", lambda: acks)
    assert acks[0]["retCode"] == 0, acks
    until("a fill", lambda: any(e["orderLinkId"] == "py-2" for m in seen["execution"] for e in m["data"]))
    until("a position", lambda: any(p["size"] == "0.05" for m in seen["position"] for p in m["data"]))
    until("a wallet", lambda: seen["wallet"])
    position = http.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"][0]
    assert (position["size"], position["side"]) == ("0.05", "Buy") and float(position["avgPrice"]) > 0
    fills = http.get_executions(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert sum(float(f["execQty"]) for f in fills) == 0.05
    try:
        http.place_order(category="linear", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01", price="1.05")
        raise AssertionError("a price off the grid was accepted")
    except Exception as refused:
        assert "10001" in str(refused), refused

    before = len(seen["book"])
    command(host, "disconnect channel=public after=40")
    until("data after a reconnect", lambda: len(seen["book"]) > before + 20, 40)
    assert any(m["type"] == "snapshot" for m in seen["book"][before:]), "a fresh snapshot follows a reconnect"
    http.place_order(category="linear", symbol="BTCUSDT", side="Sell", orderType="Market", qty="0.05", reduceOnly=True)
    until("flat", lambda: http.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"][0]["size"] == "0")
    closed = http.get_closed_pnl(category="linear", symbol="BTCUSDT")["result"]["list"][0]
    assert closed["closedSize"] == "0.05", closed
    for socket in (public, private, trade):
        socket.exit()


with venue("--seed", "11") as address:
    session(address)
print("pybit: passed")

"""pybit: its own order book stream and its own trade socket, nothing else in the callback but the rule.

Its book is a list in the order levels came to be, not of their prices: the best bid has to be looked for.
"""

import os

import pybit._websocket_trading as trading
import pybit.unified_trading as unified
from rule import KEY, QTY, SECRET, WS, ready, until_told

unified.PUBLIC_WSS = WS + "/v5/public/{CHANNEL_TYPE}"
trading.TRADE_WSS = WS + "/v5/trade"
last = None
trade = unified.WebSocketTrading(testnet=False, api_key=KEY, api_secret=SECRET)


def heard(message):
    """Acknowledgements: nothing to do."""


def book(message):
    global last
    best = max(message["data"]["b"], key=lambda level: float(level[0]))[0]
    if best != last:
        last = best
        trade.place_order(
            heard, category="linear", symbol="BTCUSDT", side="Buy", orderType="Limit", qty=QTY, price=best,
            timeInForce="IOC",
        )


public = unified.WebSocket(testnet=False, channel_type="linear")
public.orderbook_stream(50, "BTCUSDT", book)
ready()
until_told()
os._exit(0)

"""ccxt.pro: watch_order_book and create_order_ws, the order sent without waiting for its answer."""

import asyncio
import os

import ccxt.pro
from rule import HTTP, KEY, SECRET, WS, in_background, ready, until_told


async def main():
    ex = ccxt.pro.bybit({
        "apiKey": KEY, "secret": SECRET, "options": {"fetchMarkets": {"types": ["linear"]}}, "enableRateLimit": False,
        "urls": {"api": {"public": HTTP, "private": HTTP, "ws": {
            "public": {"linear": WS + "/v5/public/linear"},
            "private": {"contract": WS + "/v5/private", "trade": WS + "/v5/trade"},
        }}},
    })
    await ex.load_markets()
    in_background(ready)
    first = await ex.watch_order_book("BTC/USDT:USDT", 50)
    last, tasks = first["bids"][0][0], set()
    while True:
        book = await ex.watch_order_book("BTC/USDT:USDT", 50)
        best = book["bids"][0][0]
        if best != last:
            last = best
            order = ex.create_order_ws("BTC/USDT:USDT", "limit", "buy", 0.016, best, {"timeInForce": "IOC"})
            task = asyncio.ensure_future(order)
            tasks.add(task)
            task.add_done_callback(lambda done: (tasks.discard(done), done.exception()))


in_background(lambda: until_told(lambda: os._exit(0)))
asyncio.run(main())

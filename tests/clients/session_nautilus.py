"""A nautilus_trader live node, unmodified but for its addresses: book, trades, place, amend, cancel, fill, position."""

import threading
from decimal import Decimal

import nautilus_trader.adapters.bybit.factories as factories
from nautilus_trader.adapters.bybit.common.enums import BybitProductType
from nautilus_trader.adapters.bybit.config import BybitDataClientConfig, BybitExecClientConfig
from nautilus_trader.config import InstrumentProviderConfig, LiveExecEngineConfig, LoggingConfig, TradingNodeConfig
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from venue import KEY, SECRET, command, until, venue

INSTRUMENT = InstrumentId.from_str("BTCUSDT-LINEAR.BYBIT")


class Walk(Strategy):
    """Places, amends and cancels a limit order, then takes and gives back 0.05 BTC."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.deltas = 0
        self.trades = 0
        self.order = None

    def on_start(self):
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.subscribe_order_book_deltas(INSTRUMENT, BookType.L2_MBP, depth=50)
        self.subscribe_trade_ticks(INSTRUMENT)

    def on_order_book_deltas(self, deltas):
        self.deltas += 1
        book = self.cache.order_book(INSTRUMENT)
        if self.order is None and self.deltas > 5 and book.best_bid_price() is not None:
            low = Price(float(book.best_bid_price()) - 200, self.instrument.price_precision)
            self.order = self.order_factory.limit(INSTRUMENT, OrderSide.BUY, Quantity.from_str("0.010"), low)
            self.submit_order(self.order)

    def on_trade_tick(self, tick):
        self.trades += 1

    def on_order_accepted(self, event):
        self.seen.append("accepted")
        if event.client_order_id == self.order.client_order_id:
            self.modify_order(self.order, quantity=Quantity.from_str("0.020"))

    def on_order_updated(self, event):
        self.seen.append("updated")
        self.cancel_order(self.order)

    def on_order_canceled(self, event):
        self.seen.append("canceled")
        self.take(OrderSide.BUY)

    def on_order_filled(self, event):
        self.seen.append("filled")

    def on_order_rejected(self, event):
        self.seen.append(f"rejected {event.reason}")

    def on_position_opened(self, event):
        self.seen.append("opened")

    def on_position_closed(self, event):
        self.seen.append("closed")

    def take(self, side):
        self.submit_order(self.order_factory.market(INSTRUMENT, side, Quantity.from_str("0.050")))


def session(host, over_socket):
    factories.get_ws_base_url_public = lambda *_, **__: f"ws://{host}/v5/public/linear"
    provider = InstrumentProviderConfig(load_all=True)
    common = {"api_key": KEY, "api_secret": SECRET, "product_types": [BybitProductType.LINEAR]}
    node = TradingNode(
        TradingNodeConfig(
            trader_id=TraderId("KEEL-001"),
            logging=LoggingConfig(log_level="ERROR"),
            exec_engine=LiveExecEngineConfig(reconciliation=True),
            data_clients={
                "BYBIT": BybitDataClientConfig(**common, base_url_http=f"http://{host}", instrument_provider=provider)
            },
            exec_clients={
                "BYBIT": BybitExecClientConfig(
                    **common,
                    base_url_http=f"http://{host}",
                    base_url_ws_private=f"ws://{host}/v5/private",
                    base_url_ws_trade=f"ws://{host}/v5/trade",
                    use_ws_trade_api=over_socket,
                    instrument_provider=provider,
                )
            },
        )
    )
    walk = Walk()
    node.trader.add_strategy(walk)
    node.add_data_client_factory("BYBIT", factories.BybitLiveDataClientFactory)
    node.add_exec_client_factory("BYBIT", factories.BybitLiveExecClientFactory)
    node.build()
    trouble = []

    def watch():
        try:
            until("an opened position", lambda: "opened" in walk.seen, 60)
            assert walk.seen[:3] == ["accepted", "updated", "canceled"], walk.seen
            until("a trade tick", lambda: walk.trades > 0)
            before = walk.deltas
            command(host, "disconnect channel=public")
            command(host, "hangup channel=private")
            until("data after a reconnect", lambda: walk.deltas > before + 20, 40)
            node.kernel.loop.call_soon_threadsafe(walk.take, OrderSide.SELL)
            until("a closed position", lambda: "closed" in walk.seen, 40)
            balance = node.cache.accounts()[0].balances_total()
            total = list(balance.values())[0].as_decimal()
            assert Decimal(99_000) < total < Decimal(100_000), total
        except BaseException as why:
            trouble.append(f"{why}; saw {walk.seen}, {walk.deltas} books")
        finally:
            node.kernel.loop.call_soon_threadsafe(node.stop)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        node.run()
    finally:
        watcher.join()
        node.dispose()
    assert not trouble, trouble


with venue("--seed", "14") as address:
    session(address, over_socket=True)
print("nautilus_trader: passed")

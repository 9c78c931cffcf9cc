"""nautilus_trader: a live node with data and execution clients, its cache and its risk engine on; orders over the trade
socket."""

import os

import nautilus_trader.adapters.bybit.factories as factories
from nautilus_trader.adapters.bybit.common.enums import BybitProductType
from nautilus_trader.adapters.bybit.config import BybitDataClientConfig, BybitExecClientConfig
from nautilus_trader.config import (
    InstrumentProviderConfig, LiveExecEngineConfig, LiveRiskEngineConfig, LoggingConfig, TradingNodeConfig,
)
from nautilus_trader.live.node import TradingNode
from nautilus_trader.model.enums import BookType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId, TraderId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.trading.strategy import Strategy
from rule import HTTP, KEY, QTY, SECRET, WS, in_background, ready, until_told

INSTRUMENT = InstrumentId.from_str("BTCUSDT-LINEAR.BYBIT")


class Follow(Strategy):
    last = None

    def on_start(self):
        self.instrument = self.cache.instrument(INSTRUMENT)
        self.subscribe_order_book_deltas(INSTRUMENT, BookType.L2_MBP, depth=50)
        in_background(ready)

    def on_order_book_deltas(self, deltas):
        best = self.cache.order_book(INSTRUMENT).best_bid_price()
        if self.last not in (None, best):
            self.submit_order(self.order_factory.limit(
                INSTRUMENT, OrderSide.BUY, Quantity.from_str(QTY), Price.from_str(str(best)),
                time_in_force=TimeInForce.IOC,
            ))
        self.last = best


factories.get_ws_base_url_public = lambda *_, **__: WS + "/v5/public/linear"
provider = InstrumentProviderConfig(load_all=True)
common = {"api_key": KEY, "api_secret": SECRET, "product_types": [BybitProductType.LINEAR]}
node = TradingNode(TradingNodeConfig(
    trader_id=TraderId("KEEL-001"),
    logging=LoggingConfig(log_level="ERROR"),
    exec_engine=LiveExecEngineConfig(reconciliation=False),
    risk_engine=LiveRiskEngineConfig(max_order_submit_rate="100000/00:00:01"),
    data_clients={"BYBIT": BybitDataClientConfig(**common, base_url_http=HTTP, instrument_provider=provider)},
    exec_clients={"BYBIT": BybitExecClientConfig(
        **common, base_url_http=HTTP, base_url_ws_private=WS + "/v5/private", base_url_ws_trade=WS + "/v5/trade",
        use_ws_trade_api=True, instrument_provider=provider,
    )},
))
node.trader.add_strategy(Follow())
node.add_data_client_factory("BYBIT", factories.BybitLiveDataClientFactory)
node.add_exec_client_factory("BYBIT", factories.BybitLiveExecClientFactory)
node.build()
in_background(lambda: until_told(lambda: os._exit(0)))
node.run()

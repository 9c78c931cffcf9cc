"""Random books: positions and a past of returns, every shape that could tell two definitions apart.

Confidences fall on both sides of whole order statistics, histories are short and long, returns are fat-tailed, tied,
one-sided or quiet, books are hedged, lopsided or hold a coin that no catastrophe knows.
"""

from fractions import Fraction

import numpy as np

COINS = [f"{coin}USDT" for coin in "BTC ETH SOL XRP BNB DOGE ADA LTC LINK AVAX".split()] + ["NEWUSDT", "ODDUSDT"]
CONFIDENCES = ["0.99", "0.975", "0.95", "0.9", "0.999", "0.995", "0.9875", "0.6667", "0.5"]
DAYS = [20, 21, 60, 119, 120, 250, 400, 499, 500, 700, 998, 1000, 1500]


class Book:
    def __init__(self, seed, nth):
        rng = np.random.default_rng([seed, nth])
        self.nth = nth
        # round sizes make tail * N whole, odd ones do not; one in ten is any length at all
        self.days = int(rng.choice(DAYS)) if rng.random() < 0.9 else int(rng.integers(20, 1_600))
        self.confidence = CONFIDENCES[int(rng.choice(len(CONFIDENCES), p=[0.3, 0.15, 0.15, 0.1, 0.06, 0.06, 0.06, 0.06, 0.06]))]
        self.coins = [str(coin) for coin in rng.choice(COINS, int(rng.integers(1, 11)), replace=False)]
        self.returns = self._returns(rng)
        values = 10 ** rng.uniform(0, 6, len(self.coins)) * rng.choice([-1.0, 1.0], len(self.coins))
        self.values = np.round(values, int(rng.integers(0, 9)))
        self.values[self.values == 0.0] = 1.0

    def _returns(self, rng):
        shape = (len(self.coins), self.days)
        common = rng.standard_t(3, self.days) * 0.02
        noise = rng.standard_t(4, shape) * rng.uniform(0.001, 0.05, (shape[0], 1))
        rows = rng.uniform(0, 1.5, (shape[0], 1)) * common + noise
        match int(rng.integers(0, 8)):
            case 0:  # ties: many days are the same day
                rows = np.round(rows, 2)
            case 1:  # one-sided: the tail may be a gain
                rows = np.abs(rows) * rng.choice([-1.0, 1.0])
            case 2:  # quiet, then a storm
                rows[:, -self.days // 4 :] *= 4.0
            case 3:  # all coins are one coin
                rows = np.repeat(rows[:1], shape[0], axis=0)
        rows = np.clip(rows, -0.99, 10.0)
        rows[np.abs(rows) < 1e-12] = 0.0
        return rows + 0.0

    @property
    def tail(self):
        """The tail probability, exactly."""
        return 1 - Fraction(self.confidence)

    @property
    def k(self):
        """The order statistic: the smallest whole number that is not below tail * N."""
        return max(1, -(-self.tail * self.days // 1))

    @property
    def outcomes(self):
        """Today's book on each day; added coin by coin, so that sums have the same bits everywhere."""
        total = np.zeros(self.days)
        for value, row in zip(self.values, self.returns):
            total = total + value * row
        return total

    def write(self, directory):
        """The two files `keel risk` reads. repr() is the shortest text that reads back as the same bits."""
        positions, returns = directory / f"{self.nth}.positions.csv", directory / f"{self.nth}.returns.csv"
        rows = "".join(f"{coin},{float(value)!r}\n" for coin, value in zip(self.coins, self.values))
        positions.write_text("instrument,notional_usdt\n" + rows)
        dates = np.datetime64("2000-01-01") + np.arange(self.days)
        lines = [f"{date}," + ",".join(map(repr, day)) for date, day in zip(dates, self.returns.T.tolist())]
        returns.write_text("date," + ",".join(self.coins) + "\n" + "\n".join(lines) + "\n")
        return positions, returns

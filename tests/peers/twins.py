"""The same numbers from their definitions, by numpy, pandas and scipy: what no library computes as keel defines it."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import xlogy

LAMBDA, SEED_DAYS, BURN_DAYS, AGE_DECAY, WINDOW = 0.94, 20, 100, 0.98, 500
BETAS = dict(BTC=1.0, ETH=1.16, SOL=1.14, XRP=1.05, BNB=1.06, DOGE=1.14, ADA=1.19, LTC=1.22, LINK=1.21, AVAX=1.35)
# name in keel's report -> scenario and column of the recorded table
RECORDED = {
    "covid-2020-close": ("COVID_2020_03_12_13", "worst_single_day_close"),
    "covid-2020-low": ("COVID_2020_03_12_13", "shock_to_window_low"),
    "may-2021-low": ("MAY_2021_17_23", "shock_to_window_low"),
    "luna-2022-low": ("LUNA_2022_05_09_12", "shock_to_window_low"),
    "ftx-2022-close": ("FTX_2022_11_08_09", "shock_close_to_close"),
    "ftx-2022-low": ("FTX_2022_11_06_14", "shock_to_window_low"),
    "october-2025-close": ("OCT10_2025_bybit_linear", "shock_close_to_close"),
    "october-2025-low": ("OCT10_2025_bybit_linear", "shock_to_window_low"),
}


def tail_risk(outcomes, k, mass):
    """The k-th worst outcome, and the mean of the worst `mass` of them, the last one in part."""
    ordered = np.sort(outcomes)
    weights = np.clip(mass - np.arange(len(ordered)), 0.0, 1.0)
    return -ordered[k - 1], -(weights @ ordered) / mass


def variances(outcomes):
    """RiskMetrics: as forecast for each day the evening before, and for tomorrow."""
    squares = np.concatenate([[np.mean(outcomes[:SEED_DAYS] ** 2)], outcomes**2])
    forecast = pd.Series(squares).ewm(alpha=1 - LAMBDA, adjust=False).mean().to_numpy()
    return forecast[:-1], forecast[-1]


def components(book):
    """Each coin's mean loss on the worst days; days that tie are taken oldest first."""
    days = np.argsort(book.outcomes, kind="stable")
    mass = float(book.tail * book.days)
    weights = np.clip(mass - np.arange(len(days)), 0.0, 1.0)
    return {coin: -value * (weights @ row[days]) / mass for coin, value, row in zip(book.coins, book.values, book.returns)}


def euler(book):
    """Components of the normal value at risk, and what one more USDT of each coin adds to it."""
    covariance = np.atleast_2d(np.cov(book.returns, ddof=1))
    pull = covariance @ book.values
    marginal = -stats.norm.ppf(float(book.tail)) * pull / np.sqrt(book.values @ pull)
    return dict(zip(book.coins, marginal * book.values)), dict(zip(book.coins, marginal))


def without(book, coin):
    """Outcomes of the book without one coin."""
    total = np.zeros(book.days)
    for name, value, row in zip(book.coins, book.values, book.returns):
        total = total + (0.0 if name == coin else value) * row
    return total


def cornish_fisher(outcomes, tail):
    z, skew, excess = stats.norm.ppf(tail), stats.skew(outcomes), stats.kurtosis(outcomes)
    quantile = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    return -(np.mean(outcomes) + np.std(outcomes) * quantile)


def age_weighted(outcomes, tail):
    """The outcome at which weights that fall with age have grown to the tail; None where rounding could decide."""
    weights = AGE_DECAY ** np.arange(len(outcomes))[::-1]
    order = np.argsort(outcomes, kind="stable")
    grown = np.cumsum(weights[order]) / weights.sum()
    at = int(np.searchsorted(grown, tail))
    return None if np.min(np.abs(grown - tail)) < 1e-9 else -outcomes[order][min(at, len(order) - 1)]


def backtest(book):
    """Each day forecast from the days before it: counts, Kupiec, Christoffersen, the traffic light, Acerbi-Szekely."""
    window = min(WINDOW, book.days // 2)
    mass, tail = float(book.tail * window), float(book.tail)
    k = max(1, int(-(-book.tail * window // 1)))
    if k < 2 or window >= book.days:
        return None
    outcomes = book.outcomes
    pasts = np.sort(np.lib.stride_tricks.sliding_window_view(outcomes, window)[:-1], axis=1)
    losses, var = -outcomes[window:], -pasts[:, k - 1]
    es = -(pasts[:, :k] @ np.clip(mass - np.arange(k), 0.0, 1.0)) / mass
    hits = losses > var
    days, seen = len(hits), int(hits.sum())
    likelihood = lambda p, no, yes: xlogy(no, 1 - p) + xlogy(yes, p)
    kupiec = -2 * (likelihood(tail, days - seen, seen) - likelihood(seen / days, days - seen, seen))
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (hits[:-1].astype(int), hits[1:].astype(int)), 1)
    (n00, n01), (n10, n11) = counts.tolist()
    share = lambda yes, no: yes / (yes + no) if yes + no else 0.0
    apart = likelihood(share(n01, n00), n00, n01) + likelihood(share(n11, n10), n10, n11)
    independence = -2 * (likelihood(share(n01 + n11, n00 + n10), n00 + n10, n01 + n11) - apart)
    below = stats.binom.cdf(seen, days, tail)
    return {
        "days": days,
        "window": window,
        "exceptions": seen,
        "expected": days * tail,
        "kupiec_lr": max(0.0, kupiec),
        "kupiec_accepted": bool(kupiec < stats.chi2.ppf(0.95, 1)),
        "independence_lr": max(0.0, independence) if days > 1 else None,
        "conditional_lr": max(0.0, kupiec) + max(0.0, independence) if days > 1 else None,
        "conditional_accepted": bool(kupiec + independence < stats.chi2.ppf(0.95, 2)) if days > 1 else None,
        "zone": None if min(abs(below - 0.95), abs(below - 0.9999)) < 1e-9 else
        "red" if below >= 0.9999 else "yellow" if below >= 0.95 else "green",
        "acerbi_szekely_z2": 1 - np.sum(losses[hits] / es[hits]) / (days * tail) if np.all(es > 0) else None,
    }


def recorded_table():
    """Shocks of the recorded catastrophes by report name; None where the recordings are not at hand."""
    shared = Path(os.environ.get("KEEL_SHARED", Path(__file__).parents[2].parent / "shared/data"))
    path = shared / "risk/stress_scenarios.csv"
    if not path.is_file():
        print(f"SKIPPED: recorded data not found ({path}): catastrophes of the past are not compared")
        return None
    rows = list(csv.DictReader(path.open()))
    table = {}
    for name, (scenario, column) in RECORDED.items():
        table[name] = {row["symbol"]: float(row[column]) for row in rows if row["scenario"] == scenario and row[column]}
    return table


def stress(book, table):
    """What each catastrophe costs. A coin without a shock of its own takes the worst one of the ten listed coins."""
    listed = {f"{coin}USDT": beta for coin, beta in BETAS.items()}
    shocks = {f"bitcoin-{way}-{size}": {coin: sign * beta * size / 100 for coin, beta in listed.items()}
              for way, sign in (("down", -1), ("up", 1)) for size in (10, 20, 30)}
    for name, known in (table or {}).items():
        shocks[name] = {coin: known[coin] for coin in listed if known.get(coin)}
    losses, gross = {}, np.abs(book.values)
    for name, known in shocks.items():
        worst = max(known.values(), key=abs)
        moves = np.array([known.get(coin, worst) for coin in book.coins])
        losses[name] = -float(book.values @ moves)
        if name == "october-2025-low":  # the venue closes the winning legs at the mark
            losses["deleveraged"] = -float(np.minimum(book.values * moves, 0.0).sum())
    losses["all-against"] = 0.2 * float(gross.sum())
    # funding goes one way for every coin: the dearer of the two
    losses["funding-three-days"] = 0.0075 * 9 * abs(float(book.values.sum()))
    return losses

"""QuantLib and riskfolio-lib agree with `keel risk` on random books; numpy, pandas and scipy with the rest of its report.

Where definitions are one, values are equal to the bit or to rounding. Where they differ, the exact relation is asserted:

    value at risk      x_(k), the k-th worst outcome, k = ceil(tail * N) from whole numbers, signed.
      riskfolio        VaR_Hist takes ceil(alpha * N) of floats: 0.01 * 700 is 7.000000000000001 there, one step too
                       far. Given the probability in the middle of step k it is x_(k), to the bit.
      QuantLib         valueAtRisk(c) walks to (1 - c) * N of floats, off by a step when tail * N is whole; never below
                       zero. In the middle of step k it is max(0, x_(k)), to the bit.
      both             as they are called by users, wherever tail * N is not whole: no alignment at all.
    shortfall          mean of the worst tail * N outcomes, the last one in part (Acerbi & Tasche, Rockafellar & Uryasev).
      riskfolio        CVaR_Hist is the same number for every alpha: at the wrong step its two terms make up for it.
      QuantLib         mean of the b outcomes strictly beyond x_(k), so  tail N ES = b ES_quantlib + (tail N - b) x_(k).
    filtered           riskfolio's two functions on outcomes scaled by pandas' exponentially weighted variance.
    everything else    twins.py.

    agree.py [BOOKS] [SEED]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import QuantLib
import riskfolio
from scipy import stats

import twins
from books import Book

EXACT, ROUNDING, SERIES = 0.0, 1e-12, 1e-9


class Ledger:
    """Counts what was compared and keeps what disagreed."""

    def __init__(self):
        self.counts, self.faults = {}, []

    def same(self, book, what, ours, theirs, tolerance, scale=0.0):
        self.counts[what] = self.counts.get(what, 0) + 1
        if ours is None or theirs is None or isinstance(theirs, (str, bool)):
            equal = ours == theirs
        else:
            equal = abs(ours - theirs) <= tolerance * max(abs(theirs), scale)
        if not equal:
            self.faults.append(f"book {book.nth} ({book.days} days, {book.confidence}): {what}: keel {ours}, peer {theirs}")


def middle(k, days):
    """A probability that can only mean step k."""
    return (k - 0.5) / days


def quantlib(ledger, book, report, outcomes):
    peer = QuantLib.RiskStatistics()
    for outcome in outcomes.tolist():
        peer.add(outcome)
    var, k, mass, days = report["var_usdt"], report["k"], float(book.tail * book.days), book.days
    if k - 0.5 > 0.1 * days:
        # QuantLib refuses confidences below 0.9; gains move its range, not the k-th worst outcome nor what lies beyond it
        gains = 10 * k - days
        peer.add(max(outcomes.max(), 0.0) + 1.0, gains)
        days += gains
    ledger.same(book, "QuantLib valueAtRisk", max(0.0, var), peer.valueAtRisk(1 - middle(k, days)), EXACT)
    if (book.tail * book.days).denominator != 1 and days == book.days:
        ledger.same(book, "QuantLib valueAtRisk, as called", max(0.0, var), peer.valueAtRisk(float(book.confidence)), EXACT)
    beyond = int(np.sum(outcomes < -var))
    if var > 0.0 and beyond > 0:
        shortfall = peer.expectedShortfall(1 - middle(k, days))
        theirs = (beyond * shortfall + (mass - beyond) * var) / mass
        ledger.same(book, "QuantLib expectedShortfall", report["es_usdt"], theirs, ROUNDING)


def riskfolio_lib(ledger, book, report, outcomes):
    tail, k = float(book.tail), report["k"]
    ledger.same(book, "riskfolio VaR_Hist", report["var_usdt"], float(riskfolio.VaR_Hist(outcomes, middle(k, book.days))), EXACT)
    if (book.tail * book.days).denominator != 1:
        ledger.same(book, "riskfolio VaR_Hist, as called", report["var_usdt"], float(riskfolio.VaR_Hist(outcomes, tail)), EXACT)
    scale = float(np.abs(outcomes).max())
    ledger.same(book, "riskfolio CVaR_Hist", report["es_usdt"], float(riskfolio.CVaR_Hist(outcomes, tail)), ROUNDING, scale)
    if book.days < twins.BURN_DAYS + twins.SEED_DAYS:
        ledger.same(book, "filtered, too short", report["fhs_var_usdt"], None, EXACT)
        return
    forecast, tomorrow = twins.variances(outcomes)
    filtered = (outcomes * np.sqrt(tomorrow / forecast))[twins.BURN_DAYS :]
    k = max(1, int(-(-book.tail * len(filtered) // 1)))
    ledger.same(book, "riskfolio VaR_Hist, filtered", report["fhs_var_usdt"], float(riskfolio.VaR_Hist(filtered, middle(k, len(filtered)))), SERIES)
    ledger.same(book, "riskfolio CVaR_Hist, filtered", report["fhs_es_usdt"], float(riskfolio.CVaR_Hist(filtered, tail)), SERIES, scale)


def by_definition(ledger, book, report, outcomes, table):
    tail, same = float(book.tail), lambda *args: ledger.same(book, *args)
    var, es = twins.tail_risk(outcomes, int(book.k), float(book.tail * book.days))
    scale = float(np.abs(outcomes).max())
    same("n", report["n"], book.days, EXACT)
    same("k", report["k"], int(book.k), EXACT)
    same("confidence", report["confidence"], float(book.confidence), ROUNDING)
    same("value at risk", report["var_usdt"], var, EXACT)
    same("shortfall", report["es_usdt"], es, ROUNDING, scale)
    same("worst day", report["worst_day"], str(np.datetime64("2000-01-01") + int(np.argmin(outcomes))), EXACT)
    same("few days are noted", bool(report["warnings"]), bool(book.tail * book.days < 5), EXACT)
    parts = twins.components(book)
    same("coins", ",".join(sorted(parts)), ",".join(sorted(report["components_es"])), EXACT)
    for coin, part in parts.items():
        same("shortfall components", report["components_es"][coin], part, SERIES, scale)
    same("components add up", sum(report["components_es"].values()), es, SERIES, scale)
    euler, marginal = twins.euler(book)
    for coin, value in zip(book.coins, book.values):
        same("components of the normal", report["components_var"][coin], euler[coin], SERIES, scale)
        same("marginal of the normal", report["marginal_var"][coin], marginal[coin], SERIES, scale / abs(value))
        left = twins.tail_risk(twins.without(book, coin), int(book.k), float(book.tail * book.days))[0]
        same("incremental", report["incremental_var"][coin], var - left, ROUNDING, scale)
    same("normal", report["parametric_var_usdt"], -stats.norm.ppf(tail) * np.std(outcomes, ddof=1), SERIES, scale)
    same("Cornish-Fisher", report["cornish_fisher_var_usdt"], twins.cornish_fisher(outcomes, tail), SERIES, scale)
    same("exponentially weighted", report["ewma_var_usdt"], -stats.norm.ppf(tail) * np.sqrt(twins.variances(outcomes)[1]), SERIES, scale)
    aged = twins.age_weighted(outcomes, tail)
    if aged is not None:
        same("weighted by age", report["age_weighted_var_usdt"], aged, EXACT)
    gross = float(np.abs(book.values).sum())
    for name, loss in twins.stress(book, table).items():
        same("stress", report["stress"].get(name), loss, ROUNDING, gross)
    theirs = twins.backtest(book)
    if theirs is None or report["backtest"] is None:
        same("backtest", report["backtest"], theirs, EXACT)
    else:
        for name, value in theirs.items():
            if name != "zone" or value is not None:
                same(f"backtest {name}", report["backtest"][name], value, SERIES, 1.0)


def main(count=1_000, seed=20_261_122):
    started, ledger = time.monotonic(), Ledger()
    table, keel = twins.recorded_table(), os.environ["KEEL_BIN"]
    telling = 0
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(2) as pool:

        def ask(nth):
            book = Book(seed, nth)
            positions, returns = book.write(Path(directory))
            command = [keel, "risk", "--positions", positions, "--returns", returns, "--confidence", book.confidence, "--json"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=60)
            positions.unlink(), returns.unlink()
            assert said.returncode == 0, f"book {nth}: {said.stderr}"
            return book, json.loads(said.stdout)

        for book, report in pool.map(ask, range(count)):
            outcomes = book.outcomes
            quantlib(ledger, book, report, outcomes)
            riskfolio_lib(ledger, book, report, outcomes)
            by_definition(ledger, book, report, outcomes, table)
            # could this book tell our order statistic from its neighbours and from the interpolated one?
            ordered, k = np.sort(outcomes), report["k"]
            others = [ordered[max(0, k - 2)] if k > 1 else np.nan, ordered[min(k, book.days - 1)], np.quantile(ordered, float(book.tail))]
            telling += all(-report["var_usdt"] != other for other in others)
    for name, times in ledger.counts.items():
        print(f"{times:>7}  {name}")
    for fault in ledger.faults[:20]:
        print(fault)
    print(f"{count} books (seed {seed}), {sum(ledger.counts.values())} values compared, {len(ledger.faults)} disagree;", end=" ")
    print(f"{telling} books tell the order statistic from its neighbours; {time.monotonic() - started:.0f} s")
    assert not ledger.faults, "peers disagree"
    assert telling >= 0.8 * count, "these books could not tell a wrong order statistic from the right one"
    print(f"peers: QuantLib {QuantLib.__version__} and riskfolio-lib {riskfolio.__version__} agree on {count} books")


main(*map(int, sys.argv[1:]))

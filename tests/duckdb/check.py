"""Exports a demo's journal, asks DuckDB the documented question, and answers it a second way: keel tail, folded by hand."""

import json
import pathlib
import subprocess
import sys
import tempfile
from decimal import Decimal, getcontext

import duckdb

getcontext().prec = 50
HERE = pathlib.Path(__file__).parent
KEEL = sys.argv[1]


def keel(*words):
    done = subprocess.run([KEEL, *map(str, words)], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def folded(journal):
    """The question of slippage.sql, answered from `keel tail --output json`."""
    decisions, seen, rows = {}, set(), {}
    for record in json.loads(keel("tail", journal, "--kind", "fill,approved", "--output", "json")):
        fact = record["fact"]
        if record["kind"] == "Approved":
            if fact["op"] == "New":
                decisions.setdefault(fact["client"], Decimal(fact["mark"]))
            continue
        if fact["exec"] in seen or fact["client"] not in decisions:
            continue
        seen.add(fact["exec"])
        px, qty, mark = Decimal(fact["px"]), Decimal(fact["qty"]), decisions[fact["client"]]
        sign = 1 if fact["side"] == "Buy" else -1
        row = rows.setdefault((fact["instrument"], record["time"][:16]), [0, Decimal(0), Decimal(0), Decimal(0)])
        for at, more in enumerate([1, px * qty, sign * (px - mark) * qty, Decimal(fact["fee"])]):
            row[at] += more
    return sorted((*key, *row) for key, row in rows.items())


def same_tables(db, directory):
    """Every flat table holds the same in both forms."""
    compared = 0
    for parquet in sorted((directory / "parquet").glob("*.parquet")):
        columns = [(name, sort) for name, sort, *_ in db.sql(f"DESCRIBE SELECT * FROM '{parquet}'").fetchall()]
        csv = directory / "csv" / (parquet.stem + ".csv")
        types = {name: "VARCHAR" if sort.endswith("[]") else sort for name, sort in columns}
        names = ", ".join(f'"{name}"' for name, sort in columns if not sort.endswith("[]"))
        text = ", ".join(f"'{name}': '{sort}'" for name, sort in types.items())
        a = f"SELECT {names} FROM '{parquet}'"
        words = [name for name, sort in types.items() if sort == "VARCHAR"]
        b = f"SELECT {names} FROM read_csv('{csv}', header = true, columns = {{{text}}}, force_not_null = {words})"
        assert db.sql(f"SELECT count(*) FROM ({a})").fetchall()[0] == db.sql(f"SELECT count(*) FROM ({b})").fetchall()[0]
        for one, other in [(a, b), (b, a)]:
            rest = db.sql(f"{one} EXCEPT ALL {other}").fetchall()
            assert not rest, f"{parquet.name} and {csv.name} differ: {rest[:2]}"
        compared += 1
    return compared


def main():
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        told = json.loads(keel("demo", "--json", "--speed", "max", "--seconds", 600, "--data-dir", home / "journal"))
        for form in ["parquet", "csv"]:
            keel("export", home / "journal", "--format", form, "--out", home / form)
        db = duckdb.connect()
        db.sql(f"SET file_search_path = '{home / 'parquet'}'")
        asked = db.sql((HERE / "slippage.sql").read_text()).fetchall()
        asked = [(instrument, minute.strftime("%Y-%m-%dT%H:%M"), *rest) for instrument, minute, *rest in asked]
        by_hand = folded(home / "journal")
        assert asked == by_hand, f"{asked[:2]} is not {by_hand[:2]}"
        assert len(asked) > 5, "the demo must trade to mean something"
        assert sum(row[2] for row in asked) == told["fills"], (asked, told["fills"])
        assert sum(row[5] for row in asked) == Decimal(told["fees_usdt"]), (asked, told["fees_usdt"])
        levels = db.sql("SELECT sum(len(bids) + len(asks)), min(bids[1].px) FROM 'book.parquet'").fetchall()[0]
        shown = [r["fact"] for r in json.loads(keel("tail", home / "journal", "--kind", "book", "--output", "json"))]
        assert levels[0] == sum(len(book["bids"]) + len(book["asks"]) for book in shown)
        tables = same_tables(db, home)
        print(f"duckdb {duckdb.__version__}: {len(asked)} rows of slippage as folded by hand, {told['fills']} fills, "
              f"fees {told['fees_usdt']}, {tables} tables the same in both forms")


main()

"""The reports of a demo's day, held against the exchange's own books, against themselves, and seen in a browser."""

import csv
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from decimal import Decimal, getcontext

getcontext().prec = 60
KEEL, ARTEFACTS = sys.argv[1], pathlib.Path(sys.argv[2])
DAY = "2026-01-01"
SECONDS = 3600
# no registry of models is in a journal: that one can never be whole
NEVER_WHOLE = {"r9"}


def keel(*words, code=0):
    done = subprocess.run([KEEL, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == code, f"keel {words}: {done.returncode}, not {code}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()


def files(directory):
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def report(journal, out, code=1, names="all"):
    keel("report", names, journal, "--date", DAY, "--out", out, code=code)
    return files(out)


def table(directory, name):
    with open(directory / name, newline="") as file:
        return list(csv.DictReader(file))


def total(rows, column):
    return sum((Decimal(row[column]) for row in rows), Decimal(0))


def statuses(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    return {one["report"]: one["status"] for one in manifest["reports"]}


def reconcile(out, books):
    """Each total of ours is the exchange's, to the last unit."""
    account = json.loads(books.read_text())["accounts"][0]
    blotter, cash = table(out, "r1-fills.csv"), table(out, "r1-cash.csv")
    positions = {row["symbol"]: row for row in table(out, "r6-positions.csv")}
    costs = {row["symbol"]: row for row in table(out, "r10-summary.csv")}
    compared = 0
    for symbol, theirs in account["symbols"].items():
        fills = [row for row in blotter if row["symbol"] == symbol]
        side = {side: total([row for row in fills if row["side"] == side], "qty") for side in ["Buy", "Sell"]}
        ours, cost = positions[symbol], costs[symbol]
        pairs = [
            ("R1 fills", len(fills), theirs["fills"]),
            ("R1 maker fills", sum(row["maker_taker"] == "maker" for row in fills), theirs["maker_fills"]),
            ("R1 value", total(fills, "notional_usd"), theirs["value"]),
            ("R1 fees", total(fills, "fee"), theirs["fees"]),
            ("R1 realised", total(fills, "realised_pnl"), theirs["realised"]),
            ("R1 bought", side["Buy"], theirs["bought"]),
            ("R1 sold", side["Sell"], theirs["sold"]),
            ("R1 funding", -total([row for row in cash if row["symbol"] == symbol], "amount"), theirs["funding"]),
            ("R6 bought", ours["bought"], theirs["bought"]),
            ("R6 sold", ours["sold"], theirs["sold"]),
            ("R6 position", ours["end_qty"], theirs["size"]),
            ("R6 realised", ours["realised"], theirs["realised"]),
            ("R6 fees", ours["fees"], theirs["fees"]),
            ("R6 funding", ours["funding"], theirs["funding"]),
            ("R6 turnover", ours["turnover"], theirs["value"]),
            ("R10 fills", cost["fills"], theirs["fills"]),
            ("R10 fees", cost["fees"], theirs["fees"]),
            ("R10 turnover", cost["turnover"], theirs["value"]),
        ]
        for what, one, other in pairs:
            assert Decimal(one) == Decimal(other), f"{symbol} {what}: {one} is not the exchange's {other}"
            compared += 1
        assert theirs["fills"] > 20, "the demo must trade to mean something"
    row = table(out, "r6-account.csv")[0]
    for what, one, other in [
        ("cash", row["cash_end"], account["cash"]),
        ("cash by the venue's word", row["cash_venue"], account["cash"]),
        ("cash at the start", row["cash_start"], account["deposited"]),
    ]:
        assert Decimal(one) == Decimal(other), f"{what}: {one} is not the exchange's {other}"
        compared += 1
    return compared


def shortfall_again(out):
    """The slow twin of R10's totals: each order counted again from its own row."""
    orders = table(out, "r10-orders.csv")
    for row in orders:
        if not row["decision_mid"] or row["filled"] == "0" or not row["ack_mid"] or not row["end_mid"]:
            continue
        way = 1 if row["side"] == "Buy" else -1
        mid, ack, end, vwap = (Decimal(row[name]) for name in ["decision_mid", "ack_mid", "end_mid", "vwap"])
        filled, qty = Decimal(row["filled"]), Decimal(row["qty"])
        expected = way * (vwap - mid) * filled + Decimal(row["fees"]) + way * (end - mid) * max(qty - filled, Decimal(0))
        assert abs(expected - Decimal(row["shortfall"])) < Decimal("0.000001"), row
        assert abs(way * (ack - mid) * filled - Decimal(row["delay"])) < Decimal("0.000001"), row
    for summary in table(out, "r10-summary.csv"):
        mine = [row for row in orders if row["symbol"] == summary["symbol"]]
        assert len(mine) == int(summary["orders"])
        for name in ["delay", "impact", "opportunity"]:
            rows = [row for row in mine if row[name]]
            assert total(rows, name) == Decimal(summary[name]), (summary["symbol"], name)
    return len(orders)


def pixels(path):
    """Colours of a PNG of eight bits a channel, by the book: RFC 2083."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "a PNG"
    at, packed, head = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        head = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height, depth, colour, _, _, interlaced = head
    assert depth == 8 and interlaced == 0 and colour in (2, 6), head
    step = 3 if colour == 2 else 4
    raw, stride, before = zlib.decompress(packed), width * step, bytearray(width * step)
    seen = {}
    for y in range(height):
        line = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        kind = raw[y * (stride + 1)]
        for x in range(stride):
            left, up = line[x - step] if x >= step else 0, before[x]
            corner = before[x - step] if x >= step else 0
            if kind == 1:
                line[x] = (line[x] + left) & 255
            elif kind == 2:
                line[x] = (line[x] + up) & 255
            elif kind == 3:
                line[x] = (line[x] + (left + up) // 2) & 255
            elif kind == 4:
                guess = left + up - corner
                near = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
                line[x] = (line[x] + near) & 255
        for x in range(0, stride, step * 7):
            colour = bytes(line[x : x + 3])
            seen[colour] = seen.get(colour, 0) + 1
        before = line
    return width, height, seen


def browse(out):
    """One page in a real browser: its totals stand in it, and there is something to see."""
    browser = shutil.which("chromium")
    if not browser:
        print("SKIPPED: chromium is not installed and cannot be installed here: no page was seen in a browser")
        return
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
    account = table(out, "r6-account.csv")[0]
    with tempfile.TemporaryDirectory() as profile:
        def chromium(*more):
            words = [browser, *flags, f"--user-data-dir={profile}", *more]
            return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=240, check=True).stdout
        for name in ["r6", "r10", "r1"]:
            page = (out / f"{name}.html").as_uri()
            shot = ARTEFACTS / f"{name}.png"
            shot.unlink(missing_ok=True)
            chromium(f"--screenshot={shot}", "--window-size=1280,2200", page)
            width, height, seen = pixels(shot)
            most = max(seen.values()) / sum(seen.values())
            assert width == 1280 and len(seen) > 16 and most < 0.97, f"{name}: a blank page: {len(seen)} colours, {most:.3f}"
        dom = chromium("--dump-dom", (out / "r6.html").as_uri()).decode()
    assert "<svg" in dom and "<script" not in dom and "http" not in re.sub(r"http://www\.w3\.org\S*", "", dom), "self-contained"
    shown = re.sub(r"<i></i>", "", dom).replace("&minus;", "-").replace("\u2212", "-")
    for name in ["nav_end", "pnl", "realised", "cash_end", "fees"]:
        assert account[name] in shown, f"{name} {account[name]} is not on the page"
    print(f"chromium: r1, r6, r10 shown, {len(seen)} colours; totals of r6 stand in the page; {ARTEFACTS}")


def main():
    with tempfile.TemporaryDirectory() as home:
        home = pathlib.Path(home)
        journal, books = home / "journal", home / "books.json"
        keel("demo", "--json", "--speed", "max", "--seconds", SECONDS, "--data-dir", journal, "--books", books)
        first = report(journal, home / "one")
        whole = {name: status for name, status in statuses(home / "one").items() if name not in NEVER_WHOLE}
        assert all(status == "complete" for status in whole.values()) and len(whole) == 11, statuses(home / "one")
        assert report(journal, home / "two") == first, "made twice, the bytes differ"
        copy = home / "copy"
        shutil.copytree(journal, copy)
        keel("archive", copy, "--keep", 1)
        assert any(path.suffix == ".zst" or "zst" in path.name for path in copy.iterdir()), "something was compressed"
        assert report(copy, home / "three") == first, "from a compressed copy, the bytes differ"
        compared = reconcile(home / "one", books)
        orders = shortfall_again(home / "one")
        segments = sorted(path for path in copy.iterdir() if path.name[:10].isdigit())
        segments[0].unlink()
        report(copy, home / "gap", names="r1,r6")
        assert set(statuses(home / "gap").values()) == {"INCOMPLETE"}, "a gap is not whole"
        report(journal, home / "daily", code=0, names="daily")
        print(f"reports: {len(first)} files the same three times; {compared} totals as the exchange has them; {orders} orders counted again")
        browse(home / "one")


main()

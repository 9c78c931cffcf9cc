"""The rows of the table: each measures one claim beside its floors and peers, and says whether its target is met.

In: how thorough. Out: claim, target, measured, met, and the figures behind them. Never: a row counted as met that was not
measured whole; a round left out.
"""

import json
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import page

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("KEEL_SHARED", ROOT.parent / "shared" / "data"))
TAPE = SHARED / "tape_v5shape" / "BTCUSDT_2024-07-18.rx_ns.tsv.gz"
# Of bench/decode: all at once, so that its peers are built once.
PEERS = ["--features", "barter,nautilus,hftbacktest,permission,backtest"]
CLIENTS = ROOT / "tests" / "clients"
FUSED = "feed+engine+orders@1 | journal+http"
SPREAD = "feed@1 | engine@1 | orders@1 | journal+http"
# Ticks a second: as many as the venue lets an address order (keel keeps to 2,700 a second, 5 % kept back). The fewer, the
# longer everything lies still, and on a shared machine the more of what is measured is other people's use of its caches;
# the row of other loads shows it, for the floors too.
RATE = 2000
# The same where other people's clients take part: ccxt.pro and nautilus_trader still keep up, pybit does not at 200 either.
PEERS_RATE = 500
# Storms an append is measured in.
STORMS = 5
# Longest a command may take, seconds; a first build of the peers is the longest.
PATIENCE = 5400


# What stands in the way of a target that is missed, and what was tried; the logs say it in full.
STANDS = {
    "P1": "on two CPUs keel's cold threads share the exchange's, so that their turns lie in keel's tail and not in the null echo's; and what lies still "
          "between two ticks is cold, twice as much of it in keel. Tried: twenty changes, bench/wire/TRIED.md",
    "P2": "at a pace the others keep up with, everything lies still for milliseconds and is cold, a bare echo too (P1's other loads): pybit takes 17 "
          "times a bare TCP echo at this pace, which is all of a client but its work; keel's tail is its cold threads on the exchange's CPU. Tried: bench/wire/TRIED.md",
    "P3": "the scan and the typed parsers lose less to a busy neighbour than keel's denser code; what is left is the work itself. Tried: bench/decode/TRIED.md",
    "P4": "near a limit the decision reads most of the 1,000 outcomes of the worst-case book. Tried: counting instead of sorting, a bound that lets far "
          "orders pass without reading them, wide instructions",
    "P5": "keeper, reader, storm and writer share two CPUs, and a writer that is interrupted in one call of a thousand shows it. Tried: pages made ready "
          "300 ms of the writer's pace ahead and renewed each second (4 MiB at any pace before: 600 to 4,000 faults, now 20), the next lines fetched "
          "between two calls (no difference)",
    "P6": "a fact is read, its checksum verified, decided again by the whole engine with its risk, and compared: a quarter of its time is the kernel's copy "
          "of the file, a sixth the checksum; hftbacktest applies floats to a book in memory and checks nothing. Tried: bench/decode/src/replay/TRIED.md",
    "P7": "ship reads and checks the journal, encodes its rows and moves a cursor in the same transaction, on the CPUs Postgres runs on; psql copies a file "
          "that is ready, and waits for the disk once where ship waits at every COMMIT. Tried: COPY in binary, a thread of its own for the socket, batches "
          "three times as large (0.73 before, 0.77 after), small first ones, chunks of 32 KB and commits that do not wait (no difference)",
    "P9": "a restart reads from the last whole beginning; where a run of ten million records died, all of it is read and folded",
}


class Absent(Exception):
    """Something this row needs is not here, or was left out."""


def run(*command, env=None, cwd=ROOT, patience=PATIENCE):
    """Runs a command and returns what it printed; its failure is the row's reason."""
    try:
        done = subprocess.run(
            [str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=patience,
            env={**os.environ, "RUST_BACKTRACE": "0", **(env or {})},
        )
    except FileNotFoundError:
        raise Absent(f"{command[0]} is not installed") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise Absent(f"{' '.join(map(str, command))}: {said[0]}")
    return done.stdout


def last_json(text):
    """The last line that is an object."""
    found = [line for line in text.splitlines() if line.startswith("{")]
    if not found:
        raise Absent("it printed no JSON object")
    return json.loads(found[-1])


def by_name(found):
    return {entry["name"]: entry for entry in found["rows"]}


def release(package, name, example=False):
    run("cargo", "build", "--quiet", "--release", "-p", package, *(["--example", name] if example else []))
    meta = json.loads(run("cargo", "metadata", "--no-deps", "--format-version=1"))
    return pathlib.Path(meta["target_directory"]) / "release" / ("examples" if example else "") / name


def ratio(a, b):
    return a / b if b else float("inf")


def us(ns):
    return f"{ns / 1000:.1f} us"


def tail(ns):
    return ", ".join(f"{name} {page.time(ns[name])}" for name in ("p50", "p99", "p99.9", "max"))


def row(claim, target, measured, met, why="", figures=None):
    return {"claim": claim, "target": target, "measured": measured, "met": met, "why": why, "figures": figures or {}}


def without_curves(rows):
    """What a record keeps of measured rows."""
    return {name: {key: value for key, value in entry.items() if key != "curve"} for name, entry in rows.items()}


class Bench:
    """One run: what was asked for, and what more than one row needs."""

    def __init__(self, quick):
        self.quick, self.pictures, self.wires, self.shared = quick, [], {}, {}

    # ---- the wire ------------------------------------------------------------------------------------------------

    def wire(self, *more):
        """Rows of keel-wire by name."""
        return by_name(last_json(run(release("keel-wire", "keel-wire"), "run", "--json", *more)))

    def p1(self):
        size = ["--ticks", "4000", "--rounds", "3"] if self.quick else ["--ticks", "20000", "--rounds", "7"]
        rows = self.wire("--rate", RATE, "--clients", "null,keel", *size)
        self.wires["P1"] = rows
        self.pictures.append(page.curves("Tick to order through TLS: keel, the null echo, bare echoes, an empty loop",
                                         {name: entry["curve"] for name, entry in rows.items()}))
        where, spans = self.budget()
        keel, null, tcp, empty = (rows[name]["ns"] for name in ("keel", "null", "echo over TCP", "empty loop"))
        p50, p99 = self.of_rounds(rows, "p50"), self.of_rounds(rows, "p99")
        bare, left = ratio(keel["p50"], tcp["p50"]), unanswered(rows["keel"])
        lost = rows["keel"]["unanswered"]
        measured = (f"medians of {len(rows['keel']['rounds'])} interleaved rounds: p50 {p50:.2f}x, p99 {p99:.2f}x the null echo; "
                    f"p50 {bare:.2f}x a bare TCP echo. keel {tail(keel)}; null {tail(null)}; an empty loop {tail(empty)}; "
                    f"{lost} of {rows['keel']['ticks']} ticks without an order{left}")
        figures = {"wire": without_curves(rows), "spans": spans, "budget": where}
        if not self.quick:
            figures["loads"] = self.loads()
        return row("tick to order on the wire through TLS, with risk and journal",
                   "p50 <= 1.10x, p99 <= 1.25x a null echo; p50 <= 1.3x a bare TCP echo",
                   measured, p50 <= 1.10 and p99 <= 1.25 and bare <= 1.3 and lost == 0, figures=figures)

    @staticmethod
    def of_rounds(rows, name):
        pairs = zip(rows["keel"]["rounds"], rows["null"]["rounds"])
        return statistics.median(ratio(ours[name], theirs[name]) for ours, theirs in pairs)

    def budget(self):
        """Where one tick's time goes: every hop of keel, the wire's share of it by the null echo's own spans."""
        size = ["--ticks", "3000" if self.quick else "10000", "--rounds", "1"]
        rows = self.wire("--rate", RATE, "--clients", "null,keel", "--no-floors", "--stamps", *size)
        spans = {name: {hop["hop"]: hop for own in rows[name]["own"] for hop in own["hops"]} for name in ("keel", "null")}
        keel = {name: hop["p50"] for name, hop in spans["keel"].items() if hop["count"]}
        receive = spans["null"]["receive"]["p50"]
        decide, journal = keel.get("decide", 0), keel.get("journal", 0)
        parts = {
            "kernel: receive stamp to our read": keel.get("kernel", 0),
            "socket read, TLS, frame (the null echo's)": receive,
            "decode, gap check, ring": max(0, keel.get("decode", 0) - receive),
            "market ring": keel.get("queue", 0),
            "engine: record, book, rule, sizing, gate": max(0, decide - journal),
            "journal append of the decision": journal,
            "order ring": keel.get("handoff", 0),
            "encode": keel.get("encode", 0),
            "frame, TLS, socket write": keel.get("send", 0),
        }
        inside = sum(parts.values())
        parts["the venue's send and receive, loopback"] = max(0, rows["keel"]["ns"]["p50"] - inside)
        self.pictures.append(page.stack("Where one tick's time goes, medians, with the kernel's stamps on", parts))
        own = {name.split(" (")[0]: ns for name, ns in parts.items() if name.split(":")[0] not in ("kernel", "the venue's send and receive, loopback")}
        self.pictures.append(page.stack("Of it, inside the node", own))
        return parts, spans

    def loads(self):
        """Other paces, bursts, plans and sizes, with and without TLS: one short run each, corrected for ticks that left late."""
        variants = [(f"{rate} ticks/s", ["--rate", rate]) for rate in (200, 500, 1000)]
        variants += [(f"bursts of {burst}", ["--rate", RATE, "--burst", burst]) for burst in (4, 16)]
        variants += [("no TLS", ["--rate", RATE, "--plain"]), ("hot agents on three threads", ["--rate", RATE, "--plan", SPREAD])]
        variants += [(f"{levels} levels a tick", ["--rate", RATE, "--levels", levels]) for levels in (25, 50)]
        found, shown = {}, []
        for name, more in variants:
            rows = self.wire("--clients", "null,keel", "--ticks", "6000", "--rounds", "2", *more)
            keel, null, bare = rows["keel"], rows["null"], rows["echo over TCP"]
            found[name] = without_curves(rows)
            shown.append([name, keel["tick_bytes"], *(us(keel["from_due_ns"][q]) for q in ("p50", "p99", "p99.9")), us(bare["ns"]["p50"]),
                          f"{ratio(keel['ns']['p50'], null['ns']['p50']):.2f}x", f"{ratio(keel['ns']['p99'], null['ns']['p99']):.2f}x",
                          f"{keel['unanswered']} of {keel['ticks']}{unanswered(keel)}"])
        columns = ["load", "bytes", "p50 from due", "p99", "p99.9", "bare echo p50", "p50 / null", "p99 / null", "without an order"]
        self.pictures.append(page.figures("The same under other loads", columns, shown))
        return found

    def p2(self):
        if self.quick:
            raise Absent("left out by --quick: it installs other people's clients")
        python = clients()
        peers = ["pybit_ws", "ccxt_pro", "nautilus"]
        rows = self.wire("--plain", "--no-floors", "--rate", PEERS_RATE, "--ticks", "3000", "--rounds", "3", "--python", python,
                         "--clients", ",".join(["keel", *peers]))
        self.wires["P2"] = rows
        keel = rows["keel"]["ns"]
        p50 = {name: ratio(rows[name]["ns"]["p50"], keel["p50"]) for name in peers}
        p99 = {name: ratio(rows[name]["ns"]["p99"], keel["p99"]) for name in peers}
        self.pictures.append(page.curves("Tick to order over plain WebSocket: the same rule, exchange and tape, other people's clients",
                                         {name: entry["curve"] for name, entry in rows.items()}))
        self.pictures.append(page.bars("How many times longer the others take, p50", p50, "x"))
        measured = f"keel {tail(keel)}; " + "; ".join(f"{name} p50 {p50[name]:.0f}x, p99 {p99[name]:.0f}x" for name in peers)
        measured += "; without an order: " + ", ".join(f"{name} {entry['unanswered']} of {entry['ticks']}" for name, entry in rows.items())
        met = p50["pybit_ws"] >= 25 and p50["ccxt_pro"] >= 25 and p50["nautilus"] >= 5 and min(p99.values()) >= 20
        return row("the same against what users run today", "p50 >= 25x pybit and ccxt.pro, >= 5x nautilus; p99 >= 20x",
                   measured, met, figures={"wire": without_curves(rows)})

    # ---- in the process ------------------------------------------------------------------------------------------

    def p3(self):
        claim, target = "decode, gap check and apply of a book delta", ">= 8x barter-data, >= 25x nautilus as it ships; decode >= 3x the best typed parser; <= 1.5x a scan of the same numbers"
        if not TAPE.exists():
            raise Absent(f"the tape {TAPE.name} is not here (KEEL_SHARED)")
        features = [] if self.quick else PEERS
        rows = by_name(last_json(run("cargo", "run", "--quiet", "--release", *features, "--bin", "keel-bench-decode", "--", TAPE, "--json", cwd=ROOT / "bench/decode", env=native())))
        nanos = {name: statistics.median(entry["rounds"]) for name, entry in rows.items()}
        times = lambda name, ours: statistics.median(ratio(a, b) for a, b in zip(rows[name]["rounds"], rows[ours]["rounds"]))
        whole, decode = "keel decode+gap+apply", "keel decode"
        parsers = {name: times(name, decode) for name in rows if name.endswith(" typed") and name != "nautilus typed"}
        scan = 1 / times("floor: scan of numbers", decode)
        self.pictures.append(page.bars("One order book delta, nanoseconds, medians of interleaved rounds", nanos, "ns"))
        measured = f"decode {nanos[decode]:.0f} ns, with gap check and apply {nanos[whole]:.0f} ns; best typed parser {min(parsers.values()):.1f}x ({min(parsers, key=parsers.get)}); {scan:.2f}x the scan"
        figures = {"ns": nanos}
        if self.quick:
            return row(claim, target, measured, None, "barter-data and nautilus are left out by --quick", figures)
        peers = {name: times(name, whole) for name in ("barter-data", "nautilus production", "nautilus typed")}
        measured += "; " + ", ".join(f"{name} {x:.1f}x" for name, x in peers.items())
        met = peers["barter-data"] >= 8 and peers["nautilus production"] >= 25 and min(parsers.values()) >= 3 and scan <= 1.5
        return row(claim, target, measured, met, figures=figures)

    def p4(self):
        claim, target = "the whole gate, 1,000 scenarios x 64 instruments x 500 open orders", "<= 250 ns p50; >= 5x nautilus' check; value at risk >= 60x a full sort and equal to it"
        found = last_json(run(release("keel-risk", "gate_cost", example=True), "--json"))
        ns = {name: entry["ns"] for name, entry in by_name(found).items()}
        far, near = ns["the whole gate, far from its limits"], ns["the whole gate, near its limit"]
        sort = ratio(ns["value at risk: a full sort"]["p50"], ns["value at risk: the decision, at its limit"]["p50"])
        worst = ratio(ns["value at risk: a full sort"]["p50"], ns["value at risk: the decision, at its worst"]["p50"])
        self.pictures.append(page.bars("Permission for one order, p50, the stopwatch included", {name: entry["p50"] for name, entry in ns.items()}, "ns"))
        measured = (f"far from its limits {tail(far)}; near {tail(near)}; a full sort {sort:.0f}x the decision ({worst:.0f}x where every lane must be read), "
                    f"{found['otherwise']} of {found['cases']} random decisions otherwise; the stopwatch alone {tail(ns['the stopwatch alone'])}")
        good = near["p50"] <= 250 and sort >= 60 and found["otherwise"] == 0
        if self.quick:
            return row(claim, target, measured, None if good else False, "nautilus' check is left out by --quick", {"ns": ns})
        beside = last_json(run("cargo", "run", "--quiet", "--release", *PEERS, "--bin", "gate", cwd=ROOT / "bench/decode", env=native()))
        them = {name: entry["ns"] for name, entry in by_name(beside).items()}
        asked, here = them["nautilus: of it, building the command"]["p50"], them["the whole gate, near its limit"]["p50"]
        theirs = them["nautilus: the risk engine, one order"]["p50"] - asked
        measured += (f"; nautilus without building its command {page.time(theirs)}: {ratio(theirs, near['p50']):.1f}x keel as it ships, and "
                     f"{ratio(theirs, here):.1f}x keel in nautilus' own process, built for this CPU as nautilus is")
        return row(claim, target, measured, good and ratio(theirs, near["p50"]) >= 5, figures={"ns": ns, "beside nautilus": them})

    def p5(self):
        claim, target = "journal append of 192 B while the disk is flooded, with sealer, copier and a reader", "p50 <= 2x memcpy + CRC, p99.9 <= 1 us where the machine allows"
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch:
            if self.quick:
                found = [last_json(run(release("keel-journal", "append", example=True), scratch, "--storm", "--json", "--records", "100000", "--rounds", "2"))]
            else:
                found = [last_json(run("cargo", "run", "--quiet", "--release", "--", scratch, "--json", cwd=ROOT / "bench/append")) for _ in range(STORMS)]
        found.sort(key=lambda one: by_name(one)["journal append + reader"]["ns"]["p99.9"])
        rows = by_name(found[len(found) // 2])
        ours, floor, empty = (rows[name]["ns"] for name in ("journal append + reader", "memcpy + CRC-32C", "empty loop"))
        self.pictures.append(page.curves("An append of 192 B while the disk is flooded", {name: entry["curve"] for name, entry in rows.items()}))
        p50, refused = ratio(ours["p50"], floor["p50"]), sum(by_name(one)["journal append + reader"]["refused"] for one in found)
        each = ", ".join(page.time(by_name(one)["journal append + reader"]["ns"]["p99.9"]) for one in found)
        measured = f"the middle one of {len(found)} storms (p99.9 of each: {each}): p50 {p50:.2f}x the floor, the clock in both; append {tail(ours)}; floor {tail(floor)}; an empty loop {tail(empty)}; {refused} refused"
        figures = {"rows": without_curves(rows)}
        if p50 <= 2 and refused == 0 and ours["p99.9"] > 1000 and empty["p99.9"] > 1000:
            return row(claim, target, measured, None, "the machine's own p99.9 is above 1 us: its scheduling does not allow to see this", figures)
        return row(claim, target, measured, p50 <= 2 and refused == 0 and ours["p99.9"] <= 1000, figures=figures)

    # ---- the whole of it -----------------------------------------------------------------------------------------

    def p6(self):
        claim, target = "replay of a recorded day through the same engine", ">= 5 M events/s on one core; >= 10x nautilus' backtest; faster than hftbacktest on the same tape"
        keel = release("keel-tools", "keel")
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as scratch:
            journal = pathlib.Path(scratch) / "journal"
            if self.quick:
                return self.p6_alone(claim, target, keel, journal)
            if not TAPE.exists():
                raise Absent(f"the tape {TAPE.name} is not here (KEEL_SHARED)")
            told = last_json(run("cargo", "run", "--quiet", "--release", *PEERS, "--bin", "replay", "--", TAPE, "--keel", keel, "--journal", journal,
                                 cwd=ROOT / "bench/decode", env=native()))
        ours, nautilus, hft, pace = told["keel"], told["times_nautilus"], told["times_hftbacktest"], told["keel_whole_tape"]["facts_per_s"]
        self.pictures.append(page.bars("Replay of the same tape, events a second of a core", {name: told[name]["events_per_s"] for name in ("keel", "hftbacktest", "hftbacktest_100ms", "nautilus")}, "/s"))
        measured = (f"{pace / 1e6:.2f} M facts/s of the whole tape; of the events the others are fed {ours['events_per_s'] / 1e6:.2f} M/s "
                    f"({ours['facts_per_s'] / 1e6:.2f} M facts/s), quickest of {told['rounds']} interleaved rounds, time on a core; nautilus {nautilus:.1f}x, hftbacktest {hft:.2f}x")
        same = ours["same_touch"] and ours["same_count"]
        return row(claim, target, measured, pace >= 5e6 and nautilus >= 10 and hft > 1 and same, "" if same else "keel ended with another touch or count than the tape", {"told": told})

    @staticmethod
    def p6_alone(claim, target, keel, journal):
        """keel's replay of a generated market: no peer, and so no verdict unless it is too slow already."""
        run(keel, "demo", "--speed", "max", "--seconds", 600, "--data-dir", journal)
        rounds = [json.loads(run(keel, "replay", journal, "--json"))["runs"][0] for _ in range(3)]
        paces = [told["inputs"] / told["core_nanos"] * 1e9 for told in rounds]
        pace = statistics.median(paces)
        measured = f"{pace / 1e6:.2f} M facts/s of a core, read, decided again and compared"
        if not all(told["identical"] for told in rounds):
            return row(claim, target, measured, False, "the replay is not what was recorded")
        return row(claim, target, measured, None if pace >= 5e6 else False, "nautilus and hftbacktest are left out by --quick, and so is the tape", {"facts_per_second": paces})

    def p7(self):
        claim, target = "shipping to Postgres", ">= 80 % of a bare COPY of the same rows in the same run"
        if self.quick:
            raise Absent("left out by --quick: it needs a Postgres of its own, and a build of the tests")
        told = last_json(run(ROOT / "bench" / "ship", "postgres", env={"KEEL_BIN": str(release("keel-tools", "keel"))}))
        measured = f"{told['ship_rows_per_second']:,.0f} rows/s beside {told['copy_rows_per_second']:,.0f}: {told['ratio']:.0%}"
        return row(claim, target, measured, told["ratio"] >= 0.8, figures={"told": told})

    def p9(self):
        claim, target = "restart after kill -9 with 10 M records in the journal", "trading-ready in <= 2 s, from a snapshot plus the tail"
        records = 1_000_000 if self.quick else 10_000_000
        told = last_json(run(release("keel-tools", "restart_cost", example=True), records))
        ready = told["ready_ms_median"] / 1000
        measured = f"{ready:.2f} s with {told['records'] / 1e6:.1f} M records of the run that died, median of {told['rounds']}, pages {told['pages']}; {told['core_ms_min'] / 1000:.2f} s of a core at best"
        if self.quick:
            return row(claim, target, measured, None if ready <= 2 else False, "a tenth of the records (--quick)", {"told": told})
        return row(claim, target, measured, ready <= 2, figures={"told": told})

    def p8(self):
        program = release("keel-wire", "keel-wire")
        seconds = 40 if self.quick else 600
        soak = last_json(run(ROOT / "bench" / "soak", "--hours", seconds / 3600, "--json", "--no-record"))
        calls, ticks, counted = system_calls(program)
        own = {"recvfrom", "recvmsg", "read", "readv", "sendto", "sendmsg", "write", "writev"}
        others = {name: count for name, count in calls.items() if name not in own}
        wire = self.wires.get("P1") or self.wire("--rate", RATE, "--clients", "keel", "--no-floors", "--ticks", "4000", "--rounds", "1")
        own_words = wire["keel"]["own"][-1]
        allocations, over = own_words["hot_allocations"], own_words["hot_allocations_over"]
        self.pictures.append(page.bars("System calls of the hot thread, a tick (it polls: most find nothing)", {name: count / ticks for name, count in calls.items()}, ""))
        self.pictures.extend(soak["pictures"])
        measured = (f"hot thread: {allocations} allocations over {over} orders, {sum(others.values())} system calls but the sockets' own over {ticks} ticks"
                    f"{' (' + ', '.join(f'{name} {count}' for name, count in others.items()) + ')' if others else ''}, {calls.get('futex', 0)} of them locks; "
                    f"64 instruments: {soak['measured']}")
        met = allocations == 0 and not others and soak["met"] and soak["rss_mib_max"] <= 256
        figures = {"calls": calls, "ticks": ticks, "counters": counted, "instructions": instructions(), "soak": {key: value for key, value in soak.items() if key not in ("pictures", "samples")}}
        return row("steady state", "0 allocations, 0 locks, 0 system calls but the sockets' own; RSS flat, <= 256 MiB with 64 instruments", measured, met, figures=figures)


def unanswered(entry):
    """Why ticks have no order, by the client's own account."""
    ends = {}
    for own in entry.get("own", []):
        for end, count in own.get("ends", {}).items():
            if end not in ("approved", "wire"):
                ends[end] = ends.get(end, 0) + count
    return " (" + ", ".join(f"{end}: {count}" for end, count in ends.items()) + ")" if ends else ""


def clients():
    """A private environment with pinned versions of other people's clients, as tests/clients makes it."""
    python, wanted = CLIENTS / ".venv" / "bin" / "python", CLIENTS / "requirements.txt"
    mark = CLIENTS / ".venv" / "installed"
    if not mark.exists() or mark.read_bytes() != wanted.read_bytes():
        run(sys.executable, "-m", "venv", CLIENTS / ".venv")
        run(CLIENTS / ".venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted)
        mark.write_bytes(wanted.read_bytes())
    return python


def native():
    """sonic-rs is fast only when it is told the CPU; everyone else gains by it too."""
    return {"RUSTFLAGS": "-C target-cpu=native"}


def instructions():
    """Instructions a call of every hot function, where valgrind is."""
    try:
        return last_json(run(ROOT / "bench" / "instructions", "--json"))["instructions"]
    except Absent as why:
        return str(why)


def hot_thread(pid):
    """The thread that carries the engine, of this process or of one it started."""
    for _ in range(400):
        family = [pid]
        for parent in family:
            for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
                try:
                    family += [int(child) for child in children.read_text().split()]
                except OSError:
                    pass
        for member in family:
            for comm in pathlib.Path(f"/proc/{member}/task").glob("*/comm"):
                try:
                    if "engine" in comm.read_text():
                        return int(comm.parent.name)
                except OSError:
                    pass
        time.sleep(0.05)
    raise Absent("no thread of the node carries the engine")


def counters(thread, seconds):
    """Caches and branches of a thread by the CPU's own counters, or why there are none."""
    events = ["instructions", "cycles", "L1-dcache-load-misses", "L1-icache-load-misses", "cache-misses", "branch-misses"]
    try:
        said = subprocess.run(["perf", "stat", "-x,", "-e", ",".join(events), "-t", str(thread), "sleep", str(seconds)], capture_output=True, text=True, timeout=60).stderr
    except FileNotFoundError:
        return "perf is not installed"
    found = {cells[2]: int(cells[0]) for cells in (line.split(",") for line in said.splitlines()) if len(cells) > 2 and cells[0].isdigit()}
    return found or "this machine shows no counters"


def system_calls(program, rate=200, seconds=8):
    """System calls of the hot thread by name, counted by strace, the ticks it dealt with meanwhile, and what the CPU counted after."""
    ticks = rate * (seconds * 2 + 12)
    command = [str(program), "run", "--clients", "keel", "--no-floors", "--rounds", "1", "--rate", str(rate), "--ticks", str(ticks), "--json"]
    measured = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        thread = hot_thread(measured.pid)
        time.sleep(6)  # the links stand, the brake is released, the tape plays
        with tempfile.NamedTemporaryFile("r") as counted:
            tracer = subprocess.Popen(["strace", "-c", "-qq", "-o", counted.name, "-p", str(thread)], stderr=subprocess.PIPE, text=True)
            time.sleep(seconds)
            tracer.send_signal(signal.SIGINT)
            _, said = tracer.communicate(timeout=30)
            table = counted.read()
        by_cpu = counters(thread, seconds)
    except FileNotFoundError:
        raise Absent("strace is not installed") from None
    finally:
        measured.terminate()
        measured.wait()
    calls = {found[2]: int(found[1]) for found in re.finditer(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", table, re.M) if found[2] != "total"}
    if not calls:
        raise Absent(f"strace counted nothing: {said.strip() or table.strip()}")
    return calls, rate * seconds, by_cpu

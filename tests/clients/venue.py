"""A `keel exchange` of our own for one session: started, found, stopped."""

import contextlib
import os
import pathlib
import re
import subprocess
import time
import urllib.request

KEY, SECRET = "demo-key", "demo-secret"
ROOT = pathlib.Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def venue(*args):
    """Yields `host:port` of a fresh exchange."""
    keel = os.environ.get("KEEL", str(ROOT / "target" / "debug" / "keel"))
    process = subprocess.Popen(
        [keel, "exchange", "--listen", "127.0.0.1:0", *args], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://([0-9.:]+)", line)
        assert found, f"the exchange did not start: {line!r}"
        yield found.group(1)
    finally:
        process.terminate()
        process.wait(10)


def command(host, line):
    """One administrator's line."""
    with urllib.request.urlopen(f"http://{host}/sim/command", line.encode(), timeout=10) as reply:
        assert reply.status == 200, line


def until(what, met, seconds=20):
    """Waits for a condition; says what did not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = met()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never happened: {what}")

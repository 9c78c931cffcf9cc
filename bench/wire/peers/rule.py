"""The rule every client follows: an IOC buy at the best bid whenever the best bid is another price. And the addresses."""

import sys
import threading
import time

PORT = sys.argv[1]
HTTP, WS = f"http://localhost:{PORT}", f"ws://localhost:{PORT}"
KEY, SECRET = "demo-key", "demo-secret"
QTY = "0.016"


def ready():
    """Tells the bench that ticks may come, once the subscription has had time to stand."""
    time.sleep(2)
    print("ready", flush=True)


def until_told(then=None):
    """Waits for the end of the input, which is the end of the measurement."""
    sys.stdin.read()
    if then:
        then()


def in_background(work):
    """Runs `work` on a thread that does not keep the process."""
    threading.Thread(target=work, daemon=True).start()

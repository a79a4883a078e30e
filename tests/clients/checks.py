"""One line per check, and an exit code that cannot say "fine" by accident.

A program makes a `Checks` for each client, runs every promise it tests through
`check`, and ends with `finish`, which prints the closing line that the runner
insists on. A check that hangs fails after `CHECK_SECONDS`.
"""

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

# No honest check takes longer, even on a busy machine with two cores.
CHECK_SECONDS = 20


class Checks:
    def __init__(self, name):
        self.name = name
        self.failed = 0

    @contextmanager
    def check(self, promise, seconds=CHECK_SECONDS):
        """Runs the body as one check, under the name of what it promises."""
        signal.signal(signal.SIGALRM, _late)
        signal.alarm(seconds)
        try:
            yield
        except Exception as error:
            self.failed += 1
            line = error.__traceback__.tb_next or error.__traceback__
            why = " | ".join(str(error).split("\n")) or type(error).__name__
            print(f"FAIL {self.name}: {promise}: line {line.tb_lineno}: {type(error).__name__}: {why}")
        else:
            print(f"ok   {self.name}: {promise}")
        finally:
            signal.alarm(0)
            sys.stdout.flush()


def _late(_signal, _frame):
    raise TimeoutError("no answer in time")


def finish(*checks):
    """The closing line; the process ends here."""
    print("end")
    sys.exit(1 if any(c.failed for c in checks) else 0)


@contextmanager
def refused(error, text):
    """The body must be refused with exactly this error text."""
    try:
        yield
    except error as refusal:
        assert str(refusal) == text, f"refused with {str(refusal)!r}, not {text!r}"
    else:
        raise AssertionError(f"not refused with {text!r}")


def equal(left, right):
    """`assert left == right` that says what was found."""
    assert left == right, f"{left!r} is not {right!r}"


def address(variable):
    """`host:port` from the environment, as the runner sets it."""
    host, port = os.environ[variable].split(":")
    return {"host": host, "port": int(port)}


def eventually(what, probe, within=12.0):
    """Waits for something that happens by itself soon, and says what did not."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if probe():
            return
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {within} s")


def error_rows(key):
    """Redis' own error texts, asked for with `key` in the place of `{k}`."""
    rows = json.loads(Path(__file__).with_name("errors.json").read_text())
    return [([word.replace("{k}", key) for word in words], text) for words, text in rows]

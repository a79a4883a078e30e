"""The server held to docs/openapi.yaml by schemathesis, without an upstream: with the store as the source and an admin-token, and with tokens decoded
here, so that its own answers are seen.

`/live` is left out, as it has no end. Schemathesis starts no more than `MAX_EXAMPLES` of its random requests a path, from one seed, so
that two runs are alike.
"""

import http.client
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import yaml
from checks import Checks, finish

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "docs" / "openapi.yaml"
MAX_EXAMPLES = 6
RUN_SECONDS = 70
START_SECONDS = 20


class Server:
    """One of our own on free ports; ended with the block."""

    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        secret = Path(self.folder.name, "secret")
        secret.write_text("only-for-this-test-0123456789abcdef\n")
        secret.chmod(0o600)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
        words = [os.environ["CLOAKROOM_BIN"], "--port", "0", "--http-port", "0", "--dir", self.folder.name, *options]
        words = [word.replace("SECRET_FILE", str(secret)) for word in words]
        self.log = open(Path(self.folder.name, "log"), "w+")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, env=environment)
        end = time.monotonic() + START_SECONDS
        while not (found := re.search(r"listening on (\S+) \(http\)", self.said())):
            assert self.process.poll() is None and time.monotonic() < end, self.said()
            time.sleep(0.02)
        self.url = f"http://{found[1]}"

    def said(self):
        return Path(self.folder.name, "log").read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=10)
        self.log.close()
        self.folder.cleanup()


def judge(url, *options):
    """All of schemathesis' checks; what it finds is in the error."""
    words = ["schemathesis", "run", str(SPEC), "--url", url, "--max-examples", str(MAX_EXAMPLES), "--exclude-path", "/live"]
    # That check sends bodies with GET, which the server refuses as no two parsers read them alike.
    words += ["--checks", "all", "--exclude-checks", "unsupported_method", "--phases", "coverage,fuzzing", "--seed", "7", "--no-color", *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_SECONDS, cwd=tempfile.gettempdir())
    assert done.returncode == 0, done.stdout[done.stdout.find("FAILURES") :] + done.stderr
    seen = re.search(r"(\d+) generated", done.stdout)
    assert seen and int(seen[1]) >= 60, f"hardly a request was made: {done.stdout}"


def methods(url, header):
    """Methods that a path does not have are 405, and said so; verify takes any."""
    for path, operations in yaml.safe_load(SPEC.read_text())["paths"].items():
        if path == "/api/auth/verify":
            continue
        for method in ("get", "post", "put", "delete", "patch", "trace"):
            if method in operations:
                continue
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
            connection.request(method.upper(), path, headers=header)
            answer = connection.getresponse()
            assert answer.status == 405 and answer.headers["allow"], f"{method} {path}: {answer.status} {answer.read()}"
            connection.close()


KINDS = {
    # Nobody makes csrf tokens there.
    "with the store as the source and an admin-token": (
        ["--source", "store", "--admin-token", "t0ken"],
        ["-H", "Authorization: Bearer t0ken", "--exclude-path", "/api/auth/csrf"],
    ),
    "with tokens decoded here": (["--source", "nextauth", "--secret-file", "SECRET_FILE", "--profile", "nextauth"], []),
}

checks = Checks("docs/openapi.yaml")
for kind, (settings, options) in KINDS.items():
    with checks.check(f"the server answers as it says {kind}", seconds=RUN_SECONDS + 5):
        with Server(*settings) as server:
            judge(server.url, *options)
            if "nextauth" in settings:
                methods(server.url, {})
            assert "panicked" not in server.said(), server.said()
finish(checks)

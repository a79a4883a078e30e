"""What is sent by OTLP, as OpenTelemetry's own schema reads it (opentelemetry-proto, by google.protobuf's strict reader of JSON), with a
server, a session service and a collector of this run.
"""

import base64
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from checks import Checks, finish
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open

START_SECONDS = 18
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SESSION = {"user": {"name": "alice"}, "expires": "2099-01-01T00:00:00.000Z"}


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class App(Quiet):
    """A session service that knows alice."""

    seen = []

    def do_GET(self):
        App.seen.append(self.headers["traceparent"])
        self.answer(json.dumps(SESSION).encode())


class Collector(Quiet):
    seen = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Collector.seen.append((self.path, self.headers["Content-Type"], body.decode()))
        self.answer(b"{}")


def serve(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def as_protobuf_has_it(value, key=None):
    """OTLP writes numbers of traces and spans in hexadecimal digits, in lower case here, where protobuf's JSON has base64."""
    if isinstance(value, dict):
        return {name: as_protobuf_has_it(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_protobuf_has_it(inner) for inner in value]
    if key in ("traceId", "spanId", "parentSpanId"):
        digits = 32 if key == "traceId" else 16
        assert re.fullmatch(f"[0-9a-f]{{{digits}}}", value), f"{key} {value}"
        return base64.b64encode(bytes.fromhex(value)).decode()
    return value


def read(path, kind):
    """Every document that has come on a path, read by its schema, which refuses what it does not know."""
    came = [(kind_of, text) for to, kind_of, text in list(Collector.seen) if to == path]
    assert all(kind_of == "application/json" for kind_of, _ in came), came
    return [json_format.Parse(json.dumps(as_protobuf_has_it(json.loads(text))), kind()) for _, text in came]


def metrics():
    return read("/v1/metrics", ExportMetricsServiceRequest)


def spans():
    documents = read("/v1/traces", ExportTraceServiceRequest)
    return [span for all in documents for of in all.resource_spans for scope in of.scope_spans for span in scope.spans]


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def until(what, holds):
    end = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < end, f"it never came that {what}"
        time.sleep(0.05)


def ask(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return answer.read().decode()


def check(flags):
    cookie = "next-auth.session-token=a-secret-token"
    return ask(f"{url}/api/auth/session", Cookie=cookie, traceparent=f"00-{TRACE}-{PARENT}-{flags}")


checks = Checks("opentelemetry-proto")
folder = tempfile.TemporaryDirectory()
log = open(Path(folder.name, "log"), "w+")
environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKROOM_")}
app = serve(App)
words = ["--port", "0", "--http-port", "0", "--dir", folder.name, "--upstream", app, "--session-ttl", "60s"]
words += ["--otlp-endpoint", serve(Collector), "--otlp-interval", "100ms"]
process = subprocess.Popen([os.environ["CLOAKROOM_BIN"], *words], stdout=log, stderr=log, env=environment)
try:
    said = lambda: Path(folder.name, "log").read_text()
    until("the server listens", lambda: re.search(r"listening on (\S+) \(http\)", said()))
    url = "http://" + re.search(r"listening on (\S+) \(http\)", said())[1]

    with checks.check("a recorded check is a span, and the call for it another below it, which the upstream was told of"):
        check("01")
        until("both spans came", lambda: len(spans()) == 2)
        by_kind = {span.kind: span for span in spans()}
        server, client = by_kind[Span.SPAN_KIND_SERVER], by_kind[Span.SPAN_KIND_CLIENT]
        assert server.trace_id.hex() == client.trace_id.hex() == TRACE
        assert server.parent_span_id.hex() == PARENT and client.parent_span_id == server.span_id
        assert App.seen == [f"00-{TRACE}-{client.span_id.hex()}-01"], App.seen
        assert server.start_time_unix_nano <= client.start_time_unix_nano < client.end_time_unix_nano
        assert client.end_time_unix_nano <= server.end_time_unix_nano
        assert abs(time.time() - server.end_time_unix_nano / 1e9) < 60
        told = attributes(server)
        assert told.pop("cloakroom.source") == "nextauth"
        path = "/api/auth/session"
        assert told == {
            "http.request.method": "GET", "url.scheme": "http", "url.path": path, "http.route": path, "http.response.status_code": 200,
        }, told
        host, port = app.removeprefix("http://").split(":")
        assert attributes(client) == {
            "http.request.method": "GET", "server.address": host, "server.port": int(port), "url.full": app + path,
            "http.response.status_code": 200,
        }, attributes(client)
        assert (server.name, client.name) == (f"GET {path}", "GET")
        assert server.status.code == Status.STATUS_CODE_UNSET

    with checks.check("a hit is one span, and what is not recorded none"):
        check("00")
        check("01")
        until("the hit came", lambda: len(spans()) >= 3)
        assert len(spans()) == 3 and attributes(spans()[2])["cloakroom.source"] == "cache"
        assert len(App.seen) == 1

    with checks.check("metrics are whole, and the same as those of /metrics"):
        count = len(metrics())
        until("another set came", lambda: len(metrics()) > count)
        of = metrics()[-1].resource_metrics[0]
        who = attributes(of.resource)
        assert who["service.name"] == "cloakroom" and who["service.version"] and who["service.instance.id"], who
        sent = {metric.name: metric for metric in of.scope_metrics[0].metrics}
        page = {family.name: family for family in read_open(ask(f"{url}/metrics", Accept="application/openmetrics-text"))}
        assert set(sent) == set(page), set(sent) ^ set(page)
        for name, metric in sent.items():
            kind = metric.WhichOneof("data")
            assert {"sum": "counter"}.get(kind, kind) == page[name].type and metric.description, name
            assert metric.unit == {"seconds": "s", "bytes": "By", "": ""}[page[name].unit or ""], name
            (point,) = getattr(metric, kind).data_points
            assert abs(time.time() - point.time_unix_nano / 1e9) < 60, name
            if kind == "gauge":
                continue
            assert getattr(metric, kind).aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE, name
            assert 0 < point.start_time_unix_nano < point.time_unix_nano, name
            if kind == "sum":
                assert metric.sum.is_monotonic, name
            else:
                assert len(point.bucket_counts) == len(point.explicit_bounds) + 1, name
                assert sum(point.bucket_counts) == point.count, name
                assert list(point.explicit_bounds) == sorted(point.explicit_bounds), name
        taken = sent["cloakroom_session_check_duration_seconds"].histogram.data_points[0]
        assert taken.count == 3 and taken.sum > 0, taken
        assert sent["cloakroom_used_memory_bytes"].gauge.data_points[0].as_int > 0

    with checks.check("no token is told, and what is left is sent when the server ends"):
        before = len(metrics())
        process.terminate()
        assert process.wait(timeout=8) == 0
        assert len(metrics()) > before
        assert not any("secret" in text or "alice" in text for _, _, text in Collector.seen)
finally:
    process.kill()
    process.wait()

finish(checks)

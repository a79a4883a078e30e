"""/metrics as Prometheus' own client reads it, in both of its forms."""

import os
import urllib.request

from checks import Checks, finish
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain

url = os.environ["HTTP_URL"] + "/metrics"
SCRAPER = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"


def fetch(accept):
    """The text and its type."""
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def names(families):
    """Each family by its name; a name that comes twice is a mistake."""
    listed = list(families)
    found = {family.name: family for family in listed}
    assert len(found) == len(listed), "a family comes twice"
    return found


checks = Checks("prometheus_client")


with checks.check("the plain form is read whole"):
    text, kind = fetch("*/*")
    assert kind == "text/plain; version=0.0.4; charset=utf-8", kind
    families = names(read_plain(text))
    assert families["cloakroom_commands"].type == "counter"
    assert families["cloakroom_used_memory_bytes"].samples[0].value > 0
    assert len(families) == text.count("# TYPE "), "one was lost"


with checks.check("OpenMetrics is read whole, by the strict reader"):
    text, kind = fetch(SCRAPER)
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8", kind
    assert text.endswith("# EOF\n")
    families = names(read_open(text))
    for family in families.values():
        assert family.name.startswith("cloakroom_") and family.documentation, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert not family.unit or family.name.endswith("_" + family.unit), family.name
    assert families["cloakroom_input_bytes"].unit == "bytes"
    assert families["cloakroom_session_check_duration_seconds"].unit == "seconds"
    assert families["cloakroom_expiry_lag_seconds"].type == "histogram"
    assert any(name.startswith("cloakroom_sessions_") for name in families)


with checks.check("both forms tell the same figures"):
    one, other = names(read_plain(fetch("text/plain")[0])), names(read_open(fetch(SCRAPER)[0]))
    assert set(one) == set(other), set(one) ^ set(other)
    for name, family in one.items():
        samples = {(sample.name, tuple(sample.labels)) for sample in family.samples}
        assert samples == {(sample.name, tuple(sample.labels)) for sample in other[name].samples}, name


finish(checks)

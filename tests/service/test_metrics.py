"""The metrics of a real daemon: their values, what Prometheus' own checker says, and who asks for them."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import promtool
import pytest
import yaml
from conftest import MOSQUITTO, ROOT, Mosquitto, a_free_port
from prometheus_client.parser import text_string_to_metric_families
from rig import images_line, write_config, write_images

from edge.clock import SystemClock
from edge.histogram import Histogram
from service.daemon import Daemon
from service.health import throttled
from service.metrics.families import FAMILIES
from service.metrics.render import Metrics
from service.metrics.samples import cumulative
from service.orders import Orders
from service.settings import load_settings

DASHBOARD = ROOT / "docs/examples/grafana/edgecls.json"
NOT_HERE = {"edgecls_temperature_celsius", "edgecls_throttled"}
"""Some devices do not tell."""

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    """What a daemon says when it has inspected 12 good images and one that is none, in two lines."""
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; ./install.sh test installs it")
    folder = tmp_path_factory.mktemp("metrics")
    broker = Mosquitto(a_free_port(), folder)
    broker.configure("allow_anonymous true")
    broker.start()
    images = write_images(folder / "frames", 12)
    (images / "broken.png").write_bytes(b"none")
    sure = images_line(images, "sure", decide={"per": "frame", "min_score": 0.0})
    unsure = images_line(images, "unsure", decide={"per": "frame", "min_score": 1.0})
    config = write_config(folder, broker.port, [sure, unsure], evidence={"max_writes_per_hour": 20})
    orders = Orders()
    daemon = Daemon(load_settings(config), orders, SystemClock(), read=lambda: load_settings(config))
    assert daemon.run() == 0
    yield Metrics(daemon.view).render()
    broker.stop()


@pytest.fixture
def values(rendered: bytes) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
    }


def of(values: Values, name: str, **labels: str) -> float:
    return values[name, frozenset(labels.items())]


def summed(values: Values, name: str, **labels: str) -> float:
    return sum(value for (n, given), value in values.items() if n == name and labels.items() <= dict(given).items())


def test_frames_and_decisions_are_counted(values: Values) -> None:
    for line in ("sure", "unsure"):
        assert of(values, "edgecls_frames_total", line=line) == 12
        assert of(values, "edgecls_bad_frames_total", line=line) == 1
        assert summed(values, "edgecls_decisions_total", line=line) == 12
    assert summed(values, "edgecls_decisions_total", line="unsure", verdict="review") == 12
    assert summed(values, "edgecls_decisions_total", line="sure", verdict="review") == 0
    assert of(values, "edgecls_outbox_messages") == 0
    assert of(values, "edgecls_broker_connections_total") == 1
    assert of(values, "edgecls_line_state", line="sure", state="waiting") == 1
    assert of(values, "edgecls_line_state", line="sure", state="inspecting") == 0


def test_every_frame_and_every_delivery_is_in_a_histogram(values: Values) -> None:
    for line in ("sure", "unsure"):
        for stage in ("look", "preprocess", "infer", "total"):
            of_stage = {"line": line, "stage": stage}
            assert of(values, "edgecls_stage_seconds_count", **of_stage) == 12
            assert of(values, "edgecls_stage_seconds_bucket", le="+Inf", **of_stage) == 12
            assert of(values, "edgecls_stage_seconds_sum", **of_stage) > 0
        whole = of(values, "edgecls_stage_seconds_sum", line=line, stage="total")
        parts = ("look", "preprocess", "infer")
        assert sum(of(values, "edgecls_stage_seconds_sum", line=line, stage=stage) for stage in parts) < whole
        assert of(values, "edgecls_acknowledged_seconds_count", line=line) == 12
        assert of(values, "edgecls_acknowledged_seconds_sum", line=line) > whole / 2


def test_pictures_are_counted(values: Values) -> None:
    kept = summed(values, "edgecls_evidence_kept_total")
    unkept = summed(values, "edgecls_evidence_unkept_total")
    decided = summed(values, "edgecls_decisions_total") - summed(values, "edgecls_decisions_total", verdict="pass")
    assert 1 <= kept <= 5  # a quarter of the 20 of an hour
    assert kept + unkept == decided
    assert of(values, "edgecls_evidence_pictures") == kept


def test_the_process_tells_what_it_takes(values: Values) -> None:
    assert of(values, "process_resident_memory_bytes") > 1e6
    assert of(values, "process_cpu_seconds_total") > 0
    assert of(values, "edgecls_minor_page_faults_total") > 0


def test_every_metric_is_there_and_on_the_page(rendered: bytes) -> None:
    found = {family.name for family in text_string_to_metric_families(rendered.decode())}
    names = {family.name for family in FAMILIES}
    assert names - NOT_HERE <= found
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    table = {name: row for row in page.splitlines() if (name := "".join(re.findall(r"^\| `(edgecls_\w+)`", row)))}
    assert set(table) == {f"{f.name}_total" if f.kind == "counter" else f.name for f in FAMILIES}
    for family in FAMILIES:
        row = table[f"{family.name}_total" if family.kind == "counter" else family.name]
        assert family.kind in row
        assert all(f"`{label}`" in row for label in family.labels), row


def test_promtool_accepts_the_metrics(rendered: bytes) -> None:
    done = promtool.check("metrics", given=rendered)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_finds_mistakes_in_metrics(rendered: bytes) -> None:
    wrong = rendered.replace(b"edgecls_frames_total", b"edgecls_frames")
    done = promtool.check("metrics", given=wrong)
    assert done.returncode != 0
    assert "edgecls_frames" in done.stdout + done.stderr


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    done = promtool.check("rules", str(promtool.RULES))
    assert done.returncode == 0, done.stderr
    groups = yaml.safe_load(promtool.RULES.read_text())["groups"]
    assert f"SUCCESS: {sum(len(group['rules']) for group in groups)} rules found" in done.stdout
    broken = tmp_path / "rules.yml"
    broken.write_text(promtool.RULES.read_text().replace("increase(", "increaze(", 1))
    assert promtool.check("rules", str(broken)).returncode != 0


def queries() -> list[str]:
    """Of the dashboard and the alerts."""
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [v["query"]["query"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    for group in yaml.safe_load(promtool.RULES.read_text())["groups"]:
        asked += [rule["expr"] for rule in group["rules"]]
    return asked


def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_there_are(rendered: bytes) -> None:
    families = list(text_string_to_metric_families(rendered.decode()))
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    labels |= {"edgecls_temperature_celsius": {"sensor"}, "edgecls_throttled": {"cause"}, "up": set()}
    assert len(queries()) > 25
    for query in queries():
        asked = re.findall(r"\b((?:edgecls|process)_\w+|up)\b(?:\{([^}]*)\})?", query)
        assert asked, query
        for name, selectors in asked:
            assert name in labels, query
            given = set(re.findall(r"(\w+)(?:=~|!=|=)", selectors))
            assert given <= labels[name] | {"instance", "job"}, query


def test_the_buckets_add_up() -> None:
    histogram = Histogram((0.001, 0.01))
    for seconds in (0.0005, 0.001, 0.002, 5.0):
        histogram.note(seconds)
    buckets, sum_s = cumulative(histogram)
    assert buckets == [("0.001", 2), ("0.01", 3), ("+Inf", 4)]
    assert sum_s == pytest.approx(5.0035)


def test_a_daemon_does_not_load_prometheus_for_nothing() -> None:
    """Only `http:` takes it."""
    code = "import sys, service.commands.run; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_what_a_raspberry_pi_slows_down_for(tmp_path: Path) -> None:
    assert throttled(tmp_path) is None
    file = tmp_path / "devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    file.write_text("50005\n")  # under-voltage and throttled, now and before
    causes = {"under-voltage": True, "frequency capped": False, "throttled": True, "soft temperature limit": False}
    assert throttled(tmp_path) == causes

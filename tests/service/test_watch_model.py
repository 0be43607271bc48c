"""What a watcher knows, fed with messages as they come: lines, rates, repeats, gaps, and what is not ours."""

import io
import json
import time
from typing import Any

import pytest
from rich.console import Console
from schemas import check

from edge.clock import rfc3339
from service.watch import topics
from service.watch.client import Heard
from service.watch.model import Model
from service.watch.outputs import JsonOutput, plain, summary
from service.watch.reading import MAX_BYTES
from service.watch.records import Event
from service.watch.screen import render

NOW = 1_795_330_800.0
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\nfake line"
SCORES = {"ok": 0.03, "scratch": 0.97}
LATENCY = {"preprocess": 0.3, "infer": 2.0, "total": 2.5}


def at(seconds: float) -> str:
    return rfc3339(int((NOW + seconds) * 1e9))


def decision(part: int, **more: Any) -> dict[str, Any]:
    """One that its schema accepts; what is given may go beyond it."""
    made = {
        "schema": "edgecls/decision/1",
        "id": f"01a2021a-1927-7921-b6a5-{part:012x}",
        "ts": at(0),
        "node": "cell-7",
        "line": "line1",
        "part": part,
        "verdict": "reject",
        "label": "scratch",
        "score": 0.97,
        "scores": SCORES,
        "frame": {"seq": part, "captured_at": at(0), "width": 320, "height": 240},
        "model": {"name": "surface-demo", "version": "1.0.0", "precision": "int8"},
        "latency_ms": LATENCY,
        "late": False,
    }
    check("factory/line1/defects", made)
    return {**made, **more}


def state(word: str = "inspecting", ts: float = 0, **more: Any) -> dict[str, Any]:
    names = ("frames", "bad_frames", "dropped", "decisions", "pass", "reject", "review", "withheld", "evicted")
    counts = dict.fromkeys(names, 0)
    head = {"schema": "edgecls/state/1", "ts": at(ts), "node": "cell-7", "line": "line1"}
    made = {**head, "state": "inspecting", "reason": "", "since": at(-60), "ttl_s": 30, "counts": counts}
    check("factory/line1/state", made)
    return {**made, "state": word, **more}


def status(word: str, **more: Any) -> dict[str, Any]:
    lines = [{"name": "line1", "topic": "factory/line1"}]
    made = {
        "schema": "edgecls/status/1",
        "ts": at(0),
        "node": "cell-7",
        "status": "online",
        "version": "1",
        "lines": lines,
    }
    check("edgecls/cell-7/status", made)
    return {**made, "status": word, **more}


def health(**more: Any) -> dict[str, Any]:
    head = {"schema": "edgecls/health/1", "ts": at(0), "node": "cell-7", "line": "line1", "fps": 30.01}
    latency = {"p50": 2.4, "p95": 4.6, "p99": 6.1}
    made = {**head, "latency_ms": latency, "dropped": 3, "queue": 2, "temperature_c": 51.5}
    check("factory/line1/health", made)
    return {**made, **more}


def watcher(topic: str = "factory/#") -> Model:
    return Model(NOW, {}, topics.wanted_by(topics.filters_of(topic)))


def feed(model: Model, kind: str, message: Any, now: float = 0, *, retained: bool = False) -> list[Event]:
    topic = "edgecls/cell-7/status" if kind == "status" else f"factory/line1/{kind}"
    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    return model.feed(topic, payload, NOW + now, retained=retained)


def word(model: Model, now: float) -> str:
    return model.condition(model.lines["factory/line1"], NOW + now).word


def drawn(model: Model, now: float = 0, width: int = 100, height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, legacy_windows=False)
    console.print(render(model, NOW + now, "factory/#", console.size, connected=True))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_state_is_stale_when_nothing_newer_came_within_its_ttl() -> None:
    model = watcher()
    feed(model, "state", state())
    assert word(model, 30) == "inspecting"
    assert model.tick(NOW + 30) == []
    assert word(model, 31) == "STALE"
    (event,) = model.tick(NOW + 31)
    assert event.text == "STALE: no state within 30 s; last was inspecting"
    assert model.tick(NOW + 32) == []
    assert [event.text for event in feed(model, "state", state(ts=40), 40)] == ["inspecting"]


def test_a_state_that_the_broker_kept_is_as_old_as_it_says() -> None:
    model = watcher()
    feed(model, "state", state(ts=-7200), retained=True)
    assert word(model, 0) == "STALE"
    assert "2 h ago" in drawn(model)
    feed(model, "state", state(ts=-7200))
    assert word(model, 0) == "inspecting", "one that comes live is fresh, however wrong the sender's clock is"


def test_a_device_that_is_gone_takes_its_lines_along_and_brings_them_back() -> None:
    model = watcher()
    feed(model, "state", state())
    feed(model, "status", status("online"))
    gone = feed(model, "status", status("offline"), 1)
    assert [event.text for event in gone] == [
        "device cell-7 is offline, 1",
        "offline: the device cell-7 is not there; last was inspecting",
    ]
    assert word(model, 1) == "offline"
    feed(model, "status", status("online"), 2)
    assert word(model, 2) == "inspecting"


def test_a_heartbeat_is_no_news() -> None:
    model = watcher()
    assert len(feed(model, "state", state())) == 1
    assert feed(model, "state", state(ts=10), 10) == []
    assert feed(model, "state", state("fault", ts=11, reason="camera 0 is not there"), 11)[0].text == (
        "fault: camera 0 is not there"
    )
    assert feed(model, "state", state(ts=12, reason="dark"), 12)[0].text == "inspecting: dark"


def test_repeats_are_dropped_and_gaps_are_counted() -> None:
    model = watcher()
    for part in (4, 5, 5, 9):
        events = feed(model, "defects", decision(part))
    assert [event.kind for event in events] == ["gap", "decision"]
    assert events[0].text == "parts 6 to 8 are missing: not delivered, or evicted from the outbox"
    assert model.seen == {
        "decisions": 3, "missing": 3, "repeats": 1, "pass": 0, "reject": 3, "review": 0, "ignored": 0,
    }  # fmt: skip
    (began_anew, _) = feed(model, "defects", decision(1))
    assert "began anew" in began_anew.text
    assert model.seen["missing"] == 3
    model.was_away()
    (gap, _) = feed(model, "defects", decision(3))
    assert gap.text == "part 2 is not seen here: the broker was away"


def test_the_rate_is_of_the_last_minute_and_shares_are_of_all() -> None:
    model = watcher()
    for second in range(120):
        feed(model, "defects", decision(second + 1, verdict="pass" if second % 4 else "review"), second)
    line = model.lines["factory/line1"]
    assert line.per_minute(NOW + 119, model.started) == 60
    assert line.per_minute(NOW + 200, model.started) == 0
    assert (line.share("pass"), line.share("review"), line.share("reject")) == (0.75, 0.25, 0)
    young = watcher()
    feed(young, "defects", decision(1), 10)
    assert young.lines["factory/line1"].per_minute(NOW + 10, NOW) == 6


def test_what_newer_versions_say_is_shown() -> None:
    model = watcher()
    lacking = {"label": None, "score": None, "frame": None, "verdict": "review"}
    more = {"reason": "no frame within 200 ms", "trigger": {"id": "A-7"}, "seen": 0, "late": True}
    (event,) = feed(model, "defects", decision(1, **lacking, **more))
    assert "REVIEW no label part 1, late (decided " in plain(event)
    assert plain(event).endswith("), no frame within 200 ms, trigger A-7, 0 frames")
    feed(model, "state", state(counts={"evicted": 12}))
    picture = drawn(model)
    assert "no frame within 200 ms, trigger A-7" in picture
    assert "evicted" in picture


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        ("factory/line1/defects", b"", "empty"),
        ("factory/line1/defects", b"{", "not JSON"),
        ("factory/line1/defects", b"\xff\xfe", "not UTF-8"),
        ("factory/line1/defects", b"[" * 100_000, "nested too deeply"),
        ("factory/line1/defects", b"{" + b" " * MAX_BYTES + b"}", "larger than 256 KiB"),
        ("factory/line1/defects", b'{"schema": NaN}', "not JSON"),
        ("factory/line1/defects", b'{"schema": 1e999}', "not JSON"),
        ("factory/line1/defects", b"9" * 5000, "not JSON"),
        ("factory/line1/defects", b"[1]", "not a JSON object"),
        ("factory/line1/defects", b'{"temperature": 21}', "not a decision of edgecls"),
        ("factory/line1/state", b'{"schema": "edgecls/decision/1"}', "not a state of edgecls"),
        ("factory/line1/trigger", b"{}", "on a topic that edgecls does not use"),
        ("defects", b'{"schema": "edgecls/decision/1"}', "on a topic that edgecls does not use"),
        ("other/status", b'{"schema": "edgecls/status/1"}', "on a topic that edgecls does not use"),
    ],
)
def test_what_is_not_ours_is_ignored_and_says_why(topic: str, payload: bytes, why: str) -> None:
    model = watcher()
    (event,) = model.feed(topic, payload, NOW)
    assert (event.kind, event.text) == ("ignored", f"{topic}: {why}")
    assert model.ignored == 1
    assert f"1 ignored, last {topic}: {why}" in drawn(model)
    out = io.StringIO()
    JsonOutput(out, io.StringIO()).heard(Heard(topic, payload, retained=False))
    (line,) = out.getvalue().splitlines()
    assert set(json.loads(line)) - {"ignored", "message"} == {"topic", "retained"}


@pytest.mark.parametrize("junk", [None, True, [], {}, "x", -1, 1e300, "\ud800"])
def test_no_field_of_the_wrong_type_is_a_crash(junk: Any) -> None:
    model = watcher()
    for kind, message in (("defects", decision(1)), ("state", state()), ("health", health()), ("status", status("x"))):
        for key in message:
            events = feed(model, kind, {**message, key: junk})
            assert "\ud800" not in "".join(plain(event) for event in events)
            drawn(model).encode()


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    model = watcher()
    said = [
        *feed(model, "defects", decision(1, verdict=EVIL, label=EVIL, line=EVIL, reason=EVIL, trigger=EVIL, late=True)),
        *feed(model, "state", state(EVIL, reason=EVIL)),
        *feed(model, "status", status(EVIL, version=EVIL)),
        *model.feed(f"factory/{EVIL}/state", json.dumps(state(line="")).encode(), NOW),
        *model.feed(f"factory/{EVIL}", b"", NOW),
        *model.say(f"broker {EVIL}", NOW),
    ]
    assert len(said) == 6
    out = io.StringIO()
    JsonOutput(out, io.StringIO()).heard(Heard(EVIL, json.dumps({EVIL: EVIL}, ensure_ascii=False).encode(), False))
    for text in (*map(plain, said), out.getvalue().rstrip("\n"), drawn(model).replace("\n", "")):
        assert text.isprintable(), repr(text)


def test_lines_come_from_statuses_but_only_those_that_were_asked_for() -> None:
    model = watcher("factory/line1")
    lines = [{"name": name, "topic": f"factory/{name}"} for name in ("line1", "line2")]
    feed(model, "status", status("online", lines=[*lines, {"topic": "factory/#"}, None, {"topic": 4}]))
    assert {topic: line.name for topic, line in model.lines.items()} == {"factory/line1": "line1"}
    assert word(model, 0) == "unknown"
    elsewhere = {"schema": "edgecls/status/1", "status": "offline", "lines": []}
    assert model.feed("edgecls/cell-9/status", json.dumps(elsewhere).encode(), NOW) == []


def test_there_is_a_limit_to_how_many_lines_are_kept() -> None:
    model = watcher("#")
    for number in range(501):
        events = model.feed(f"factory/{number}/state", json.dumps(state()).encode(), NOW)
    assert len(model.lines) == 500
    assert events[0].text == "factory/500/state: more than 500 lines"
    assert "495 more do not fit" in drawn(model)


@pytest.mark.parametrize("size", [(100, 30), (80, 24)])
def test_the_picture_fits_and_shows_everything(size: tuple[int, int]) -> None:
    model = watcher()
    feed(model, "state", state("fault", reason="camera [red]0[/red] is not there"))
    feed(model, "health", health())
    for part in range(1, 40):
        feed(model, "defects", decision(part))
    picture = drawn(model, 4, *size)
    rows = picture.splitlines()
    assert len(rows) == size[1]
    assert {len(row) for row in rows} == {size[0]}
    for text in ("fault", "camera [red]0[/red] is not there", "4 s ago", "30.0", "4.6", "52", "100%", "scratch"):
        assert text in picture, text
    assert picture.index(" 39 ") < picture.index(" 38 "), "the newest decision is on top"


def test_a_decision_as_one_line_of_text() -> None:
    (event,) = feed(watcher(), "defects", decision(4))
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW))
    assert plain(event) == f"{clock} decision line1: REJECT scratch 0.97 part 4"
    (event,) = feed(watcher(), "health", health())
    assert plain(event).endswith("line1: 30.0 fps, p50/p95/p99 2.4/4.6/6.1 ms, 3 dropped, 2 queued, 51.5 °C")


def test_the_summary_says_what_was_seen() -> None:
    model = watcher()
    feed(model, "defects", decision(1))
    assert summary(model, NOW + 75) == (
        "1 decisions in 1 min 15 s (0 pass, 1 reject, 0 review), 0 missing, 0 repeats, 0 ignored"
    )


@pytest.mark.parametrize(
    ("topic", "filters"),
    [
        ("factory/line1", ["factory/line1/defects", "factory/line1/state", "factory/line1/health", topics.STATUS]),
        ("+/+", ["+/+/defects", "+/+/state", "+/+/health", topics.STATUS]),
        ("factory/#", ["factory/#", topics.STATUS]),
        ("factory/line1/defects", ["factory/line1/defects", topics.STATUS]),
        ("#", ["#"]),
        ("edgecls/#", ["edgecls/#"]),
    ],
)
def test_the_subscriptions_for_a_topic(topic: str, filters: list[str]) -> None:
    assert topics.valid_filter(topic)
    assert topics.filters_of(topic) == filters


@pytest.mark.parametrize("topic", ["", "a/#/b", "a#", "a+/b", "a\x00", "x" * 70_000])
def test_what_is_no_topic(topic: str) -> None:
    assert not topics.valid_filter(topic)

"""What is logged, in which form, and what is left out."""

import json
import logging
from pathlib import Path

import pytest
from conftest import Mosquitto
from rig import images_line, start, write_config, write_images

from service import log
from service.log import BURST, WINDOW_S, JsonFormatter, Limit


def record(message: str, *values: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("service.line", logging.WARNING, "line.py", 7, message, values, None)
    made.threadName = "main"
    made.__dict__ |= extra
    return made


class Hands:
    """A clock."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_what_is_alike_ten_pass_and_the_rest_is_counted() -> None:
    hands = Hands()
    limit = Limit(hands)
    passed = [limit.filter(record("image %s is damaged", number, line="top")) for number in range(30)]
    assert passed == [True] * BURST + [False] * (30 - BURST)
    assert limit.filter(record("image %s is damaged", 1, line="bottom"))  # another line
    assert limit.filter(record("something else", line="top"))
    assert limit.left_out() == []  # it is not over yet
    hands.now += WINDOW_S
    (told,) = limit.left_out()
    assert told.getMessage() == "image 29 is damaged (the last of 20 more like it)"
    assert told.__dict__["line"] == "top"
    assert limit.left_out() == []
    assert limit.filter(record("image %s is damaged", 31, line="top"))


def test_the_next_one_says_how_many_were_left_out() -> None:
    hands = Hands()
    limit = Limit(hands)
    for number in range(BURST + 5):
        limit.filter(record("image %s is damaged", number))
    hands.now += WINDOW_S
    after = record("image %s is damaged", "x")
    assert limit.filter(after)
    assert after.getMessage() == "image x is damaged (5 like it were left out)"
    assert limit.left_out() == []


def test_states_are_told_apart() -> None:
    limit = Limit(Hands())
    for _ in range(BURST):
        assert limit.filter(record("line %s: %s", "top", state="fault"))
    assert not limit.filter(record("line %s: %s", "top", state="fault"))
    assert limit.filter(record("line %s: %s", "top", state="inspecting"))


def test_json_has_the_facts_and_the_traceback() -> None:
    try:
        int("no")
    except ValueError as error:
        made = record("line %s: part %d: reject", "top", 7, line="top", part=7, verdict="reject", label="Kratzer ß")
        made.exc_info = (ValueError, error, error.__traceback__)
    said = json.loads(JsonFormatter().format(made))
    assert said["message"] == "line top: part 7: reject"
    assert (said["line"], said["part"], said["verdict"], said["label"]) == ("top", 7, "reject", "Kratzer ß")
    assert said["level"] == "warning"
    assert said["exception"].startswith("Traceback")
    assert "ValueError: invalid literal" in said["exception"]


def run(config: Path, *words: str) -> list[str]:
    """The log of a whole daemon."""
    process = start(config, *words)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 0, text
    return text.splitlines()


@pytest.fixture
def config(mosquitto: Mosquitto, tmp_path: Path) -> Path:
    line = images_line(write_images(tmp_path / "frames", 25), decide={"per": "frame", "min_score": 1.0})
    return write_config(tmp_path, mosquitto.port, [line])


def test_a_daemon_logs_its_reviews_as_text(config: Path) -> None:
    lines = run(config)
    reviews = [line for line in lines if ": review " in line]
    assert len(reviews) == BURST
    assert reviews[0].startswith("INFO line line1: part 1: review ")
    assert "is below min_score 1" in reviews[0]


def test_a_daemon_logs_json_when_asked(config: Path) -> None:
    lines = [json.loads(line) for line in run(config, "--log", "json")]
    reviews = [line for line in lines if line.get("verdict") == "review"]
    assert [line["part"] for line in reviews] == list(range(1, BURST + 1))
    assert {line["line"] for line in reviews} == {"line1"}
    assert any(line.get("state") == "inspecting" for line in lines)


def test_begin_replaces_what_was_there(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        for handler in before:  # those of the tests are to live on
            root.removeHandler(handler)
        log.begin("json")
        for number in range(BURST + 3):
            logging.getLogger("x").info("again %d", number)
        for handler in root.handlers:
            for limit in handler.filters:
                assert isinstance(limit, Limit)
                limit._now_s = lambda: 1e12
        log.tell_what_was_left_out()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    said = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    assert said == [*(f"again {n}" for n in range(BURST)), f"again {BURST + 2} (the last of 3 more like it)"]

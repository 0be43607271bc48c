"""The broker is away while thousands of decisions are made; then it is back, and gets them all, and not in one rush."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos.durable import DurableSubscriber, durable_subscriber
from chaos.record import Proxy, proxy_before
from conftest import Mosquitto
from rig import endless_line, finish, images_line, start, write_config, write_images

from service.publisher import IN_FLIGHT

LINES = ("line1", "line2", "line3")
FRAMES = 698
"""In the clip, and so the decisions of a line."""
DELAY_MS = 20
RECEIVE_MAXIMUM = 20
"""mosquitto's `max_inflight_messages`, unless it is configured otherwise; it tells us with MQTT 5."""


@pytest.fixture
def subscriber(mosquitto: Mosquitto) -> Iterator[DurableSubscriber]:
    """Its broker is down."""
    subscriber = durable_subscriber(mosquitto)
    yield subscriber
    subscriber.close()


@pytest.fixture
def proxy(subscriber: DurableSubscriber, mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Proxy]:
    assert subscriber.count() == 0
    with proxy_before(mosquitto.port, tmp_path, DELAY_MS) as proxy:
        yield proxy


def clip_lines(clip: Path) -> list[dict[str, Any]]:
    return [{**endless_line(clip, name), "source": {"video": str(clip), "pace": "asap"}} for name in LINES]


def run_daemon(folder: Path, proxy: Proxy, lines: list[dict[str, Any]]) -> "subprocess.Popen[str]":
    return start(write_config(folder, proxy.port, lines, engine={"threads": 1}))


def check_backlog(proxy: Proxy, messages: list[dict[str, Any]]) -> None:
    """All of it came, late and in order; the states came first; never more was under way than is allowed."""
    for line in LINES:
        of_line = [m for m in messages if m["line"] == line][:FRAMES]
        assert [m["part"] for m in of_line] == list(range(1, FRAMES + 1))
        assert all(m["late"] for m in of_line)
    record = proxy.record()
    topics = record.topics(record.sent[0].connection)
    before = topics[: next(n for n, topic in enumerate(topics) if topic.endswith("/defects"))]
    assert {"edgecls/cell-7/status", *(f"factory/{line}/state" for line in LINES)} <= set(before)
    limit = min(IN_FLIGHT, RECEIVE_MAXIMUM)
    assert record.most_in_flight <= limit
    assert record.most_in_flight > limit // 2, "the limit was never near: this run says nothing about it"


def test_a_broker_that_was_away_for_a_whole_run(
    mosquitto: Mosquitto, subscriber: DurableSubscriber, proxy: Proxy, tmp_path: Path, clip: Path
) -> None:
    count = len(LINES) * FRAMES
    status, log = finish(run_daemon(tmp_path, proxy, clip_lines(clip)))
    assert status == 1, log
    assert f"{count} decisions were not acknowledged" in log
    mosquitto.start()
    one_more = write_images(tmp_path / "images", 1)
    status, log = finish(run_daemon(tmp_path, proxy, [images_line(one_more, name) for name in LINES]))
    assert status == 0, log
    messages = [message for _, message in subscriber.everything()]
    assert len(messages) == count + len(LINES)
    check_backlog(proxy, messages)


def test_a_broker_that_comes_while_the_daemon_is_at_work(
    mosquitto: Mosquitto, subscriber: DurableSubscriber, proxy: Proxy, tmp_path: Path, clip: Path
) -> None:
    at_work = endless_line(clip, "line4")
    at_work["source"]["pace"] = "realtime"
    daemon = run_daemon(tmp_path, proxy, [*clip_lines(clip), at_work])
    assert daemon.stderr is not None
    ended = 0
    while ended < len(LINES):
        text = daemon.stderr.readline()
        assert text, "the daemon ended"
        ended += "the source has ended" in text
    mosquitto.start()
    subscriber.wait_for(len(LINES) * FRAMES, timeout_s=120)
    daemon.send_signal(signal.SIGTERM)
    status, log = finish(daemon)
    assert status == 0, log
    messages = [message for _, message in subscriber.everything()]
    check_backlog(proxy, messages)
    working = [m for m in messages if m["line"] == "line4"]
    assert [m["part"] for m in working] == list(range(1, len(working) + 1))
    assert working[0]["late"]
    assert not working[-1]["late"]

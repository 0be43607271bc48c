"""The broker inside the daemon."""

import asyncio
import logging
import time

import pytest

from service.embedded_broker import EmbeddedBroker


async def _fails() -> None:
    raise TimeoutError("no PUBACK")


def test_what_goes_wrong_with_one_client_is_one_line(caplog: pytest.LogCaptureFixture, free_port: int) -> None:
    caplog.set_level(logging.INFO)
    broker = EmbeddedBroker(free_port)
    broker.start()
    broker._loop.call_soon_threadsafe(lambda: broker._loop.create_task(_fails()) and None)
    deadline = time.monotonic() + 10
    while "no PUBACK" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.02)
    broker.stop()
    assert "embedded broker: no PUBACK" in caplog.text
    assert "Traceback" not in caplog.text
    assert asyncio.all_tasks(broker._loop) == set()

"""Brokers and daemons die at random, and nothing is lost. What holds exactly is written in `verdict.py`.

EDGECLS_CHAOS_SEED repeats a schedule. What happens within it is up to the machine: the same seed is not the same run.
"""

import os
import random
import time
from pathlib import Path

import pytest
from chaos.storm import Plan, storm
from chaos.verdict import Verdict
from conftest import Mosquitto

SHORT = Plan(
    broker_kills=2,
    broker_stops=1,
    broker_stops_and_kills=1,
    broker_restarts=1,
    cuts=1,
    daemon_kills=2,
    decisions=300,
    longest_stop_s=1,
    longest_calm_s=3,
    longest_life_s=5,
)
LONG = Plan(
    broker_kills=22,
    broker_stops=12,
    broker_stops_and_kills=10,
    broker_restarts=10,
    cuts=8,
    daemon_kills=22,
    decisions=10_000,
    longest_stop_s=8,
    longest_calm_s=4.5,
    longest_life_s=14,
)


def run(plan: Plan, broker: Mosquitto, folder: Path, clip: Path) -> Verdict:
    seed = int(os.environ.get("EDGECLS_CHAOS_SEED", random.randrange(1_000_000)))
    print(f"\nEDGECLS_CHAOS_SEED={seed}")
    began = time.monotonic()
    with storm(broker, folder, clip) as run:
        run.rage(plan, seed)
        verdict = Verdict(run.proxy.record(), run.subscriber.everything(), run.deaths, run.lives, run.left)
    for name, count in {**run.done, **verdict.figures()}.items():
        print(f"{count:8} {name}")
    print(f"{time.monotonic() - began:8.0f} seconds")
    faults = verdict.faults
    assert not faults
    assert sum(count for name, count in run.done.items() if name.startswith("broker")) >= plan.broker_blows
    assert run.done["daemon kill"] == plan.daemon_kills
    assert verdict.decisions >= plan.decisions
    return verdict


def test_a_short_storm(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> None:
    run(SHORT, mosquitto, tmp_path, clip)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_long_storm(mosquitto: Mosquitto, tmp_path: Path, clip: Path) -> None:
    assert LONG.broker_blows >= 50
    assert LONG.daemon_kills >= 20
    verdict = run(LONG, mosquitto, tmp_path, clip)
    assert verdict.sent_again, "nothing was ever in flight when something died: the storm tests nothing"

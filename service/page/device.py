"""What the page tells of the device itself. Each look takes some files of the kernel; a disk may keep it waiting."""

import os
import shutil
import time
from pathlib import Path
from typing import Any, TypeAlias

from edge.engine import Engine
from edge.tuning import best, tuned
from service.doctor.device import memory, model
from service.doctor.power import power_mode, temperature, throttling
from service.doctor.system import System
from service.health import temperature_c
from service.page.node import Node

Look: TypeAlias = tuple[dict[str, Any], dict[Engine, dict[str, Any]]]
"""Facts of the device, and what was tuned of each engine."""

LOOK_S = 10.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def look(node: Node) -> Look:
    """Temperature, throttling, memory, disk; and what `edgecls tune` has found for the engines."""
    engines = {managed.engine for managed in node.view.lines()}
    tuning = Path(node.settings.engine.tuning)
    return _facts(Path(node.settings.outbox.path).parent), {e: found for e in engines if (found := _tuned(e, tuning))}


def _tuned(engine: Engine, tuning: Path) -> dict[str, Any] | None:
    pick = best(tuned(tuning, engine.bundle), engine.plan.hint)
    if pick is None:
        return None
    return {"plan": str(pick.plan), "p50_ms": round(pick.p50_ms, 2), "fps": round(pick.fps, 1)}


def _facts(state_dir: Path) -> dict[str, Any]:
    system = System()
    facts: dict[str, Any] = {"model": model(system), "temperature_c": None, "slowed_down": None, "problems": []}
    for checked, key in ((temperature, "temperature"), (throttling, "throttling"), (power_mode, "power_mode")):
        for finding in checked(system):
            facts[key] = finding.text
            if finding.level in ("warning", "error"):
                facts["problems"].append(f"{finding.text}: {finding.remedy}")
            if "celsius" in finding.facts:
                facts["temperature_c"] = finding.facts["celsius"]
    if facts["temperature_c"] is None:
        facts["temperature_c"] = temperature_c()
    for finding in memory(system):
        facts["memory"] = {**finding.facts, "ours_mib": _resident_mib()}
    try:
        usage = shutil.disk_usage(state_dir)
        facts["disk"] = {"total_mib": usage.total >> 20, "free_mib": usage.free >> 20, "path": str(state_dir)}
    except OSError as error:
        facts["problems"].append(f"{state_dir} cannot be looked at: {error.strerror}")
    facts["load"] = round(os.getloadavg()[0], 2)
    facts["cores"] = len(os.sched_getaffinity(0))
    facts["up_s"] = round(time.clock_gettime(time.CLOCK_BOOTTIME))
    return facts


def _resident_mib() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES >> 20
    except (OSError, ValueError, IndexError):
        return None

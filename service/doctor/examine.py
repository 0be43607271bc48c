"""Every check in its order. A check that fails in a way that was not foreseen is a finding, too."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2

from edge.backends import BACKENDS
from service.doctor import (
    backlog,
    broker,
    bundles,
    cameras,
    clock,
    configuration,
    device,
    disks,
    engines,
    files,
    opencv,
    page,
    power,
    sources,
    unit,
)
from service.doctor.case import Case
from service.doctor.finding import Finding, error, note


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. `doing` says so while it takes its time."""

    section: str
    doing: str
    run: Callable[[], Iterable[Finding]]


def checks(case: Case) -> Iterator[Check]:
    """All that can be looked at, in the order in which it is told."""
    system, settings = case.system, case.settings
    for look in (
        device.device,
        device.memory,
        device.instructions,
        power.throttling,
        power.power_mode,
        power.temperature,
    ):
        yield Check("device", "looking at the device", partial(look, system))
    yield Check("device", "looking at the clock", lambda: clock.clock(clock.largest_error_us(), time.time()))
    yield Check("device", "looking at the disks", partial(disks.disks, case))
    for name in BACKENDS:
        yield Check("engines", f"asking {name}", partial(engines.runtime, case, name))
    yield Check("engines", "looking for a stick", partial(engines.stick, case))
    if settings:
        for path in bundles.models(settings):
            yield Check("engines", f"checking {path.name}", partial(bundles.bundle, path, settings))
    yield Check("cameras", "asking the cameras", partial(cameras.cameras, case))
    yield Check("cameras", "asking OpenCV", lambda: opencv.opencv(cv2.getBuildInformation()))
    yield Check("configuration", "reading the configuration", partial(configuration.configuration, case))
    if settings:
        yield Check("configuration", "comparing cameras", partial(cameras.names, case, settings))
        for line in settings.lines:
            yield Check("configuration", f"trying the source of {line.name}", partial(sources.source, case, line))
        yield Check("broker", "greeting the broker", partial(broker.broker, case, settings))
    else:
        yield Check("broker", "", _unknown)
    told = partial(unit.properties, system)
    yield Check("service", "asking systemd", lambda: (*unit.unit(case, told()), *unit.confinement(case, told())))
    yield Check("service", "looking at files", partial(files.files, case))
    if settings:
        yield Check("service", "looking at the page", partial(page.page, case, settings))
    yield Check("service", "looking at the outbox", partial(backlog.backlog, case))


def examine(
    case: Case, sections: Collection[str], doing: Callable[[Check, int, int], None]
) -> Iterator[tuple[Check, list[Finding]]]:
    """Run the checks of some sections, each when it is asked for.

    Args:
        case: what is examined.
        sections: which; none: all.
        doing: told before each check, with its number and how many there are.
    """
    chosen = [check for check in checks(case) if not sections or check.section in sections]
    for number, check in enumerate(chosen):
        doing(check, number, len(chosen))
        yield check, _findings(check)


def _findings(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.run())  # what it found before it failed counts
    except Exception as reason:  # noqa: BLE001  # one odd device must not hide what all the others have
        text = f"{check.doing} failed in a way that was not foreseen ({type(reason).__name__}: {reason})"
        found.append(error(check.section, text, "tell the authors, with the output of: edgecls doctor --json"))
    return found


def _unknown() -> Iterator[Finding]:
    text = "the configuration names none that could be read, so no broker was tried"
    yield note("broker", text, "mend the configuration first: edgecls doctor --section configuration")

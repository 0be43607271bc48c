"""What slows a board down: its power supply, its power mode, its temperature."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service.doctor.device import is_jetson, is_pi
from service.doctor.finding import Finding, note, ok, warning
from service.doctor.system import System
from service.health import THROTTLED, THROTTLED_BITS

_SINCE = 16
_HOT_C = 85.0
_HOT_PI_C = 80.0
"""There the firmware of a Raspberry Pi begins to slow the processor down."""


def throttling(system: System) -> Iterator[Finding]:
    """Whether a Raspberry Pi slows itself down, or has done so."""
    if not is_pi(system):
        return
    told = system.text(f"/sys/{THROTTLED}")
    if told is None:
        told = (system.output("vcgencmd", "get_throttled") or "").rpartition("=")[2]
    try:
        bits = int(told, 16)
    except ValueError:
        yield note("throttling", "the firmware does not tell whether it slows down", "sudo apt install raspi-utils")
        return
    now = [name for bit, name in THROTTLED_BITS.items() if bits >> bit & 1]
    ever = [name for bit, name in THROTTLED_BITS.items() if bits >> bit + _SINCE & 1]
    facts = {"get_throttled": f"0x{bits:x}", "now": now, "since_start": ever}
    if now:
        yield warning("throttling", f"the board slows down now: {', '.join(now)}", _remedy(now), **facts)
    elif ever:
        text = f"the board has slowed down since it was switched on: {', '.join(ever)}"
        yield warning("throttling", text, f"{_remedy(ever)}; this is forgotten at the next boot", **facts)
    else:
        yield ok("throttling", "the board has not slowed down since it was switched on", **facts)


def _remedy(names: list[str]) -> str:
    if "under-voltage" in names:
        return "use the board's own power supply and a short, thick cable, and a powered hub for USB cameras"
    return "give it a heat sink or a fan, and air"


def power_mode(system: System) -> Iterator[Finding]:
    """Which power mode a Jetson runs in."""
    if not is_jetson(system):
        return
    lines = (system.output("nvpmodel", "-q") or "").splitlines()
    modes = [line.partition(":")[2].strip() for line in lines if line.startswith("NV Power Mode")]
    if not modes:
        yield note("power mode", "nvpmodel does not tell the power mode", "sudo nvpmodel -q")
    elif modes[0].upper().startswith("MAXN"):
        yield ok("power mode", f"{modes[0]}, the fastest", mode=modes[0])
    else:
        text = f"{modes[0]}: the board is held back, which may be what its power supply and cooling need"
        yield note("power mode", text, "for all it can do: sudo nvpmodel -m 0 (grep POWER_MODEL /etc/nvpmodel.conf)")


def temperature(system: System) -> Iterator[Finding]:
    """The hottest sensor, held against where the kernel or the firmware begins to slow down."""
    usual = _HOT_PI_C if is_pi(system) else _HOT_C
    hottest: tuple[float, float, str] | None = None
    """Degrees to the limit, degrees, name."""
    for zone in sorted(system.file("/sys/class/thermal").glob("thermal_zone*")):
        with suppress(OSError, ValueError):
            here = int((zone / "temp").read_text()) / 1000
            left = min((usual, *_trips(zone))) - here
            if -50 < here < 200 and (hottest is None or left < hottest[0]):
                hottest = (left, here, (zone / "type").read_text().strip())
    if hottest is None:
        return
    left, here, name = hottest
    text = f"{here:.0f} °C ({name}), {abs(left):.0f} °C {'below' if left > 0 else 'above'} where it is slowed down"
    if left <= 0:
        yield warning("temperature", text, "give it a heat sink or a fan, and air", celsius=here, sensor=name)
    else:
        yield ok("temperature", text, celsius=here, sensor=name)


def _trips(zone: Path) -> Iterator[float]:
    """Degrees at which the kernel begins to slow the processor down."""
    for kind in zone.glob("trip_point_*_type"):
        if kind.read_text().strip() in ("passive", "hot"):
            celsius = int(kind.with_name(kind.name.replace("_type", "_temp")).read_text()) / 1000
            if celsius > 0:  # else it is switched off
                yield celsius

"""The runtimes that are installed, and the stick."""

from collections.abc import Iterator
from pathlib import Path

from edge.backends import BACKENDS, BackendName
from edge.backends.ncs2 import find_library
from edge.errors import BackendError
from service.doctor.case import Case
from service.doctor.child import AskError, ask
from service.doctor.finding import Finding, error, note, ok, sentence
from service.doctor.system import System

_TIMEOUT_S = 60.0
_INSTALL = {
    "onnxruntime": "sudo apt install --reinstall edgecls",
    "openvino": "only if it is wanted: sudo apt install edgecls-openvino",
}
_INTEL_STICKS = "03e7"
"""USB vendor of the NCS2: 03e7:2485, 03e7:f63b once it has booted."""


def runtime(case: Case, name: BackendName) -> Iterator[Finding]:
    """Whether a runtime is installed, and what it can use."""
    wanted = case.engine.backend == name or (name == "onnxruntime" and case.engine.backend == "auto")
    try:
        told = ask("service.doctor.runtime", name, timeout_s=_TIMEOUT_S)
    except AskError as reason:
        other = next(one for one in BACKENDS if one != name)
        text = f"the runtime is installed and cannot be loaded here: {reason}"
        remedy = f"set engine.backend: {other}, or install a build of it for this processor"
        yield (error if wanted else note)(name, text, remedy)
        return
    if "missing" in told:
        text = f"the runtime cannot be loaded ({told['missing']})"
        yield (error if wanted else note)(name, text, _INSTALL[name])
        return
    devices = ", ".join(told["devices"]) or "none"
    release = str(told["version"]).partition("-")[0]  # OpenVINO's goes on with the commit
    yield ok(name, f"{release}, devices: {devices}", **told)


def stick(case: Case) -> Iterator[Finding]:
    """The NCS2: plugged in, may be opened, and its OpenVINO."""
    wanted = case.engine.device == "ncs2"
    plugged = sticks(case.system)
    if not plugged and not wanted:
        return
    if not plugged:
        yield error("NCS2", "engine.device is ncs2 and no stick is plugged in", "plug it in; lsusb -d 03e7: shows it")
    elif not wanted:
        yield note("NCS2", "a stick is plugged in and not used", "set engine.device: ncs2 (docs/ncs2.md)")
    else:
        yield ok("NCS2", f"plugged in as {', '.join(plugged)}", usb=plugged)
    if case.engine.openvino_dir is None:
        return
    try:
        library = find_library(Path(case.engine.openvino_dir))
    except BackendError as reason:
        yield (error if wanted else note)("NCS2", *sentence(str(reason)))
    else:
        plugin = any(library.parent.glob("*myriad*"))
        if plugin:
            yield ok("NCS2", f"OpenVINO for it is {library}, with its plug-in", library=str(library))
        else:
            text = f"{library.parent} has no plug-in for it (*myriad*)"
            remedy = "unpack the archive of OpenVINO 2022.3.2 into engine.openvino_dir (docs/ncs2.md)"
            yield (error if wanted else note)("NCS2", text, remedy)


def sticks(system: System) -> list[str]:
    """VENDOR:PRODUCT of the sticks that are plugged in."""
    devices = system.file("/sys/bus/usb/devices").glob("*/idVendor")
    folders = [str(file.parent.relative_to(system.root)) for file in sorted(devices)]
    found = [(system.text(f"{folder}/idVendor"), system.text(f"{folder}/idProduct")) for folder in folders]
    return [f"{vendor}:{product}" for vendor, product in found if vendor == _INTEL_STICKS]

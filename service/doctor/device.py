"""What this device is: its model, processor, memory, and the instructions that INT8 needs."""

import os
import platform
from collections.abc import Iterator

from service.doctor.finding import Finding, note, ok, warning
from service.doctor.system import System

LITTLE_MIB = 256
"""A daemon with one line and a model such as ResNet-18 takes 150 MiB."""


def model(system: System) -> str:
    """The name of the device: of a board from the device tree, of a PC from its firmware; empty when nobody tells."""
    if board := system.text("/proc/device-tree/model"):
        return board
    told = (system.text(f"/sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(filter(None, told))


def is_pi(system: System) -> bool:
    """Whether it is a Raspberry Pi."""
    return model(system).startswith("Raspberry Pi")


def is_jetson(system: System) -> bool:
    """Whether it is one of NVIDIA's boards."""
    return "Jetson" in model(system) or system.file("/etc/nv_tegra_release").exists()


def device(system: System) -> Iterator[Finding]:
    """Model, processor, memory."""
    processor = _cpuinfo(system).get("model name", "")
    name = model(system) or "a computer that does not tell its model"
    cores = len(os.sched_getaffinity(0))
    text = f"{name}, {platform.machine()}{f', {processor}' if processor else ''}, {cores} cores"
    if is_pi(system) and not any(word in name for word in ("Pi 3", "Pi 4", "Pi 5", "Compute Module", "Zero 2")):
        yield note("device", f"{text}: edgecls is meant for the Raspberry Pi 3, 4 and 5", "see docs/install.md")
        return
    yield ok("device", text, model=name, processor=processor, machine=platform.machine(), cores=cores)


def memory(system: System) -> Iterator[Finding]:
    """How much there is, and how much of it is free to take."""
    found = {}
    for line in (system.text("/proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        if value.strip().endswith("kB"):
            found[key] = int(value.split()[0]) // 1024
    total, available = found.get("MemTotal"), found.get("MemAvailable")
    if total is None or available is None:
        return
    facts = {"total_mib": total, "available_mib": available}
    if available < LITTLE_MIB:
        text = f"{available} of {total} MiB are available, and a line needs about {LITTLE_MIB}"
        yield warning("memory", text, "see what takes it: ps -eo rss,comm --sort -rss | head", **facts)
    else:
        yield ok("memory", f"{available} of {total} MiB are available", **facts)


def instructions(system: System) -> Iterator[Finding]:
    """Whether the processor can multiply 8-bit numbers quickly, without which INT8 gains little or loses."""
    told = _cpuinfo(system)
    if "flags" in told:
        yield _x86(set(told["flags"].split()))
    elif "Features" in told:
        yield _arm(set(told["Features"].split()))


def _x86(flags: set[str]) -> Finding:
    there = [name for name in ("avx2", "avx_vnni", "avx512_vnni", "amx_int8") if name in flags]
    if len(there) > 1 or (there and there != ["avx2"]):
        return ok("INT8", f"the processor has what INT8 needs: {', '.join(there)}", instructions=there)
    if there:
        return note(
            "INT8",
            "the processor has avx2 and none of avx_vnni, avx512_vnni, amx_int8: INT8 gains less over FP32, and large "
            "sums are cut off, which can move scores",
            "let it be measured: edgecls tune; or set engine.precision: fp32",
            instructions=there,
        )
    return warning(
        "INT8",
        "the processor lacks avx2: INT8 is slow on it, mostly slower than FP32, and OpenVINO may not run at all",
        "set engine.precision: fp32 and engine.backend: onnxruntime, or let it be measured: edgecls tune",
        instructions=there,
    )


def _arm(features: set[str]) -> Finding:
    there = [name for name in ("asimddp", "i8mm") if name in features]
    if there:
        return ok("INT8", f"the processor has what INT8 needs: {', '.join(there)}", instructions=there)
    return note(
        "INT8",
        "the processor lacks the 8-bit dot product (asimddp), as those of the Raspberry Pi 3 and 4 do: INT8 gains "
        "little over FP32 and can lose, and OpenVINO refuses INT8",
        "let it be measured: edgecls tune; or set engine.precision: fp32",
        instructions=there,
    )


def _cpuinfo(system: System) -> dict[str, str]:
    """Of the first processor."""
    first = (system.text("/proc/cpuinfo") or "").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}

"""The service as systemd knows it."""

from collections.abc import Iterator
from pathlib import Path

from service.doctor.case import Case
from service.doctor.finding import Finding, error, note, ok, warning
from service.doctor.system import System

UNIT = "edgecls.service"
_ASKED = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainStatus",
    "UnitFileState",
    "NRestarts",
    "StatusText",
    "MainPID",
    "ProtectHome",
    "ProtectSystem",
    "ReadWritePaths",
)
_WRONG_CONFIGURATION = "78"
_HOMES = ("/home", "/root", "/run/user")
_WRITABLE = ("/var/lib/edgecls", "/var/cache/edgecls", "/run/edgecls")
"""Of the unit's own: StateDirectory, CacheDirectory, RuntimeDirectory."""


def properties(system: System) -> dict[str, str]:
    """What `systemctl show` tells of the unit; nothing where systemd does not run or has no such unit."""
    told = system.output("systemctl", "show", UNIT, *(f"--property={name}" for name in _ASKED))
    pairs = dict(line.split("=", 1) for line in (told or "").splitlines() if "=" in line)
    return pairs if pairs.get("LoadState") == "loaded" else {}


def unit(case: Case, told: dict[str, str]) -> Iterator[Finding]:
    """Whether the service runs, and starts at boot.

    Args:
        case: knows whether a daemon runs.
        told: see `properties`.
    """
    if not told:
        running = f"; a daemon runs as process {case.daemon_pid}" if case.daemon_pid is not None else ""
        yield note(UNIT, f"edgecls is not installed as a service here{running}", "sudo ./install.sh")
        return
    facts = {name: told[name] for name in _ASKED[:9] if name in told}
    state, result = told.get("ActiveState", ""), told.get("Result", "")
    if state == "failed" and told.get("ExecMainStatus") == _WRONG_CONFIGURATION:
        remedy = "edgecls check-config, then: sudo systemctl restart edgecls"
        yield error(UNIT, "it has failed: the configuration is wrong, and it is not started again", remedy, **facts)
    elif state in ("failed", "activating") and result not in ("", "success"):
        text = f"it does not stay up ({result}, exit status {told.get('ExecMainStatus', '?')})"
        yield error(UNIT, text, "journalctl -u edgecls -n 50", **facts)
    elif state == "active":
        status = told.get("StatusText", "")
        yield ok(UNIT, f"is running{f': {status}' if status else ''}", **facts)
    elif state == "activating":
        yield note(UNIT, f"is starting: {told.get('StatusText', '')}", "wait, then: systemctl status edgecls", **facts)
    else:
        yield warning(UNIT, "does not run", "sudo systemctl start edgecls", **facts)
    if told.get("NRestarts", "0") != "0":
        text = f"systemd had to start it again {told['NRestarts']} times since it was started"
        yield warning(UNIT, text, "journalctl -u edgecls -p warning", restarts=int(told["NRestarts"]))
    if told.get("UnitFileState") not in ("enabled", "enabled-runtime"):
        yield warning(UNIT, "does not start when the device boots", "sudo systemctl enable edgecls")


def confinement(case: Case, told: dict[str, str]) -> Iterator[Finding]:
    """Whether the sandbox of the unit lets the daemon reach what the configuration names."""
    settings = case.settings
    if not told or settings is None:
        return
    if told.get("ProtectHome") in ("yes", "tmpfs"):
        read = [
            settings.mqtt.password_file,
            settings.engine.openvino_dir,
            *map(str, map(settings.model_of, settings.lines)),
        ]
        read += [
            getattr(line.source, kind)
            for line in settings.lines
            for kind in ("video", "images")
            if hasattr(line.source, kind)
        ]
        for name in dict.fromkeys(filter(None, read)):
            if _is_below(name, _HOMES):
                text = f"{name} lies in a home, which the service does not see"
                yield error(UNIT, text, "move it, to /var/lib/edgecls for example; or see Sandbox in docs/operation.md")
    if told.get("ProtectSystem") == "strict":
        open_to = (*_WRITABLE, *(path.lstrip("+-") for path in told.get("ReadWritePaths", "").split()))
        folder, pictures = str(Path(settings.outbox.path).parent), str(settings.evidence_path)
        edit = "sudo systemctl edit edgecls, with [Service] and ReadWritePaths="
        if not _is_below(folder, open_to):
            yield error(UNIT, f"the service may not write to {folder}, where the outbox is to be", f"{edit}{folder}")
        if not _is_below(pictures, (*open_to, folder)) and settings.evidence.max_mib:
            text = f"the service may not write to {pictures}, where pictures of rejects are to be"
            yield warning(UNIT, text, f"{edit}{pictures}")


def _is_below(name: str, folders: tuple[str, ...]) -> bool:
    return any(Path(name).is_relative_to(folder) for folder in folders if folder.startswith("/"))

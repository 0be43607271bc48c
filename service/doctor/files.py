"""The files of the service: may its user read and write what it must, and may nobody else read what is secret?"""

import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from service.doctor.case import Case, is_missing
from service.doctor.finding import Finding, error, note, ok, warning
from service.settings import DEFAULT_PATH

USER = "edgecls"
_PROGRAM_S = 10.0


def account() -> "pwd.struct_passwd | None":
    """The user of the service; None where it is not installed."""
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def files(case: Case) -> Iterator[Finding]:
    """The configuration, the password, and the folders that are written to."""
    whose = account()
    if whose is None:
        yield note("user", f"there is no user {USER}: what follows is about the user who asks", "sudo ./install.sh")
    elif os.geteuid() != 0:
        yield note("user", f"only root can tell what the user {USER} may read and write", "sudo edgecls doctor")
        return
    who = whose.pw_name if whose else pwd.getpwuid(os.geteuid()).pw_name
    if not is_missing(case.config):
        yield from _readable("configuration", case.config, whose, who)
        if whose and case.config == DEFAULT_PATH and _mode(case.config) & stat.S_IWOTH:
            yield error("configuration", f"everybody may change {case.config}", f"sudo chmod 640 {case.config}")
    for key, name in _secrets(case):
        yield from _secret(key, Path(name), whose, who)
    yield from _writable("outbox", Path(case.outbox.path), whose, who)
    if case.evidence.max_mib:
        yield from _pictures(case.evidence_path, whose, who)
    yield from _cache(Path(case.engine.cache_dir), whose, who)


def _secrets(case: Case) -> Iterator[tuple[str, str]]:
    """(key, file) of what nobody else may read."""
    if case.settings is None:
        return
    mqtt = case.settings.mqtt
    named = [("mqtt.password_file", mqtt.password_file), ("mqtt.tls.key_file", mqtt.tls and mqtt.tls.key_file)]
    if http := case.settings.http:
        key_file = http.tls.key_file if http.tls else None
        named += [("http.password_file", http.password_file), ("http.tls.key_file", key_file)]
    named += [
        (f"{line.name} password_file", getattr(line.source, "password_file", None)) for line in case.settings.lines
    ]
    yield from ((key, name) for key, name in named if name)


def _secret(subject: str, file: Path, whose: "pwd.struct_passwd | None", who: str) -> Iterator[Finding]:
    if is_missing(file):
        owner = f"-m 640 -g {USER}" if whose else "-m 600"
        yield error(subject, f"{file} is not there", f"type it into: sudo install {owner} /dev/stdin {file}")
        return
    if _mode(file) & (stat.S_IROTH | stat.S_IWOTH):
        yield warning(subject, f"everybody on this device may read {file}", f"sudo chmod o-rwx {file}")
    yield from _readable(subject, file, whose, who)


def _readable(subject: str, file: Path, whose: "pwd.struct_passwd | None", who: str) -> Iterator[Finding]:
    if _may(whose, "-r", file):
        yield ok(subject, f"{who} may read {file}", mode=f"{_mode(file):o}")
    else:
        remedy = f"sudo chgrp {USER} {file} && sudo chmod 640 {file}" if whose else f"sudo chown {who} {file}"
        yield error(subject, f"{who} may not read {file}", remedy)


def _writable(subject: str, file: Path, whose: "pwd.struct_passwd | None", who: str) -> Iterator[Finding]:
    """A file that is made if need be, and its folder: SQLite makes files beside it."""
    folder = file.parent
    if is_missing(folder):
        if whose is None:
            yield note(subject, f"{folder} is not there yet: the daemon makes it if it may", f"mkdir -p {folder}")
        else:
            remedy = f"sudo install -d -o {USER} -g {USER} -m 750 {folder}"
            yield error(subject, f"{folder} is not there", remedy)
    elif not _may(whose, "-w", folder):
        yield error(subject, f"{who} may not write to {folder}", f"sudo chown {who}: {folder}")
    elif not is_missing(file) and not _may(whose, "-w", file):
        yield error(subject, f"{who} may not write to {file}", f"sudo chown {who}: {file}*")
    else:
        yield ok(subject, f"{who} may write to {folder}")


def _pictures(folder: Path, whose: "pwd.struct_passwd | None", who: str) -> Iterator[Finding]:
    """A folder that the daemon makes if it may; without it there are decisions all the same."""
    there = folder
    while is_missing(there) and there != there.parent:
        there = there.parent
    if there.is_dir() and _may(whose, "-w", there):
        yield ok("evidence", f"{who} may write to {folder}" if there == folder else f"{who} may make {folder}")
    else:
        text = f"{who} cannot write to {folder}: no pictures of rejects are kept"
        yield warning("evidence", text, f"sudo install -d -o {who} -m 750 {folder}; or set evidence.path")


def _cache(folder: Path, whose: "pwd.struct_passwd | None", who: str) -> Iterator[Finding]:
    if not is_missing(folder) and _may(whose, "-w", folder):
        yield ok("cache", f"{who} may write to {folder}")
    else:
        text = f"{who} cannot write to {folder}: models are compiled again at each start"
        yield note("cache", text, f"sudo install -d -o {who} -m 750 {folder}; or set engine.cache_dir")


def _may(whose: "pwd.struct_passwd | None", how: str, path: Path) -> bool:
    """Whether a user may, asked of the kernel as that user; None: the one who asks."""
    if whose is None:
        return os.access(path, os.R_OK if how == "-r" else os.W_OK)
    groups = os.getgrouplist(whose.pw_name, whose.pw_gid)
    done = subprocess.run(  # noqa: S603  # a program of the system
        ["/usr/bin/test", how, str(path)],
        check=False,
        user=whose.pw_uid,
        group=whose.pw_gid,
        extra_groups=groups,
        timeout=_PROGRAM_S,
        cwd="/",
    )
    return done.returncode == 0


def _mode(file: Path) -> int:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return 0

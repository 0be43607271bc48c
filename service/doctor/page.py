"""The status page: can it be served where the configuration says, does it answer, is its certificate valid?"""

import errno
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from service.doctor.case import Case
from service.doctor.certificates import NoCertificateError, days_left
from service.doctor.finding import Finding, error, note, ok, warning
from service.http_section import HttpSection, address_of, is_loopback
from service.sections import Settings

_SOON_DAYS = 30.0
_PATIENCE_S = 5.0


def page(case: Case, settings: Settings) -> Iterator[Finding]:
    """Nothing, when the configuration asks for none."""
    section = settings.http
    if section is None:
        return
    if section.tls is not None:
        yield from _certificate(Path(section.tls.cert_file))
    elif not is_loopback(section.listen):
        text = "the password and the pictures cross the network unencrypted"
        yield warning("page", text, "set http.tls: {cert_file: …, key_file: …}")
    yield from _asked(section) if case.daemon_pid is not None else _tried(section)


def _tried(section: HttpSection) -> Iterator[Finding]:
    """Nobody serves it now: could the daemon?"""
    host, port = address_of(section.listen)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as reason:
        yield error("page", *_not_there(reason, section.listen, port))
    else:
        yield ok("page", f"{section.listen} is free for it", listen=section.listen)


def _not_there(reason: OSError, listen: str, port: int) -> tuple[str, str]:
    if reason.errno == errno.EADDRINUSE:
        return f"another program listens on {listen}", f"sudo ss -ltnp 'sport = :{port}' names it; or set http.listen"
    if reason.errno == errno.EADDRNOTAVAIL:
        return f"this device has no address such as in {listen}", "ip -br address; 0.0.0.0 means all of them"
    if reason.errno == errno.EACCES:
        return f"{listen} is for root alone", "set http.listen to a port from 1024, such as 8080"
    return f"it cannot be served on {listen} ({os.strerror(reason.errno or 0)})", "correct http.listen"


def _asked(section: HttpSection) -> Iterator[Finding]:
    """The daemon runs: does its page answer, and is the daemon well?"""
    host, port = address_of(section.listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens, not we
    begun = time.monotonic()
    try:
        status, said = _get(section, host, port, "/healthz")
    except (OSError, http.client.HTTPException) as reason:
        text = f"the daemon runs, and nothing answers on {section.listen} ({reason or type(reason).__name__})"
        remedy = "systemctl restart edgecls, if http has changed since its start; or see journalctl -u edgecls"
        yield error("page", text, remedy)
        return
    ms = (time.monotonic() - begun) * 1000
    facts = {"listen": section.listen, "status": status, "answer_ms": round(ms, 1)}
    if status == http.client.OK:
        yield ok("page", f"{section.listen} answers after {ms:.0f} ms", **facts)
    else:
        yield note("page", f"{section.listen} answers {status}: {said}", "systemctl status edgecls", **facts)


def _get(section: HttpSection, host: str, port: int, path: str) -> tuple[int, str]:
    if section.tls is None:
        connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    else:
        # It is our own, asked by address: that it answers is what counts.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode("utf-8", "replace").strip()
    finally:
        connection.close()


def _certificate(file: Path) -> Iterator[Finding]:
    try:
        days = days_left(file, time.time())
    except NoCertificateError as reason:
        yield error("page certificate", f"{file}: {reason}", "correct http.tls.cert_file")
        return
    text = f"{file} is valid for {days:.0f} days"
    if days < 0:
        yield error("page certificate", f"{file} expired {-days:.0f} days ago", "have it renewed", days=round(days, 1))
    elif days < _SOON_DAYS:
        yield warning("page certificate", text, "have it renewed", days=round(days, 1))
    else:
        yield ok("page certificate", text, days=round(days, 1))

"""Who may see the page and who may change something: asked of every request before it is looked at.

- Host: a page that listens on the loopback interface answers to the names of that alone. Else any site that somebody on
  this device visits could have its own name lead here and read along (DNS rebinding).
- the password, when there is one; HTTP's basic authentication.
- Origin: what changes something comes from the page itself, and not from another site's.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edge.errors import PermanentError
from service.http_section import HttpSection, is_loopback
from service.page.door import Door
from service.page.refusals import Refusals

MISTAKES, FORGET_S = 10, 60.0
"""So many wrong passwords of an address in so many seconds: then it has to wait as long, with the right one too."""
ADDRESSES = 1024
"""That are remembered; above it the oldest is forgotten."""
WRONG = "Wrong password"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """To every answer: a signal of aiohttp."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "edgecls"  # in place of the versions of what it is made with


class Mistakes:
    """Wrong passwords, by address."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._of: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How many, and when the first of them."""

    def waits_s(self, remote: str) -> float:
        """For how long an address has to wait; 0 when it need not."""
        count, first_s = self._of.get(_network(remote), (0, 0.0))
        left_s = first_s + FORGET_S - self._now_s()
        return left_s if count >= MISTAKES and left_s > 0 else 0.0

    def note(self, remote: str) -> None:
        """A wrong one."""
        key = _network(remote)
        count, first_s = self._of.pop(key, (0, 0.0))
        if count == 0 or self._now_s() > first_s + FORGET_S:
            count, first_s = 0, self._now_s()
        count += 1
        self._of[key] = (count, self._now_s() if count >= MISTAKES else first_s)
        if len(self._of) > ADDRESSES:
            self._of.popitem(last=False)


def _network(remote: str) -> str:
    """An address, of IPv6 the network of one customer: who has one has all of it."""
    try:
        address = ipaddress.ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    return remote if address.version == 4 else str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


class Guard:
    """Stands before all that is answered.

    Args:
        section: what the configuration says.
        node: named where a browser asks for the password.
        refusals: takes note.

    Raises:
        PermanentError: the password file cannot be used.
    """

    def __init__(self, section: HttpSection, node: str, refusals: Refusals) -> None:
        self._local = is_loopback(section.listen)
        self._scheme = "https" if section.tls else "http"
        self._login = _login(section)
        self._node = node
        self._refusals = refusals
        self._mistakes = Mistakes()

    def middleware(self, door: Callable[[], Door]) -> Middleware:
        """For aiohttp."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            door().begins(request)
            try:
                self._admit(request)
                return await handler(request)
            except web.HTTPException as refusal:
                if what := _what(refusal):
                    self._refusals.note(request.remote, what)
                raise
            finally:
                door().ends(request)

        return guarded

    def _admit(self, request: web.Request) -> None:
        if self._local and not _names_this_device(request.host):
            raise web.HTTPMisdirectedRequest(text="This page answers to localhost alone.\n")
        self._check_password(request)
        if (
            request.method not in ("GET", "HEAD")
            and request.headers.get("Origin") != f"{self._scheme}://{request.host}"
        ):
            raise web.HTTPForbidden(text="What changes something has to come from the page itself.\n")

    def _check_password(self, request: web.Request) -> None:
        if self._login is None:
            return
        remote = request.remote or ""
        if waits_s := self._mistakes.waits_s(remote):
            headers = {"Retry-After": str(int(waits_s) + 1)}
            raise web.HTTPTooManyRequests(text="Too many wrong passwords: wait a minute.\n", headers=headers)
        given = _given(request.headers.get("Authorization", ""))
        if given is not None and hmac.compare_digest(_digest(given), self._login):
            return
        if given is not None:
            self._mistakes.note(remote)
        asks = {"WWW-Authenticate": f'Basic realm="edgecls {self._node}", charset="UTF-8"'}
        reason = WRONG if given is not None else None
        raise web.HTTPUnauthorized(text="This page needs a user name and a password.\n", headers=asks, reason=reason)


def _login(section: HttpSection) -> bytes | None:
    if section.password_file is None:
        return None
    path = Path(section.password_file)
    try:
        password = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise PermanentError(f"http.password_file {path} cannot be read: {error.strerror}") from error
    if not password:
        raise PermanentError(f"http.password_file {path} is empty: write the password into it")
    return _digest(section.username.encode() + b":" + password)


def _given(header: str) -> bytes | None:
    """User and password with a colon between, None without any."""
    kind, _, coded = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(coded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _digest(login: bytes) -> bytes:
    """Of the same length whatever is given, so that the time to compare tells nothing."""
    return hashlib.sha256(login).digest()


def _names_this_device(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


_WHATS = {
    400: "a request that is not understood",
    401: "a wrong password",
    403: "a change asked for by another site",
    404: "a path that there is not",
    405: "a method that there is not",
    408: "to wait for a request that does not come to its end",
    413: "a request that is too large",
    415: "a request that is not understood",
    421: "a request for another host",
    422: "a label that there is not",
    429: "a password, after too many wrong ones",
}


def _what(refusal: web.HTTPException) -> str:
    """What was refused, empty when nothing is wrong: a browser asks for the password by asking without it first."""
    if refusal.status == 401 and refusal.reason != WRONG:
        return ""
    return _WHATS.get(refusal.status, "")

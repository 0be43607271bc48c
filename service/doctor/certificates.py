"""How long a certificate is valid, read from its DER (RFC 5280, 4.1): Python's ssl tells it of a peer alone."""

import calendar
import ssl
import time
from pathlib import Path

_SEQUENCE, _CONTEXT_0, _UTC_TIME = 0x30, 0xA0, 0x17


class NoCertificateError(Exception):
    """There is none in the file, or it cannot be read."""


def days_left(pem: Path, now_s: float) -> float:
    """Days until the first certificate of a file expires; negative afterwards.

    Raises:
        NoCertificateError: there is none.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = pem.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise NoCertificateError(str(error.strerror)) from error
    try:
        first = text[text.index(begin) : text.index(end) + len(end)]
        return (_not_after(ssl.PEM_cert_to_DER_cert(first)) - now_s) / 86400
    except (ValueError, IndexError) as error:
        raise NoCertificateError("there is no certificate in it") from error


def _not_after(der: bytes) -> float:
    """Seconds since 1970."""
    (certificate,) = (body for tag, body in _parts(der) if tag == _SEQUENCE)
    _, signed = _parts(certificate)[0]
    fields = _parts(signed)
    if fields[0][0] == _CONTEXT_0:  # the version, which the oldest leave out
        fields = fields[1:]
    _, validity = fields[3]  # after serial number, algorithm and issuer
    tag, written = _parts(validity)[1]
    digits = written.decode("ascii")
    if tag == _UTC_TIME:  # two digits of the year: up to 49 they are of this century
        digits = ("20" if digits[:2] < "50" else "19") + digits
    return float(calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%SZ")))


def _parts(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of the values that follow each other."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(der[at : at + count], "big"), at + count
        found.append((tag, der[at : at + length]))
        at += length
    return found

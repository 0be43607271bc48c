"""The broker: is its name known, is it there, is its certificate valid, does it let us in, and how far away is it?"""

import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import EdgeError
from service.doctor.case import Case
from service.doctor.certificates import NoCertificateError, days_left
from service.doctor.finding import Finding, error, note, ok, sentence, warning
from service.doctor.greeting import Welcome, greet
from service.mqtt_login import where_is, why_unreachable
from service.sections import MqttSection, Settings

_SOON_DAYS = 30.0
_FAR_MS = 500.0
_AWAY = {
    errno.ECONNREFUSED: (
        "nothing listens on that port",
        "start the broker (systemctl status mosquitto), or correct mqtt.host and mqtt.port",
    ),
    errno.ENETUNREACH: ("there is no way to its network", "see ip route, and plug the network in"),
    errno.EHOSTUNREACH: ("there is no way to it", "see ip route, and whether the broker's machine is on"),
}


def broker(case: Case, settings: Settings) -> Iterator[Finding]:
    """One connection to it, from its name to an answer."""
    mqtt = settings.mqtt
    subject = f"broker {where_is(mqtt)}"
    if mqtt.host == "embedded" and case.daemon_pid is None:
        yield note(subject, "it runs inside the daemon, which does not run now", "edgecls run")
        return
    if mqtt.username is not None and not mqtt.tls and mqtt.host not in ("127.0.0.1", "::1", "localhost"):
        text = "user name and password cross the network unencrypted"
        yield warning(subject, text, "set mqtt.tls: {ca_file: …} and let the broker listen with TLS")
    yield from _own_certificates(mqtt)
    password = mqtt.password_file
    if password is not None and Path(password).exists() and not os.access(password, os.R_OK):
        yield note(subject, f"was not tried: this user may not read {password}", "sudo edgecls doctor --section broker")
        return
    topics = [f"edgecls/{settings.node}/status"]
    topics += [f"{line.topic}/trigger" for line in settings.lines if line.decide.per == "trigger"]
    try:
        welcome = greet(mqtt, topics)
    except EdgeError as reason:
        yield error(subject, *_about(subject, *sentence(str(reason))))
    except (OSError, UnicodeError) as reason:
        yield error(subject, *_about(subject, *_unreachable(reason, mqtt)))
    else:
        yield from _welcomed(subject, welcome, topics)


def _about(subject: str, text: str, remedy: str) -> tuple[str, str]:
    """The sentence without its subject, where it begins with it."""
    return text.removeprefix(f"{subject} "), remedy


def _welcomed(subject: str, welcome: Welcome, topics: list[str]) -> Iterator[Finding]:
    facts = {
        "mqtt": welcome.version,
        "connect_ms": welcome.connect_ms,
        "round_trip_ms": welcome.round_trip_ms,
        "limits": welcome.limits,
    }
    text = f"lets us in with MQTT {welcome.version}, after {welcome.connect_ms:.0f} ms"
    if welcome.round_trip_ms is None:
        yield warning(subject, f"{text}, but answers no SUBSCRIBE", "see the broker's log", **facts)
    elif welcome.round_trip_ms > _FAR_MS:
        text += f"; an answer takes {welcome.round_trip_ms:.0f} ms"
        yield warning(subject, text, "see the way to it: ping and mtr to mqtt.host", **facts)
    else:
        yield ok(subject, f"{text}; an answer takes {welcome.round_trip_ms:.1f} ms", **facts)
    if welcome.certificate_ends_s is not None:
        left = (welcome.certificate_ends_s - time.time()) / 86400
        yield _expires(subject, "its certificate", left, "renew it on the broker")
    for topic in topics[1:]:
        if topic in welcome.refused:
            text = f"does not let us read {topic} ({welcome.refused[topic]}): no trigger arrives"
            yield error(subject, text, "allow it in the broker's access rules", topic=topic)


def _unreachable(reason: Exception, mqtt: MqttSection) -> tuple[str, str]:
    if isinstance(reason, ssl.SSLError | socket.gaierror | UnicodeError):
        return sentence(why_unreachable(reason, mqtt))
    if isinstance(reason, TimeoutError):
        remedy = "see whether its machine is on and which firewall is in between: ping and mtr to mqtt.host"
        return "does not answer at all: the attempt timed out", remedy
    if isinstance(reason, OSError) and reason.errno in _AWAY:
        wrong, remedy = _AWAY[reason.errno]
        return f"cannot be reached: {wrong}", remedy
    wrong, _ = sentence(why_unreachable(reason, mqtt))
    return wrong, "correct mqtt.host and mqtt.port, and see the broker's log"


def _own_certificates(mqtt: MqttSection) -> Iterator[Finding]:
    """Those in our files; what cannot be read at all is told by the connection."""
    for key, renewal in (("ca_file", "ask who runs the broker for the new one"), ("cert_file", "have it renewed")):
        file = getattr(mqtt.tls, key, None)
        if file is None:
            continue
        try:
            left = days_left(Path(file), time.time())
        except NoCertificateError as reason:
            yield error(f"mqtt.tls.{key}", f"{file} cannot be used: {reason}", f"correct mqtt.tls.{key}")
        else:
            yield _expires(f"mqtt.tls.{key}", file, left, renewal)


def _expires(subject: str, what: str, days: float, remedy: str) -> Finding:
    if days < 0:
        return error(subject, f"{what} has expired {-days:.0f} days ago", remedy, days_left=round(days, 1))
    if days < _SOON_DAYS:
        return warning(subject, f"{what} expires in {days:.0f} days", remedy, days_left=round(days, 1))
    return ok(subject, f"{what} is valid for {days:.0f} days more", days_left=round(days, 1))

"""Getting into a broker: password and certificates, and one clear sentence about what is in the way."""

import socket
import ssl
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import PermanentError
from service.mqtt_client import OversizedError
from service.sections import MqttSection
from service.yaml_lines import shown

UNSUPPORTED_PROTOCOL = 0x84
SESSION_TAKEN_OVER = 0x8E
REDIRECTS = (0x9C, 0x9D)

_KEPT = "decisions are kept in the outbox, trying again"
_LOGIN = "check mqtt.username and mqtt.password_file"
_REMEDIES = {
    0x85: "the broker does not allow our client identifier, edgecls- and the node: allow it, or change node",
    0x86: _LOGIN,
    0x87: f"{_LOGIN}, and the broker's access rules",
    0x88: _KEPT,
    0x89: _KEPT,
    0x8A: "the broker has banned this device: allow it there",
    0x8C: _LOGIN,
    0x90: "the broker does not allow our last will on edgecls/NODE/status: allow the topic, or change node",
    0x9A: "edgecls needs retained messages: allow them on the broker",
    0x9B: "edgecls needs QoS 1: allow it on the broker",
    0x9F: _KEPT,
}
_ENDS = {"Keep alive timeout": "no answer to our pings", "Unspecified error": "connection closed"}


class MqttError(PermanentError):
    """The connection can never work as configured: a certificate or password file that cannot be read."""


def log_in(client: paho.Client, settings: MqttSection) -> None:
    """Give a client its password and certificates, which are read anew so that they can be renewed at any time.

    Raises:
        MqttError: a file cannot be read.
    """
    if settings.username is not None:
        client.username_pw_set(settings.username, _password(settings))
    if settings.tls is None:
        return
    try:
        client.tls_set(
            ca_certs=settings.tls.ca_file,
            certfile=settings.tls.cert_file,
            keyfile=settings.tls.key_file,
            # Without it OpenSSL asks on the terminal for the password of a key that has one.
            keyfile_password="",
            cert_reqs=ssl.CERT_REQUIRED,
        )
    except (OSError, ValueError) as error:
        raise MqttError(
            f"the certificates of mqtt.tls cannot be used ({error}): check ca_file, cert_file and key_file; "
            "a key must have no password"
        ) from error


def _password(settings: MqttSection) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MqttError(
            f"mqtt.password_file {settings.password_file} cannot be read ({error}): "
            "check the path and that this user may read it"
        ) from error


def where_is(settings: MqttSection) -> str:
    """The broker as people write it."""
    return f"{settings.host}:{settings.port_or_default}"


def why_unreachable(error: Exception, settings: MqttSection) -> str:
    """What stands between us and a broker that has not been greeted yet."""
    where = where_is(settings)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_distrusted(error, where)
    if isinstance(error, ssl.SSLError) or (settings.tls and isinstance(error, ConnectionResetError | BrokenPipeError)):
        return _why_no_tls(error, settings)
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"nobody knows where broker {where} is ({error}): check mqtt.host and this device's name service"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return f"broker {where} does not answer ({reason}): {_KEPT}"


def _why_distrusted(error: ssl.SSLCertVerificationError, where: str) -> str:
    what = f"the certificate of broker {where}"
    match error.verify_code:
        case 9:
            return f"{what} is not valid yet: check this device's clock, then the certificate"
        case 10:
            return f"{what} has expired: renew it on the broker, and check this device's clock"
        case 62 | 64:
            return (
                f"{what} is for another name ({error.verify_message}): set mqtt.host to a name that stands in the "
                "certificate, or have one issued for this name"
            )
    return (
        f"{what} is not trusted ({error.verify_message}): set mqtt.tls.ca_file to the certificate of the authority "
        "that has issued it"
    )


def _why_no_tls(error: Exception, settings: MqttSection) -> str:
    where = where_is(settings)
    reason = str(getattr(error, "reason", None) or error).lower().replace("_", " ")
    if "alert" not in reason:
        return f"broker {where} does not speak TLS ({reason}): check that mqtt.port is its port for TLS, usually 8883"
    if settings.tls and settings.tls.cert_file:
        return (
            f"broker {where} refuses our certificate ({reason}): check that mqtt.tls.cert_file is still valid and that "
            "the broker trusts the authority that has issued it"
        )
    return f"broker {where} ends the TLS handshake ({reason}): if it wants a certificate, set mqtt.tls.cert_file"


def why_refused(reason: ReasonCode, properties: Properties | None, settings: MqttSection) -> str:
    """What a CONNACK says that is no welcome."""
    if reason.value in REDIRECTS:
        return _redirected(properties, settings)
    remedy = _REMEDIES.get(reason.value, "see the broker's log")
    return f"broker {where_is(settings)} refuses us: {reason}: {remedy}"


def why_unanswered(failure: OSError | None, reason: ReasonCode | None, settings: MqttSection) -> str:
    """Why a connection ended before there was any CONNACK."""
    where = where_is(settings)
    if isinstance(failure, ssl.SSLError):
        return why_unreachable(failure, settings)
    if isinstance(failure, OversizedError) or (reason is not None and reason.getName() == "Protocol error"):
        return f"what answers at {where} does not speak MQTT 5 or 3.1.1: check mqtt.host and mqtt.port"
    if reason is not None and reason.getName() == "Keep alive timeout":
        return f"broker {where} takes the connection and says nothing: check that mqtt.port is that of an MQTT broker"
    if settings.tls is None:
        return f"broker {where} hangs up on us: see its log, and if it wants TLS set mqtt.tls"
    # A TLS alert says more, but it does not always arrive before the connection is reset.
    if settings.tls.cert_file is None:
        return f"broker {where} hangs up on us: see its log; if it wants a certificate, set mqtt.tls.cert_file"
    return f"broker {where} hangs up on us: see its log, and check that it trusts mqtt.tls.cert_file"


def why_lost(
    failure: OSError | None, reason: ReasonCode | None, properties: Properties | None, settings: MqttSection, node: str
) -> str:
    """Why a connection that once worked ended."""
    where = where_is(settings)
    if isinstance(failure, OversizedError):
        return (
            f"broker {where} sends {failure}: the connection is dropped; find out who publishes that, and let only "
            "those publish to us who should"
        )
    if reason is not None and reason.value == SESSION_TAKEN_OVER:
        return (
            f"another edgecls with node {node} is connected to broker {where}: give each device its own node; "
            f"{_KEPT} later"
        )
    if reason is not None and reason.value in REDIRECTS:
        return _redirected(properties, settings)
    said = "connection closed" if reason is None else _ENDS.get(str(reason), str(reason))
    return f"lost broker {where} ({said}): {_KEPT}"


def _redirected(properties: Properties | None, settings: MqttSection) -> str:
    to = getattr(properties, "ServerReference", None)
    remedy = f"set mqtt.host to {shown(to)}" if to else "ask who runs it where it is now, and set mqtt.host"
    return f"broker {where_is(settings)} sends us to another one: {remedy}"

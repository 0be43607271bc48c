"""`http` of the configuration: where the status page is served, and who may see it."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from service.section import FileName, Section
from service.yaml_lines import shown

_LISTEN = re.compile(r"(?P<host>[0-9.]+|localhost|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


def address_of(listen: str) -> tuple[str, int]:
    """Host, an address without brackets, and port.

    Raises:
        ValueError: it is none.
    """
    match = _LISTEN.fullmatch(listen)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise ValueError
    host = "127.0.0.1" if match["host"] == "localhost" else match["host"].strip("[]")
    return str(ipaddress.ip_address(host)), int(match["port"])


def is_loopback(listen: str) -> bool:
    """Whether only programs on this device can get there.

    Raises:
        ValueError: it is no address.
    """
    return ipaddress.ip_address(address_of(listen)[0]).is_loopback


def _listen(listen: str) -> str:
    try:
        address_of(listen)
    except ValueError:
        text = f"must be an address and a port such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, not {shown(listen)}"
        raise ValueError(text) from None
    return listen


def _time_of_day(text: str) -> str:
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        return text
    raise ValueError(f"must be a time of day such as 06:00, not {shown(text)}")


def _username(name: str) -> str:
    if ":" in name:
        raise ValueError(f"must not hold a colon, which ends a user name, not {shown(name)}")
    return name


class HttpTlsSection(Section):
    """`http.tls`: the page comes encrypted."""

    cert_file: FileName
    key_file: FileName


class HttpSection(Section):
    """`http`: the status page. Without it there is none."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8080"
    username: Annotated[str, Field(min_length=1), AfterValidator(_username)] = "edgecls"
    password_file: FileName | None = None
    tls: HttpTlsSection | None = None
    shifts: Annotated[list[Annotated[str, AfterValidator(_time_of_day)]], Field(min_length=1)] = Field(
        default_factory=lambda: ["06:00", "14:00", "22:00"]
    )

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        listen = given.get("listen", cls.model_fields["listen"].default)
        try:
            loopback = is_loopback(listen)
        except (TypeError, ValueError):
            return  # that is said already
        if "password_file" in given:
            return
        if not loopback:
            text = f"{listen} can be reached from the network; add a password_file, or listen on 127.0.0.1"
            yield "listen", text
        if "username" in given:
            yield "username", "needs a password_file beside it; add one"

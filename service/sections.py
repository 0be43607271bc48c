"""What `/etc/edgecls.yaml` may say: one frozen model per section, units in the names, strict types."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
)

from edge.area import Area
from edge.backends.plan import BACKEND_OF, BackendName, Device, Hint, Optimisation
from edge.bundle import Precision
from edge.decision import Per, PresenceBy
from edge.trust import WhileBlind
from service.http_section import HttpSection
from service.section import FileName, Section, UpTo65535
from service.source_sections import SourceSection
from service.yaml_lines import shown


def _bundle(path: str, info: ValidationInfo) -> str:
    """What is in the bundle is checked when the engine is made."""
    try:
        if info.context:
            (Path(path) / "model.json").stat()
    except OSError as error:
        raise ValueError(f"{path!r} is no model bundle (model.json: {error.strerror}); name a bundle") from error
    return path


def _topic(topic: str) -> str:
    if re.fullmatch(r"(?!\$)[^/+#\x00-\x1f\x7f]+(/[^/+#\x00-\x1f\x7f]+)*", topic) and len(topic.encode()) <= 60_000:
        return topic
    raise ValueError(
        f"{shown(topic)} cannot be published to; allowed are words separated by single slashes, such as "
        "factory/line1, without + and # and without $ at the start, at most 60000 bytes"
    )


def _word(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        return name
    raise ValueError(f"{shown(name)} is not a name; give up to 63 letters, digits and . - _, a letter or digit first")


def _threads(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 64):
        return value
    raise ValueError(f"must be auto or a whole number from 1 to 64, not {shown(value)}")


def _switch(value: Any) -> Any:
    if value == "auto" or type(value) is bool:
        return value
    raise ValueError(f"must be auto, true or false, not {shown(value)}")


def _host(host: str) -> str:
    label, digits = r"[A-Za-z0-9_-]{1,63}", "[0-9A-Fa-f.]*"
    if re.fullmatch(rf"{label}(\.{label})*|{digits}:({digits}:)+{digits}(%{label})?", host):
        return host
    # The value is not repeated: people put passwords into addresses.
    raise ValueError("must be a host name or an address alone; port, username and tls have keys of their own")


def _roi(value: Any) -> Any:
    numbers = value if isinstance(value, list) and len(value) == 4 else [None]
    if all(type(n) is int and low <= n <= 65535 for n, low in zip(numbers, (0, 0, 1, 1), strict=False)):
        return value
    raise ValueError("must be [x, y, width, height] in pixels, whole numbers up to 65535, width and height from 1")


BundleName = Annotated[FileName, AfterValidator(_bundle)]
Name = Annotated[str, AfterValidator(_word)]


class TlsSection(Section):
    """`mqtt.tls`: whom to trust, and for mutual TLS who we are."""

    ca_file: FileName | None = None
    cert_file: FileName | None = None
    key_file: FileName | None = None

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
            if key in given and other not in given:
                yield key, f"needs a {other} beside it; give both or neither"


class MqttSection(Section):
    """`mqtt`: the broker. `host: embedded` starts one inside the daemon, for trying things out."""

    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: UpTo65535 | None = None
    username: Annotated[str, Field(min_length=1)] | None = None
    password_file: FileName | None = None
    tls: TlsSection | None = None

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if given.get("host") == "embedded":
            for key in ("username", "password_file", "tls"):
                if key in given:
                    yield key, "is not for `host: embedded`; remove it or name a real broker"
        elif "password_file" in given and "username" not in given:
            yield "password_file", "needs a username beside it; add one"

    @property
    def port_or_default(self) -> int:
        """The port given, else 8883 with TLS and 1883 without."""
        return self.port or (8883 if self.tls else 1883)


class OutboxSection(Section):
    """`outbox`: where decisions wait until the broker has acknowledged them."""

    path: FileName = "/var/lib/edgecls/outbox.db"
    max_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 64


def _none_or_some(mib: int) -> int:
    if mib in range(1, LEAST_EVIDENCE_MIB):
        raise ValueError(f"must be at least {LEAST_EVIDENCE_MIB}, or 0, which keeps no pictures, not {mib}")
    return mib


LEAST_EVIDENCE_MIB = 4
"""Room for a few pictures of any camera."""


class EvidenceSection(Section):
    """`evidence`: pictures of rejects and reviews."""

    path: FileName | None = None
    max_mib: Annotated[int, Field(ge=0, le=1_048_576), AfterValidator(_none_or_some)] = 64
    max_writes_per_hour: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    publish: bool = False


class EngineSection(Section):
    """`engine`: how to run the model."""

    backend: Literal["auto", BackendName] = "auto"
    device: Literal["auto", Device] = "auto"
    precision: Literal["auto", Precision] = "auto"
    threads: Annotated[int | Literal["auto"], BeforeValidator(_threads)] = "auto"
    streams: Annotated[int | Literal["auto"], BeforeValidator(_threads)] = "auto"
    spinning: Annotated[bool | Literal["auto"], BeforeValidator(_switch)] = "auto"
    optimisation: Literal["auto", Optimisation] = "auto"
    hint: Literal["auto", Hint] = "auto"
    pinning: Annotated[bool | Literal["auto"], BeforeValidator(_switch)] = "auto"
    fall_back_to_cpu: bool = False
    cache_dir: FileName = "/var/cache/edgecls"
    tuning: FileName = "/var/lib/edgecls/tuning.json"
    openvino_dir: FileName | None = None

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        device, backend = given.get("device", "auto"), given.get("backend", "auto")
        able = BACKEND_OF.get(device, ())
        if backend in get_args(BackendName) and able and backend not in able:
            yield "device", f"{device} is driven by {' or '.join(able)}, not by {backend}; change one of the two"
        if device == "ncs2" and "openvino_dir" not in given:
            yield "device", "ncs2 needs openvino_dir, the folder of an OpenVINO 2022.3.2 (docs/ncs2.md)"


class VotesSection(Section):
    """`decide.votes`: `need` of the last `of` frames must agree."""

    of: Annotated[int, Field(ge=1, le=1000)] = 5
    need: Annotated[int, Field(ge=1, le=1000)] = 3

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        need, of = (given.get(key, cls.model_fields[key].default) for key in ("need", "of"))
        if type(need) is int and type(of) is int and need > of:
            key = "need" if "need" in given else "of"
            yield key, f"need is {need} and cannot be more than of, which is {of}; change one of them"


class DwellSection(Section):
    """`decide.dwell`: how long a part is in view."""

    min_frames: Annotated[int, Field(ge=1, le=1000)] = 3
    max_s: Annotated[float, Field(ge=0.1, le=86400)] = 60.0


def _area(value: Any) -> Any:
    try:
        Area.parse(value)
    except ValueError as error:
        raise ValueError(f"{error}, not {shown(value)}") from error
    return value


Score = Annotated[float, Field(ge=0, le=1)]


class DecideSection(Section):
    """`decide`: when there is a decision and what it takes."""

    per: Per = "part"
    min_score: Score = 0.6
    thresholds: dict[str, Score] = Field(default_factory=dict)
    min_area: dict[str, Annotated[Any, AfterValidator(_area)]] = Field(default_factory=dict)
    votes: VotesSection = VotesSection()
    presence: PresenceBy = "auto"
    dwell: DwellSection = DwellSection()
    cooldown_s: Annotated[float, Field(ge=0, le=3600)] = 0.0
    timeout_s: Annotated[float, Field(ge=0.01, le=3600)] = 1.0

    @classmethod
    def across(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        per = given.get("per", "part")
        for key, kinds in _ONLY_WITH.items():
            if key in given and per in get_args(Per) and per not in kinds:
                yield key, f"has no effect with per: {per}; it is for per: {' and '.join(kinds)}; remove it"


_ONLY_WITH: dict[str, tuple[Per, ...]] = {
    "votes": ("part", "change"),
    "presence": ("part",),
    "dwell": ("part",),
    "cooldown_s": ("part",),
    "timeout_s": ("trigger",),
}


def _threshold(low: float, high: float) -> BeforeValidator:
    def check(value: Any) -> Any:
        if value == "off" or (type(value) in {int, float} and low <= value <= high):
            return value
        raise ValueError(f"must be a number from {low:g} to {high:g}, or off, not {shown(value)}")

    return BeforeValidator(check)


OrOff = float | Literal["off"]
Seconds = Annotated[OrOff, _threshold(0.2, 3600)]
GreyLevel = Annotated[OrOff, _threshold(0, 255)]
Share = Annotated[OrOff, _threshold(0, 1)]


class TrustSection(Section):
    """`trust`: when a picture is not trusted, and what becomes of decisions then."""

    while_blind: WhileBlind = "review"
    reference: FileName | None = None
    frozen_s: Seconds = 1.5
    black: GreyLevel = 24.0
    overexposed: Share = 0.5
    focus: Share = 0.35
    moved: Share = 0.015
    covered: Share = 0.12


class LineSection(Section):
    """One of `lines`: a source, a model, a topic."""

    name: Name
    topic: Annotated[str, AfterValidator(_topic)]
    source: SourceSection
    model: BundleName | None = None
    roi: Annotated[list[int], BeforeValidator(_roi)] | None = None
    decide: DecideSection = DecideSection()
    trust: TrustSection = TrustSection()
    publish: Literal["defects", "all"] = "defects"


class Settings(Section):
    """The whole file."""

    node: Name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63] or "edgecls"
    mqtt: MqttSection = MqttSection()
    outbox: OutboxSection = OutboxSection()
    evidence: EvidenceSection = EvidenceSection()
    model: BundleName | None = None
    engine: EngineSection = EngineSection()
    http: HttpSection | None = None
    lines: Annotated[list[LineSection], Field(min_length=1)]

    def model_of(self, line: LineSection) -> Path:
        """The bundle of a line: its own, else the one for all."""
        chosen = line.model or self.model
        if chosen is None:
            raise ValueError(f"line {line.name} has no model")  # refused when the file was read
        return Path(chosen)

    @property
    def evidence_path(self) -> Path:
        """Where the pictures of rejects are: the one given, else beside the outbox."""
        return Path(self.evidence.path) if self.evidence.path else Path(self.outbox.path).parent / "evidence"


REFERENCE_DIR = "/var/lib/edgecls/reference"


def reference_of(line: LineSection) -> Path:
    """Where the reference picture of a line is, or will be."""
    return Path(line.trust.reference or f"{REFERENCE_DIR}/{line.name}.png")

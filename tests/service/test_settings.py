"""What a configuration may say, and what is said about one that is wrong: `FILE:LINE: key: what, allowed`."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from mistakes import BASE, LINE, TABLE
from mistakes_in_decide import DECIDE
from mistakes_in_evidence import EVIDENCE
from mistakes_in_http import HTTP
from mistakes_in_trust import TRUST

from service.sections import EngineSection, TlsSection, TrustSection
from service.settings import ConfigurationError, load_settings, parse_settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/model.json").write_text("{}")
    return tmp_path


def problems_of(text: str, folder: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(text, folder / "edgecls.yaml")
    return [str(problem) for problem in caught.value.problems]


MISTAKES = [*TABLE, *DECIDE, *EVIDENCE, *HTTP, *TRUST]


@pytest.mark.parametrize(("text", "messages"), MISTAKES, ids=[f"{i}-{m[0][:60]}" for i, (_, m) in enumerate(MISTAKES)])
def test_says_what_is_wrong_and_what_is_allowed(text: str, messages: list[str], folder: Path) -> None:
    found = problems_of(text, folder)
    assert found == [f"{folder}/edgecls.yaml:{message}".replace("FOLDER", str(folder)) for message in messages]


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "node: no\n",  # not false: the word that it is
        "node: 2026-11-22\n",
        "node: '7'\n",
        "mqtt: {host: '::1'}\n",
        "mqtt: {host: fe80::1%eth0}\n",
        "mqtt: {host: broker.factory.example, username: '12'}\n",
        "mqtt: {tls: {}}\n",
        "mqtt: &a {port: 1}\n",
        "    roi: &a [0, 0, 1, 1]\n  - {name: b, topic: b, source: {camera: 1}, roi: *a}\n",
        "    decide: {min_score: 1, votes: {need: 1}}\n",
        "    decide: {per: part, thresholds: {a: 1, b b: 0}, presence: label, dwell: {max_s: 1}, cooldown_s: 0.5}\n",
        "    decide: {per: trigger, thresholds: {a: 0.5}, timeout_s: 0.5}\n",
        "    decide: {per: change, votes: {need: 1}}\n",
        "http: {}\n",
        "http: {listen: localhost:8080}\n",
        "http: {listen: '[::1]:8080', shifts: [14:00, 06:00]}\n",
        "http: {listen: 0.0.0.0:443, username: me, password_file: p, tls: {cert_file: a, key_file: b}}\n",
    ],
)
def test_accepts(extra: str, folder: Path) -> None:
    parse_settings(BASE + extra, folder / "edgecls.yaml")
    parse_settings("\ufeff" + (BASE + extra).replace("\n", "\r\n"), folder / "edgecls.yaml")


def test_a_secret_in_the_wrong_place_is_not_repeated(folder: Path) -> None:
    text = BASE + "mqtt: {host: 'user:geheim@broker', password: geheim}\n"
    found = problems_of(text, folder)
    assert len(found) == 2
    assert "geheim" not in "".join(found)


FULL = """\
node: cell-7
mqtt:
  host: broker.factory.example
  username: edgecls
  password_file: mqtt.password
  tls: {ca_file: ca.pem, cert_file: /etc/cert.pem, key_file: key.pem}
outbox: {path: var/outbox.db, max_mib: 128}
http: {listen: 0.0.0.0:80, password_file: http.password}
model: bundle
engine: {backend: openvino, device: cpu, precision: int8, threads: 2, spinning: false, cache_dir: cache}
lines:
  - name: line1
    topic: factory/line1
    source: {camera: /dev/video0, width: 1280, height: 720, fps: 29.97}
    roi: [1, 2, 3, 4]
    decide: {per: change, min_score: 0.7, votes: {of: 7, need: 4}}
    publish: all
  - {name: line2, topic: factory/line2, source: {video: clip.mp4, pace: asap, loop: true}, model: ../bundle}
  - {name: line3, topic: factory/line3, source: {images: "parts/*.jpg"}}
"""


def test_values_arrive_and_paths_are_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "etc").mkdir()
    (folder / "etc/bundle").symlink_to(folder / "bundle")
    (folder / "etc/edgecls.yaml").write_text(FULL)
    monkeypatch.chdir(folder)
    settings = load_settings(Path("etc/edgecls.yaml"))
    etc = f"{folder}/etc"
    tls = {"ca_file": f"{etc}/ca.pem", "cert_file": "/etc/cert.pem", "key_file": f"{etc}/key.pem"}
    decide = {
        "per": "part",
        "min_score": 0.6,
        "thresholds": {},
        "min_area": {},
        "votes": {"of": 5, "need": 3},
        "presence": "auto",
        "dwell": {"min_frames": 3, "max_s": 60},
        "cooldown_s": 0,
        "timeout_s": 1,
    }
    camera = {"camera": "/dev/video0", "lost_after_s": 1.5} | dict.fromkeys(
        ("format", "exposure", "focus", "gain", "white_balance")
    )
    trust = TrustSection().model_dump()
    rest: dict[str, Any] = {"model": None, "roi": None, "decide": decide, "trust": trust, "publish": "defects"}
    assert settings.model_dump() == {
        "node": "cell-7",
        "mqtt": {
            "host": "broker.factory.example",
            "port": None,
            "username": "edgecls",
            "password_file": f"{etc}/mqtt.password",
            "tls": tls,
        },
        "outbox": {"path": f"{etc}/var/outbox.db", "max_mib": 128},
        "evidence": {"path": None, "max_mib": 64, "max_writes_per_hour": 600, "quality": 90, "publish": False},
        "model": f"{etc}/bundle",
        "http": {
            "listen": "0.0.0.0:80",
            "username": "edgecls",
            "password_file": f"{etc}/http.password",
            "tls": None,
            "shifts": ["06:00", "14:00", "22:00"],
        },
        "engine": {
            "backend": "openvino",
            "device": "cpu",
            "precision": "int8",
            "threads": 2,
            "streams": "auto",
            "spinning": False,
            "optimisation": "auto",
            "hint": "auto",
            "pinning": "auto",
            "fall_back_to_cpu": False,
            "cache_dir": f"{etc}/cache",
            "tuning": "/var/lib/edgecls/tuning.json",
            "openvino_dir": None,
        },
        "lines": [
            {
                "name": "line1",
                "topic": "factory/line1",
                "source": camera | {"width": 1280, "height": 720, "fps": 29.97},
                "model": None,
                "roi": [1, 2, 3, 4],
                "decide": decide | {"per": "change", "min_score": 0.7, "votes": {"of": 7, "need": 4}},
                "trust": trust,
                "publish": "all",
            },
            rest
            | {
                "name": "line2",
                "topic": "factory/line2",
                "source": {"video": f"{etc}/clip.mp4", "pace": "asap", "loop": True},
                "model": f"{etc}/../bundle",
            },
            rest
            | {"name": "line3", "topic": "factory/line3", "source": {"images": f"{etc}/parts/*.jpg", "watch": False}},
        ],
    }
    assert settings.mqtt.port_or_default == 8883
    assert [settings.model_of(line) for line in settings.lines] == [
        Path(etc, "bundle"),
        Path(etc, "../bundle"),
        Path(etc, "bundle"),
    ]


def test_defaults_are_those_of_the_contract(folder: Path) -> None:
    settings = parse_settings(BASE, folder / "edgecls.yaml")
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", settings.node)
    assert (settings.mqtt.host, settings.mqtt.port_or_default) == ("127.0.0.1", 1883)
    assert (settings.outbox.path, settings.outbox.max_mib) == ("/var/lib/edgecls/outbox.db", 64)
    assert settings.engine == EngineSection(
        backend="auto", device="auto", precision="auto", threads="auto", streams="auto"
    )
    line = settings.lines[0]
    assert (line.roi, line.publish, line.decide.per, line.decide.min_score) == (None, "defects", "part", 0.6)
    assert (line.decide.votes.of, line.decide.votes.need) == (5, 3)
    with_port = parse_settings(BASE + "mqtt: {port: 1, tls: {}}\n", folder / "edgecls.yaml")
    assert (with_port.mqtt.tls, with_port.mqtt.port_or_default) == (TlsSection(), 1)


MANY = """\
node: my node
node: other
mqtt:
  host: mqtt://broker
  prot: 1883
  port: 99999
  password_file: secret
  tls: {cert_file: a}
outbox: {max_mib: 0}
model: elsewhere
engine:
  backend: tensorrt
  threads: -1
  speed:
lines:
  - name: a
    topic: /a
    source: {camera: 0, video: b}
    roi: [0, 0, 0, 0]
  - name: a
    source: {camera: x, fps: fast}
    decide:
      per: parts
      votes: {of: 2, need: 3}
    publish: !x all
"""
MANY_FOUND = [
    (1, "node"),
    (2, "node"),
    (4, "mqtt.host"),
    (5, "mqtt.prot"),
    (6, "mqtt.port"),
    (7, "mqtt.password_file"),
    (8, "mqtt.tls.cert_file"),
    (9, "outbox.max_mib"),
    (10, "model"),
    (12, "engine.backend"),
    (13, "engine.threads"),
    (14, "engine.speed"),
    (17, "lines[0].topic"),
    (18, "lines[0].source"),
    (19, "lines[0].roi"),
    (20, "lines[1].name"),
    (20, "lines[1].topic"),
    (21, "lines[1].source.fps"),
    (23, "lines[1].decide.per"),
    (24, "lines[1].decide.votes.need"),
    (25, "lines[1].publish"),
]


def check_config(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service.cli", "check-config", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def test_every_mistake_is_named_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    file = tmp_path / "edgecls.yaml"
    file.write_text(MANY)
    done = check_config(str(file))
    assert (done.returncode, done.stdout) == (78, "")
    said = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in said] == [[f"{file}:{number}", key] for number, key in MANY_FOUND]
    assert "Traceback" not in done.stderr


def test_json_is_one_document_with_the_same_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "edgecls.yaml"
    file.write_text(MANY)
    done = check_config("--json", str(file))
    assert (done.returncode, done.stderr) == (78, "")
    document = json.loads(done.stdout)
    assert document["file"] == str(file)
    assert [(error["line"], error["key"]) for error in document["errors"]] == MANY_FOUND
    assert all(error["file"] == str(file) and error["message"] for error in document["errors"])


def test_a_configuration_that_is_fine_is_called_so(folder: Path) -> None:
    (folder / "edgecls.yaml").write_text(BASE)
    done = check_config("--config", f"{folder}/edgecls.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder}/edgecls.yaml is fine: line1 -> factory/line1/defects\n"
    done = check_config("--json", f"{folder}/edgecls.yaml")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"file": f"{folder}/edgecls.yaml", "errors": []})


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(path: Path) -> str:
        with pytest.raises(ConfigurationError) as caught:
            load_settings(path)
        return str(caught.value).removeprefix(f"{path}:1: ")

    file = tmp_path / "edgecls.yaml"
    assert said(file) == "cannot be read (No such file or directory); give the path of a configuration"
    assert said(tmp_path) == "cannot be read (Is a directory); give the path of a configuration"
    file.write_bytes(b"node: caf\xe9\n")
    assert said(file) == "is not UTF-8 text; save it as UTF-8"

    def refused(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refused)
    assert said(file) == "cannot be read (Permission denied); run as root or edgecls"


def test_a_bundle_that_may_not_be_read(folder: Path) -> None:
    found = problems_of(f"model: {'a' * 300}\n{LINE}", folder)
    assert len(found) == 1
    assert "File name too long" in found[0]


def test_whatever_is_in_the_file_there_is_no_traceback(folder: Path) -> None:
    dice = random.Random(7)
    tokens = re.findall(r"\s+|\w+|.", FULL.replace("../bundle", "bundle"))
    strange = [*tokens, "\t", "!!set ", "&a ", "*a", "- ", "? ", "null", "9" * 40, "\u20ac", '"\\ud800"', "[", "{", "'"]
    accepted = 0
    for _ in range(250):
        mutant = list(tokens)
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(mutant))
            mutant[place : place + dice.randint(0, 3)] = dice.choices(strange, k=dice.randint(0, 3))
        try:
            parse_settings("".join(mutant), folder / "edgecls.yaml")
            accepted += 1
        except ConfigurationError as error:
            text = str(error)
            assert text
            assert "Input should" not in text
            text.encode()
    assert 0 < accepted < 200

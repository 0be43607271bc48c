"""docs/examples/node-red-flow.json: its wires, its functions in node, and the whole of it in a real Node-RED."""

import json
import subprocess
from pathlib import Path
from typing import Any

import paho.mqtt.publish as mqtt
import pytest
from conftest import ROOT, Mosquitto
from nodejs import node, npm_ci
from programs import Program
from rig import Message, images_line, start, write_config, write_images
from schemas import examples

FLOW = ROOT / "docs/examples/node-red-flow.json"
NOW_MS = 1_790_000_000_000
SEEN = "2026-09-21T14:13:20.000000Z"
"""NOW_MS as messages write it."""
DEFECTS, STATE = "factory/line1/defects", "factory/line1/state"


def read_flow() -> list[Message]:
    return list(json.loads(FLOW.read_text(encoding="utf-8")))


def run(steps: list[tuple[str, int, Message]]) -> list[list[list[Message]]]:
    """For each (node, seconds, message): for each output of the node the messages that leave there."""
    text = json.dumps([{"node": name, "now": NOW_MS + 1000 * after_s, "msg": msg} for name, after_s, msg in steps])
    command = [node(), str(ROOT / "tests/nodered/functions.mjs"), str(FLOW)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def decision(part: int, second: int) -> Message:
    """Ids order by time: `second` is when it was made."""
    message = {**examples("decision")[0], "part": part, "id": f"01a2021a-{second:04x}-7921-b6a5-544cdcff521e"}
    return {"topic": DEFECTS, "payload": message}


def state(*, retain: bool = False, **changes: Any) -> Message:
    return {"topic": STATE, "payload": {**examples("state")[0], "ts": SEEN, **changes}, "retain": retain}


def status(word: str) -> Message:
    return {"topic": "edgecls/cell-7/status", "payload": {**examples("status")[0], "status": word}, "retain": True}


TICK: Message = {"topic": "tick"}


def test_its_wires_lead_to_nodes_and_none_is_left_alone() -> None:
    flow = read_flow()
    nodes = {item["id"]: item for item in flow}
    assert len(nodes) == len(flow)
    fed = [target for item in flow for wire in item.get("wires", []) for target in wire]
    assert set(fed) <= set(nodes)
    for item in flow:
        if item["type"] in {"tab", "mqtt-broker"}:
            continue
        assert nodes[item["z"]]["type"] == "tab"
        assert (item["id"] in fed) != (item["type"] in {"mqtt in", "inject"}), item["id"]
        assert len(item["wires"]) == item.get("outputs", 0 if item["type"] == "debug" else 1)
        assert "broker" not in item or nodes[item["broker"]]["type"] == "mqtt-broker"


def test_it_drops_repeats() -> None:
    first, second = decision(1, 1), decision(2, 2)
    results = run([("drop repeats", 0, msg) for msg in (first, second, first, second, decision(3, 3))])
    assert [len(outputs[0]) for outputs in results] == [1, 1, 0, 0, 1]
    assert results[0][0][0] == first


def test_it_forgets_old_ids() -> None:
    steps = [("drop repeats", 0, decision(number, number)) for number in range(600)]
    results = run([*steps, steps[100], steps[99]])
    assert [len(outputs[0]) for outputs in results[600:]] == [0, 1]


def test_it_finds_gaps() -> None:
    other = {**decision(40, 2), "topic": "factory/line2/defects"}
    messages = [decision(4, 1), other, decision(5, 3), decision(8, 4), decision(7, 3), decision(9, 5), decision(1, 6)]
    results = run([("find gaps", 0, msg) for msg in (*messages, decision(2, 7))])
    assert [outputs[0][0]["payload"]["part"] for outputs in results] == [4, 40, 5, 8, 7, 9, 1, 2]
    gaps = [outputs[1] for outputs in results]
    assert gaps == [[], [], [], [{"topic": DEFECTS, "payload": {"line": "line1", "from": 6, "to": 7}}], [], [], [], []]


def told(steps: list[tuple[int, Message]]) -> list[list[tuple[str, str]]]:
    results = run([("watchdog", after_s, msg) for after_s, msg in steps])
    return [[(m["payload"]["state"], m["payload"]["reason"]) for m in outputs[0]] for outputs in results]


def test_its_watchdog_says_when_the_state_is_unknown() -> None:
    steps = [(0, TICK), (0, status("online")), (0, state()), (30, TICK), (31, TICK), (32, TICK), (33, state())]
    stale = [("unknown", "no state for 30 s")]
    assert told(steps) == [[], [], [("inspecting", "")], [], stale, [], [("inspecting", "")]]


def test_its_watchdog_knows_when_the_device_is_offline() -> None:
    fault = state(state="fault", reason="no camera")
    steps = [(0, state()), (0, status("online")), (1, fault), (2, status("offline")), (3, fault), (4, status("online"))]
    offline = [("unknown", "cell-7 is not online")]
    assert told(steps) == [
        offline,
        [("inspecting", "")],
        [("fault", "no camera")],
        offline,
        [],
        [("fault", "no camera")],
    ]


def test_its_watchdog_does_not_trust_an_old_state_that_the_broker_kept() -> None:
    stale = [("unknown", "no state for 30 s")]
    assert told([(0, status("online")), (60, state(retain=True))]) == [[], stale]
    assert told([(0, status("online")), (20, state(retain=True)), (29, TICK), (31, TICK)])[1:] == [
        [("inspecting", "")],
        [],
        stale,
    ]
    # One that comes live is fresh, however wrong the clocks are.
    assert told([(0, status("online")), (60, state())])[1] == [("inspecting", "")]


SETTINGS = """module.exports = {
  httpAdminRoot: false, httpNodeRoot: false, telemetry: { enabled: false },
};
"""
"""No editor, no port, no word to anybody but the broker."""


def flow_for_a_test(port: int) -> list[Message]:
    """The broker of the test; what the debug nodes show goes to nodered/NAME, for all to hear."""
    flow = read_flow()
    for item in flow:
        if item["type"] == "mqtt-broker":
            item["port"] = str(port)
        elif item["type"] == "debug":
            item.update(type="mqtt out", topic=f"nodered/{item['name']}", qos="1", retain="false")
            item["broker"] = "edgecls-broker"
    return flow


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_runs_in_node_red(mosquitto: Mosquitto, tmp_path: Path) -> None:
    folder = npm_ci("nodered")
    (tmp_path / "settings.js").write_text(SETTINGS)
    (tmp_path / "flow.json").write_text(json.dumps(flow_for_a_test(mosquitto.port)))
    red = [node(), folder / "node_modules/node-red/red.js", "--userDir", tmp_path / "user"]
    red += ["--settings", tmp_path / "settings.js", tmp_path / "flow.json"]
    listen = ["mosquitto_sub", "-p", str(mosquitto.port), "-q", "1", "-t", "nodered/#", "-t", "hello", "-F", "%t %p"]
    mqtt.single("hello", "hello", retain=True, hostname="127.0.0.1", port=mosquitto.port)
    with Program(red, tmp_path / "red") as node_red, Program(listen, tmp_path / "heard") as heard:
        node_red.wait_for("Connected to broker", timeout_s=120)
        heard.wait_for("hello")
        line = images_line(write_images(tmp_path / "frames", 6))
        daemon = start(write_config(tmp_path, mosquitto.port, [line]))
        daemon.communicate(timeout=60)
        assert daemon.returncode == 0
        decisions = [json.loads(text.split(" ", 1)[1]) for text in heard.wait_for("^nodered/decisions ", 6)]
        assert [message["part"] for message in decisions] == [1, 2, 3, 4, 5, 6]
        heard.wait_for('^nodered/lines {"line":"line1","state":"waiting","reason":"the source has ended"}')
        heard.wait_for('^nodered/lines {"line":"line1","state":"unknown","reason":"cell-7 is not online"}')

        newer = "ff" + decisions[-1]["id"][2:]
        for message in (decisions[-1], {**decisions[-1], "part": 9, "id": newer}):
            mqtt.single(DEFECTS, json.dumps(message), qos=1, hostname="127.0.0.1", port=mosquitto.port)
        heard.wait_for('^nodered/gaps {"line":"line1","from":7,"to":8}')
        assert len(heard.wait_for("^nodered/decisions ", 7)) == 7

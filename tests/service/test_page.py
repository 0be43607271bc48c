"""The status page: what it tells of the lines and of the device."""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT, Mosquitto, a_free_port
from live import wait_until
from page_rig import Answer, Page, page
from rig import Message, Subscriber, finish, images_line, start, write_config, write_images

from service.page.answers import FILES


def conveyor(clip: Path, name: str = "line1", **more: object) -> Message:
    source = {"video": str(clip), "loop": True, "pace": "realtime"}
    return {"name": name, "topic": f"factory/{name}", "source": source, "publish": "all", **more}


def test_everything_the_page_takes_is_there_and_comes_from_nowhere_else(
    tmp_path: Path, mosquitto: Mosquitto, clip: Path
) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        whole = {path: shown.ask(path) for path in FILES}
    for path, answer in whole.items():
        assert answer.status == 200, path
        assert answer.headers["Content-Type"].startswith(FILES[path][1])
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "edgecls"
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", answer.text)) - {
            "http://www.w3.org/2000/svg",
        }
        assert not addresses, (path, addresses)
    shipped = {file.name for file in (ROOT / "service/page/files").iterdir()}
    assert shipped == {name for name, _ in FILES.values()}
    named = re.findall(r'(?:href|src)="(/[^"#]+)', whole["/"].text) + re.findall(
        r'from "\.(/[^"]+)"', "".join(answer.text for path, answer in whole.items() if path.endswith(".js"))
    )
    assert set(named) <= set(FILES)


def test_the_stream_tells_what_the_lines_do(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    line = conveyor(clip, roi=[10, 20, 300, 200], decide={"per": "frame"})
    with page(tmp_path, mosquitto.port, [line, images_line(tmp_path / "none", "line2")], 1) as shown:
        first, *_, last = shown.events(4)
    assert first["node"] == "cell-7"
    one, two = last["lines"]
    assert (one["name"], one["state"], one["reason"]) == ("line1", "inspecting", "")
    assert (two["name"], two["state"]) == ("line2", "fault")
    assert two["reason"]
    about = first["lines"][0]["about"]
    assert about["roi"] == [10, 20, 300, 200]
    assert about["labels"] == ["ok", "deformation", "scratch", "stain"]
    assert "about" not in one
    counted = one["shift"]
    assert counted["pass"] + counted["reject"] + counted["review"] == counted["decided"] > first["lines"][0]["frames"]
    assert sum(count for _, count in counted["defects"]) == counted["reject"]
    assert one["last"]["verdict"] in ("pass", "reject", "review")
    assert last["broker"]["connected"]
    assert last["device"]["memory"]["total_mib"] > 0
    assert last["device"]["disk"]["path"] == str(tmp_path)


def test_the_live_picture_is_one_of_now_and_there_is_none_without_frames(
    tmp_path: Path, mosquitto: Mosquitto, clip: Path
) -> None:
    still = images_line(write_images(tmp_path / "frames", 1), "line2")
    with page(tmp_path, mosquitto.port, [conveyor(clip), still]) as shown:
        shown.wait_for("/readyz", 503)  # the second line has ended
        answer = shown.ask("/lines/line1/picture.jpg")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/jpeg")
        assert answer.body.startswith(b"\xff\xd8")
        assert answer.body.endswith(b"\xff\xd9")
        assert answer.headers["X-Frame-Size"] == "320x240"
        assert abs(time.time() * 1e3 - int(answer.headers["X-Captured-At-Ms"])) < 10_000
        time.sleep(0.3)
        assert shown.ask("/lines/line1/picture.jpg").body != answer.body
        assert shown.ask("/lines/line2/picture.jpg").status == 204
        assert shown.ask("/lines/line3/picture.jpg").status == 410


def test_health_and_readiness(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        assert shown.wait_for("/readyz").text == "ok\n"
        assert shown.ask("/healthz").text == "ok\n"
    with page(tmp_path, mosquitto.port, [conveyor(clip), images_line(tmp_path / "none", "line2")], 1) as shown:
        assert "line2 fault: " in shown.wait_for("/readyz", 503).text
        assert shown.ask("/healthz").status == 200


def test_metrics_are_those_of_the_daemon(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        shown.wait_for("/readyz")
        answer = shown.ask("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert re.search(r'^edgecls_\w+\{.*line="line1".*\} ', answer.text, re.MULTILINE)


def test_what_is_kept_is_shown_and_takes_a_label(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)], evidence={"path": "kept"}) as shown:
        wait_until(lambda: bool(shown.ask("/evidence?line=line1").json()), 60)
        before = shown.events(1)[0]["evidence"]
        item = shown.ask("/evidence?line=line1").json()[-1]
        assert item["verdict"] in ("reject", "review")
        assert (item["line"], item["size"], item["relabelled"]) == ("line1", [320, 240], None)
        assert item["label"] in item["labels"]
        assert shown.ask("/evidence?line=another").json() == []
        for name in ("picture", "small"):
            picture = shown.ask(f"/evidence/{item['id']}/{name}.jpg")
            assert picture.headers["Content-Type"] == "image/jpeg"
            assert picture.body.startswith(b"\xff\xd8")

        def relabel(label: str | None) -> Answer:
            headers = {"Origin": shown.url, "Content-Type": "application/json"}
            return shown.ask(f"/evidence/{item['id']}/label", "POST", json.dumps({"label": label}).encode(), headers)

        assert relabel("no such label").status == 422
        assert relabel("ok").json()["relabelled"] == "ok"
        assert shown.events(1)[0]["evidence"] > before
        assert next(i for i in shown.ask("/evidence").json() if i["id"] == item["id"])["relabelled"] == "ok"
        assert relabel(None).json()["relabelled"] is None
    with page(tmp_path, mosquitto.port, [conveyor(clip)], evidence={"max_mib": 0}) as shown:
        assert shown.ask("/evidence").status == 410
        assert shown.events(1)[0]["evidence"] is None


def test_a_restart_does_not_begin_the_shift_anew(tmp_path: Path, mosquitto: Mosquitto) -> None:
    line = images_line(write_images(tmp_path / "frames", 5))
    endless = conveyor(ROOT / "models/demo/conveyor.mp4", "line2")
    for passed in (5, 10):
        with page(tmp_path, mosquitto.port, [line, endless]) as shown:
            shown.wait_for("/readyz", 503)
            told = shown.events(1)[0]
        assert told["lines"][0]["shift"]["decided"] == passed
    assert json.loads((tmp_path / "shift.json").read_text())["this"]["line1"]["verdicts"]


def test_a_port_that_is_taken_keeps_nobody_from_inspecting(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    free_port = a_free_port()
    subscriber = Subscriber(mosquitto.port)
    with socket.create_server(("127.0.0.1", free_port)):
        process = start(
            write_config(tmp_path, mosquitto.port, [conveyor(clip)], http={"listen": f"127.0.0.1:{free_port}"})
        )
        assert process.stderr is not None
        said = next(text for text in process.stderr if "status page" in text)
        subscriber.wait_for("factory/line1/defects", 2)
    shown = Page(free_port, process)
    shown.wait_for("/healthz")  # it tries again
    process.terminate()
    status, log = finish(process)
    subscriber.close()
    assert status == 0
    assert f"no status page on 127.0.0.1:{free_port}: Address already in use; trying again" in said
    assert f"status page: http://127.0.0.1:{free_port}" in log


def test_without_http_nothing_of_it_is_loaded() -> None:
    script = "import sys, service.commands.run; print([m for m in ('aiohttp', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "aiohttp" not in done.stdout

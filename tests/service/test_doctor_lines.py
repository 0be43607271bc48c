"""What the doctor says of lines: sources that are really opened, bundles, tunings, processes that hang or die."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest
from mqtt_rig import until
from rig import images_line, write_config, write_images

from edge.bundle import load_bundle
from edge.tuning import device_key, model_key
from service.doctor import bundles, engines, sources
from service.doctor.case import Case, open_case
from service.doctor.child import AskError, ask
from service.doctor.finding import Finding
from service.doctor.runtime import describe
from service.doctor.system import System
from service.doctor.trial import attempt


def case_of(folder: Path, line: dict[str, Any], **more: Any) -> Case:
    case = open_case(System(), write_config(folder, 1883, [line], **more), try_sources=True)
    assert case.settings, case.problems
    return case


def tried(folder: Path, how: sources.Attempt = attempt, **line: Any) -> list[Finding]:
    case = case_of(folder, {**images_line(folder / "pictures"), **line})
    assert case.settings
    return list(sources.source(case, case.settings.lines[0], how))


def test_a_video_gives_its_size_and_rate_and_the_roi_fits(tmp_path: Path, clip: Path) -> None:
    found = tried(tmp_path, source={"video": str(clip)}, roi=[0, 0, 100, 100])
    assert [one.level for one in found] == ["ok", "ok"]
    real = cv2.VideoCapture(str(clip))
    size = (int(real.get(cv2.CAP_PROP_FRAME_WIDTH)), int(real.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    assert (found[0].facts["width"], found[0].facts["height"]) == size
    assert isinstance(found[0].facts["fps"], float)
    assert 0 < found[0].facts["fps"] <= real.get(cv2.CAP_PROP_FPS) * 1.2
    assert "fits into" in found[1].text


def test_an_roi_that_does_not_fit(tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 2)
    found = tried(tmp_path, roi=[100, 0, 61, 10])
    assert [one.level for one in found] == ["ok", "error"]
    assert "does not fit into 160x120" in found[1].text
    assert found[1].remedy == "set roi inside [0, 0, 160, 120]"


def test_a_damaged_picture_before_a_good_one(tmp_path: Path) -> None:
    (write_images(tmp_path / "pictures", 2) / "000.png").write_bytes(b"no picture")
    (found,) = tried(tmp_path)
    assert found.level == "warning"
    assert found.facts["bad_frames"] == 1


@pytest.mark.parametrize(
    ("source", "part", "remedy"),
    [
        ({"camera": "/dev/v4l/by-id/usb-none"}, "camera /dev/v4l/by-id/usb-none is not there", "plug it in"),
        ({"video": "none.mp4"}, "none.mp4 does not exist", "check the path"),
        ({"images": "none/*.png"}, "no file matches images", "check the pattern"),
    ],
)
def test_a_source_that_is_not_there(source: dict[str, str], part: str, remedy: str, tmp_path: Path) -> None:
    (found,) = tried(tmp_path, source=source)
    assert found.level == "error"
    assert part in found.text
    assert remedy in found.remedy


def test_the_trial_is_a_process_of_its_own_that_ends_when_the_source_hangs(tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 1)
    (fine,) = tried(tmp_path, sources.in_a_process)
    assert fine.facts["width"] == 160
    os.mkfifo(tmp_path / "pictures/001.png")
    (tmp_path / "pictures/000.png").unlink()
    alarm = "import signal; signal.signal(14, signal.SIG_DFL); signal.setitimer(0, 0.1); open('{}')"
    hanging = alarm.format(tmp_path / "pictures/001.png")
    (found,) = tried(tmp_path, lambda *_: ask("timeit", "-n1", "-r1", hanging, timeout_s=20))
    assert found.level == "error"
    assert "it hangs" in found.text


def test_sources_are_left_alone_when_that_is_wanted(tmp_path: Path) -> None:
    case = open_case(System(), write_config(tmp_path, 1883, [images_line(tmp_path / "none")]), try_sources=False)
    assert case.settings
    (found,) = sources.source(case, case.settings.lines[0])
    assert found.level == "note"


def test_a_process_that_hangs_dies_or_talks_nonsense() -> None:
    with pytest.raises(AskError, match=r"does not answer within 0\.5 s"):
        ask("timeit", "-n1", "-r1", "import time; time.sleep(60)", timeout_s=0.5)
    with pytest.raises(AskError, match="ended by SIGSEGV"):
        ask("timeit", "-n1", "-r1", "import ctypes; ctypes.string_at(0)", timeout_s=20)
    with pytest.raises(AskError, match="ended with exit status 0"):
        ask("timeit", "-n1", "-r1", "pass", timeout_s=20)
    with pytest.raises(AskError, match="No module named"):
        ask("no.such.module", timeout_s=20)


def test_what_a_process_has_started_ends_with_it(tmp_path: Path) -> None:
    start = "import subprocess; one = subprocess.Popen(['sleep', '60'], stdout=-3, stderr=-3)"
    with pytest.raises(AskError):
        ask("timeit", "-n1", "-r1", f"{start}; open({str(tmp_path / 'pid')!r}, 'w').write(str(one.pid))", timeout_s=60)
    process = Path("/proc") / (tmp_path / "pid").read_text()

    def ended() -> bool:
        try:
            return (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    assert until(ended)


def test_a_runtime_is_asked_in_a_process_of_its_own(tmp_path: Path) -> None:
    (found,) = engines.runtime(case_of(tmp_path, images_line(tmp_path)), "onnxruntime")
    assert found.level == "ok"
    assert found.facts == describe("onnxruntime")
    assert found.facts["devices"] == ["cpu"]
    assert describe("openvino")["devices"] == ["cpu"]
    assert "No module named" in str(describe("tensorflow")["missing"])


def bundle_of(folder: Path, path: Path, **more: Any) -> list[Finding]:
    case = case_of(folder, images_line(folder), model=str(path), **more)
    assert case.settings
    return list(bundles.bundle(path, case.settings))


def test_a_bundle_is_whole_and_told_how_it_will_run(tmp_path: Path, surface_demo: Path) -> None:
    engine = {"tuning": str(tmp_path / "tuning.json")}
    whole, plan, tuning = bundle_of(tmp_path, surface_demo, engine=engine)
    assert (whole.level, plan.level, tuning.level) == ("ok", "ok", "note")
    assert "the hashes of its 2 models hold" in whole.text
    assert "will run as int8 on onnxruntime, device cpu" in plan.text
    assert tuning.remedy == f"sudo -u edgecls edgecls tune --model {surface_demo}"


@pytest.mark.parametrize(
    ("key", "level", "part"), [("this", "ok", "was tuned for this"), ("other", "warning", "another")]
)
def test_a_tuning_fits_or_is_of_another_device(
    key: str, level: str, part: str, tmp_path: Path, surface_demo: Path
) -> None:
    bundle = load_bundle(surface_demo)
    plan = {"backend": "openvino", "device": "cpu", "precision": "int8", "threads": 2}
    measured = [{"plan": plan, "p50_ms": 1.0, "fps": 100.0}]
    device = device_key() if key == "this" else "a Pentium; 1 cores"
    document = {"schema": "edgecls/tuning/1", "tuned": {model_key(bundle): {device: {"measured": measured}}}}
    (tmp_path / "tuning.json").write_text(json.dumps(document))
    *_, plan_told, tuning = bundle_of(tmp_path, surface_demo, engine={"tuning": str(tmp_path / "tuning.json")})
    assert tuning.level == level
    assert part in tuning.text
    assert ("openvino" in plan_told.text) == (key == "this")
    (tmp_path / "tuning.json").write_text("{")
    *_, damaged = bundle_of(tmp_path, surface_demo, engine={"tuning": str(tmp_path / "tuning.json")})
    assert "damaged" in damaged.text


def test_a_damaged_bundle_and_a_label_that_it_does_not_know(tmp_path: Path, broken_bundle: Path) -> None:
    case = case_of(tmp_path, images_line(tmp_path, decide={"thresholds": {"dent": 0.5}}), model=str(broken_bundle))
    assert case.settings
    *_, unknown = bundles.bundle(broken_bundle, case.settings)
    assert unknown.level == "error"
    assert "thresholds names 'dent'" in unknown.text
    with (broken_bundle / "model.int8.onnx").open("ab") as file:
        file.write(b"x")
    (damaged,) = bundles.bundle(broken_bundle, case.settings)
    assert damaged.level == "error"
    assert "is not the file that model.json describes" in damaged.text
    assert "restore the bundle" in damaged.remedy


def test_a_stick_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "ov").mkdir()
    engine = {"device": "ncs2", "openvino_dir": str(tmp_path / "ov")}
    case = case_of(tmp_path, images_line(tmp_path), engine=engine)
    missing, library = engines.stick(Case(System(tmp_path), case.config, case.settings))
    assert "no stick is plugged in" in missing.text
    assert "has no libopenvino_c.so" in library.text
    assert {missing.level, library.level} == {"error"}
    folder = tmp_path / "ov/runtime/lib/intel64"
    folder.mkdir(parents=True)
    (folder / "libopenvino_c.so").touch()
    assert "no plug-in" in list(engines.stick(case))[-1].text
    (folder / "libopenvino_intel_myriad_plugin.so").touch()
    assert list(engines.stick(case))[-1].level == "ok"

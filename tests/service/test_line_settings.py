"""What a line may ask for depends on its model: that is told when the line is made."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Mosquitto
from rig import finish, images_line, start, write_config
from tiny_segmenter import write_segmenter

from edge.area import Area
from edge.bundle import load_bundle
from edge.decision import DecideSettings, Dwell, Votes
from edge.errors import PermanentError
from service.line_settings import decide_settings, may_look_ahead
from service.sections import LineSection

UNKNOWN = (
    "line line1: decide.thresholds names 'scrach', which model surface-demo does not know: "
    "its labels are ok, deformation, scratch, stain"
)
NO_MASKS = (
    "line line1: decide.min_area needs a model that draws masks, and surface-demo is one of the task classification: "
    "remove it"
)
NO_ABSENT_LABEL = (
    "line line1: decide.presence: label needs a model with an absent_label, and surface-demo has none: use background"
)


def section(**decide: Any) -> LineSection:
    return LineSection.model_validate(
        {"name": "line1", "topic": "factory/line1", "source": {"camera": 0}, "decide": decide}
    )


def test_every_setting_arrives(surface_demo: Path) -> None:
    given = section(
        min_score=0.7,
        thresholds={"scratch": 0.9},
        votes={"of": 7, "need": 4},
        presence="background",
        dwell={"min_frames": 2, "max_s": 5.0},
        cooldown_s=0.5,
    )
    assert decide_settings(given, load_bundle(surface_demo)) == DecideSettings(
        "part", 0.7, {"scratch": 0.9}, Votes(7, 4), "background", Dwell(2, 5.0), 0.5, 1.0
    )


def test_the_defaults_are_those_of_edge(surface_demo: Path) -> None:
    assert decide_settings(section(), load_bundle(surface_demo)) == DecideSettings()


@pytest.mark.parametrize(
    ("source", "per", "may"),
    [
        ({"video": "belt.mp4", "pace": "asap"}, "frame", True),
        ({"images": "*.png"}, "change", True),
        ({"images": "*.png"}, "part", False),
        ({"video": "belt.mp4"}, "frame", False),
        ({"images": "*.png", "watch": True}, "frame", False),
        ({"images": "*.png"}, "trigger", False),
        ({"camera": 0}, "frame", False),
    ],
)
def test_frames_are_looked_at_ahead_where_nobody_waits_for_one(
    surface_demo: Path, source: dict[str, Any], per: str, may: bool
) -> None:
    line = {"name": "line1", "topic": "factory/line1", "source": source, "decide": {"per": per}}
    assert may_look_ahead(LineSection.model_validate(line), load_bundle(surface_demo)) is may


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        ({"thresholds": {"scrach": 0.9}}, UNKNOWN),
        ({"min_area": {"scrach": 9}}, UNKNOWN.replace("thresholds", "min_area")),
        ({"min_area": {"scratch": "1 %"}}, NO_MASKS),
        ({"presence": "label"}, NO_ABSENT_LABEL),
    ],
)
def test_what_the_model_does_not_have_is_named(decide: Any, message: str, surface_demo: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        decide_settings(section(**decide), load_bundle(surface_demo))
    assert str(caught.value) == message


def test_the_daemon_does_not_start_then(mosquitto: Mosquitto, tmp_path: Path) -> None:
    line = {**images_line(tmp_path), "decide": {"thresholds": {"scrach": 0.9}}}
    status, log = finish(start(write_config(tmp_path, mosquitto.port, [line])))
    assert (status, log.splitlines()[-1]) == (1, f"edgecls: {UNKNOWN}")


def test_a_region_of_too_many_tiles(tmp_path: Path) -> None:
    bundle = load_bundle(write_segmenter(tmp_path / "tiny", pictures="n"))
    line = LineSection.model_validate({**section().model_dump(), "source": {"camera": 0}, "roi": [0, 0, 1280, 720]})
    with pytest.raises(PermanentError, match="line line1: a region of 1280x720 pixels takes 405 tiles of 64x64, and"):
        decide_settings(line, bundle)


def test_the_least_area_of_a_line_arrives(tmp_path: Path) -> None:
    bundle = load_bundle(write_segmenter(tmp_path / "tiny"))
    areas = decide_settings(section(min_area={"hole": 40, "scratch": "0.5 %"}), bundle).min_area
    assert areas == {"hole": Area(px=40), "scratch": Area(percent=0.5)}
    with pytest.raises(
        PermanentError, match=r"decide\.min_area names 'free', the pass label of model tiny: name defects"
    ):
        decide_settings(section(min_area={"free": 40}), bundle)

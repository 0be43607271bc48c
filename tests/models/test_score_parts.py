import json
from pathlib import Path
from typing import Any

import pytest

from models.__main__ import main
from models.score_parts import Told, score

WIDTH = 100


def part(number: int, label: str = "ok", **said: Any) -> dict[str, Any]:
    story = {"touching": [], "stopped": False, "went_back": False, "complete": True}
    return {"part": number, "label": label, **story, **said}


def truth(parts: list[dict[str, Any]], *frames: list[list[int]], **head: Any) -> dict[str, Any]:
    rows = [{"seq": seq, "parts": spans} for seq, spans in enumerate(frames)]
    return {"width": WIDTH, "height": 80, "direction": "right", **head, "parts": parts, "frames": rows}


def told(seq: int, verdict: str = "pass", label: str = "ok", reason: str | None = None) -> Told:
    return Told(seq, verdict, label, reason)


ALONE = [[[0, 10, 60]], [[1, 10, 60]], [[2, 10, 60]], []]
"""One part in each of three frames, then an empty belt."""


def test_one_decision_for_each_part_is_perfect() -> None:
    clip = truth([part(0), part(1, "stain"), part(2, "scratch")], *ALONE)
    report = score(clip, [told(0), told(1, "reject", "stain"), told(2, "reject", "scratch")])
    figures = report["complete"]
    assert figures["one"] == figures["parts"] == 3
    assert figures["one_share"] == figures["one_and_right_share"] == 1
    assert figures["right_verdict_share"] == figures["right_label_share"] == 1
    assert figures["review_share"] == 0
    assert figures["none"] == figures["several"] == report["no_part"] == []
    assert figures["verdicts"]["reject"] == {"pass": 0, "reject": 2, "review": 0}


def test_missed_doubled_and_invented_parts_are_told_apart() -> None:
    clip = truth([part(0), part(1), part(2)], *ALONE)
    report = score(clip, [told(0), told(0), told(2), told(3)])
    assert report["complete"]["none"] == [1]
    assert report["complete"]["several"] == [0]
    assert report["complete"]["one_share"] == 0.3333
    assert report["no_part"] == [3]


def test_wrong_verdicts_labels_and_reviews_count() -> None:
    clip = truth([part(0), part(1, "stain"), part(2, "stain")], *ALONE)
    report = score(clip, [told(0, "reject", "stain"), told(1, "reject", "scratch"), told(2, "review", "stain", "blur")])
    figures = report["complete"]
    assert figures["one_share"] == 1
    assert figures["one_and_right_share"] == figures["right_verdict_share"] == 0.3333
    assert figures["right_label_share"] == 0.3333
    assert figures["review_share"] == 0.3333
    assert figures["verdicts"] == {
        "pass": {"pass": 0, "reject": 1, "review": 0},
        "reject": {"pass": 0, "reject": 1, "review": 1},
    }
    assert figures["reasons"] == {"blur": 1}


def test_a_decision_belongs_to_the_part_of_which_most_is_seen() -> None:
    clip = truth([part(0, "stain"), part(1)], [[0, 70, 120], [1, -10, 40]])
    report = score(clip, [told(0)])
    assert report["complete"]["none"] == [0]
    assert report["complete"]["right_verdict_share"] == 1


def test_upright_clips_are_cut_off_at_their_height() -> None:
    spans = [[0, 55, 95], [1, 0, 40]]  # wholly in view in a picture 100 px wide, not in one 80 px high
    sideways, upright = (truth([part(0), part(1)], spans, direction=name) for name in ("left", "up"))
    assert score(sideways, [told(0)])["complete"]["none"] == [1]
    assert score(upright, [told(0)])["complete"]["none"] == [0]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parts_seen_alike_get_one_decision_each(order: tuple[int, int]) -> None:
    both, first_alone = [[0, 50, 90], [1, 5, 45]], [[0, 50, 90], [1, -30, 10]]
    clip = truth([part(0), part(1)], both, first_alone)
    assert score(clip, [told(seq) for seq in order])["complete"]["one"] == 2
    assert score(clip, [told(0), told(0)])["complete"]["one"] == 2


def test_cut_off_parts_count_only_when_they_are_decided_on_twice() -> None:
    clip = truth([part(0, complete=False), part(1), part(2, "stain", complete=False)], *ALONE)
    report = score(clip, [told(0, "reject", "stain"), told(1)])
    assert report["complete"]["parts"] == report["complete"]["one"] == 1
    assert report["complete"]["right_verdict_share"] == 1
    assert report["cut_off"] == {"parts": 2, "several": []}
    assert score(clip, [told(2), told(2)])["cut_off"]["several"] == [2]


def test_figures_are_broken_down_by_what_happened_to_the_part() -> None:
    parts = [part(0, touching=[1]), part(1, touching=[0], stopped=True), part(2, went_back=True), part(3)]
    clip = truth(parts, *ALONE[:3], [[3, 10, 60]])
    report = score(clip, [told(0), told(2), told(2), told(3)])
    assert report["touching"]["parts"] == 2
    assert report["touching"]["none"] == [1]
    assert report["stopped"]["one_share"] == 0
    assert report["went_back"]["several"] == [2]
    assert report["plain"]["one"] == report["plain"]["parts"] == 1


def test_shares_of_nothing_are_missing() -> None:
    report = score(truth([], []), [])
    assert report["complete"]["one_share"] is None
    assert report["complete"]["right_verdict_share"] is None


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    messages = [{"part": 7, "verdict": "pass", "label": "ok", "frame": {"seq": seq}} for seq in (0, 1, 1)]
    (tmp_path / "t.json").write_text(json.dumps(truth([part(0), part(1), part(2)], *ALONE)))
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, messages)) + "\n")
    return tmp_path / "t.json", tmp_path / "d.jsonl"


def test_command_prints_a_table_or_json(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score-parts", *map(str, files)]) == 0
    text = capsys.readouterr().out
    assert "3 parts, 3 decisions" in text
    assert text.split("complete")[1].split()[:5] == ["3", "1", "1", "1", "0.3333"]
    assert main(["score-parts", *map(str, files), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"]["several"] == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "d.jsonl:1 is not a decision"),
        ("[1]", "d.jsonl:1 is not a decision"),
        ("nonsense", "d.jsonl:1 is not a decision"),
        ('{"verdict": "maybe", "label": "ok", "frame": {"seq": 0}}', "verdict 'maybe' is not one of pass, reject, rev"),
        ('{"verdict": "pass", "label": "ok", "frame": {"seq": 4}}', "frame 4 as evidence, the clip has 4 frames"),
    ],
)
def test_decisions_that_are_none_are_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    files[1].write_text(line)
    assert main(["score-parts", *map(str, files)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"frames": []}', '{"direction": "up", "parts": [], "frames": []}'])
def test_truth_that_is_none_is_refused(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str], text: str) -> None:
    files[0].write_text(text)
    assert main(["score-parts", *map(str, files)]) == 1
    assert "t.json is not the truth of a clip" in capsys.readouterr().err

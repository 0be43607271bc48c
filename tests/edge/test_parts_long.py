"""Long rendered lines, on which nothing was tuned: what share of the parts is decided once, and rightly."""

from pathlib import Path

import pytest
from belt import film, inspected, scored

from models.score_parts import table


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("seed", "direction", "style"), [(3_900_001, "random", "random"), (3_900_002, "down", "cleats")]
)
def test_a_long_line(tmp_path: Path, surface_demo: Path, seed: int, direction: str, style: str) -> None:
    video = film(tmp_path, seed, 220, direction=direction, style=style)
    report = scored(video, inspected(video, surface_demo))
    print(f"\nseed {seed}\n{table(report)}")
    complete = report["complete"]
    assert complete["parts"] >= 218
    assert complete["one_share"] >= 0.99
    assert complete["right_verdict_share"] >= 0.97

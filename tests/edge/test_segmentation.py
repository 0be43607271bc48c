"""Masks to regions, with real engines on a model whose answer is known: where a defect lies in the frame."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_segmenter import GREY, LABELS, graph, write_segmenter

from edge.area import Area
from edge.backends import BACKENDS, BackendName, EngineSettings, check_golden, load_backend
from edge.backends.plan import Plan
from edge.bundle import load_bundle
from edge.classification import Region
from edge.clock import SystemClock
from edge.deciders import make_decider
from edge.decision import DecideSettings, Decision
from edge.engine import Engine
from edge.errors import BackendError, BadFrameError, BundleError
from edge.frame import Frame, Image
from edge.pipeline import Pipeline
from edge.preprocess import FILL, InputSpec, Roi
from edge.segmentation import MaskReader
from edge.tiles import MOST_TILES, TilePreprocessor, grid
from models.mask_outputs import append_mask

BRIGHT, DARK = 255, 0


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One for each resize rule; of tiles 64x64 with an overlap of 16."""
    folder = tmp_path_factory.mktemp("segmenters")
    rules = ("stretch", "letterbox", "crop")
    made = {rule: write_segmenter(folder / rule, input={"resize": rule}) for rule in rules}
    return {**made, "tile": write_segmenter(folder / "tile", pictures="n")}


def picture(width: int, height: int) -> Image:
    return np.full((height, width, 3), GREY, np.uint8)


def inspect(
    bundle: Path, image: Image, backend: BackendName = "onnxruntime", precision: Any = "int8", **more: Any
) -> Decision:
    (decision,) = pipeline_of(bundle, backend, precision, **more).inspect(Frame("line1", 0, image, 1))
    return decision


def pipeline_of(bundle: Path, backend: BackendName = "onnxruntime", precision: Any = "int8", **more: Any) -> Pipeline:
    slot = Engine(load_bundle(bundle), EngineSettings(backend=backend, precision=precision, threads=1)).slot()
    decider = make_decider(DecideSettings(per="frame"), "free")
    return Pipeline(slot=slot, decider=decider, clock=SystemClock(), **more)


def regions_of(decision: Decision) -> tuple[Region, ...]:
    evidence = decision.ruling.evidence
    assert evidence is not None
    assert evidence.regions is not None
    return evidence.regions


def near(region: Region, box: tuple[int, int, int, int], px: float) -> bool:
    x, y, width, height = box
    centre = (x + (width - 1) / 2, y + (height - 1) / 2)
    return (
        bool(np.abs(np.subtract(region.box, box)).max() <= px)
        and bool(np.abs(np.subtract(region.centre, centre)).max() <= px)
        and abs(region.area_px - width * height) <= px * 2 * (width + height)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("rule", "px"),
    [("stretch", 4), ("letterbox", 4), ("crop", 3), ("tile", 0)],
)
def test_a_region_is_told_in_pixels_of_the_frame(
    bundles: dict[str, Path], backend: BackendName, precision: str, rule: str, px: float
) -> None:
    image = picture(400, 260)
    boxes = {"scratch": (150, 96, 64, 16), "hole": (180, 150, 40, 32)}
    for (x, y, width, height), grey in zip(boxes.values(), (BRIGHT, DARK), strict=True):
        image[y : y + height, x : x + width] = grey
    decision = inspect(bundles[rule], image, backend, precision, roi=Roi(100, 60, 200, 140))
    regions = regions_of(decision)
    assert [region.label for region in regions] == ["hole", "scratch"]
    for region in regions:
        assert near(region, boxes[region.label], px), region
        assert region.area_percent == pytest.approx(region.area_px / (200 * 140) * 100, rel=0.02)
        assert region.score > 0.8
    assert decision.ruling.verdict == "reject"


def test_of_a_defect_across_tiles_there_is_one_region(bundles: dict[str, Path]) -> None:
    image = picture(200, 150)
    image[70:76, 10:190] = BRIGHT
    image[5:145, 100:104] = BRIGHT
    (region,) = regions_of(inspect(bundles["tile"], image))
    assert region.box == (10, 5, 180, 140)
    assert region.area_px == 6 * 180 + 4 * 140 - 4 * 6


def test_frames_of_other_sizes_may_follow_each_other(bundles: dict[str, Path]) -> None:
    pipeline = pipeline_of(bundles["tile"])
    for width, height in ((200, 150), (64, 64), (30, 500), (200, 150)):
        image = picture(width, height)
        image[-20:-10, 5:15] = DARK
        (decision,) = pipeline.inspect(Frame("line1", 0, image, 1))
        (region,) = regions_of(decision)
        assert region.box == (5, height - 20, 10, 10)


def test_tiles_cover_every_pixel_once_and_overlap() -> None:
    spec = InputSpec(64, 48, "GRAY", "tile", overlap=16)
    for height, width in ((48, 64), (49, 65), (10, 300), (333, 200)):
        owned = np.zeros((height, width), int)
        for rows, columns in grid(spec, height, width):
            assert 0 <= rows.start <= rows.own_start < rows.own_stop <= rows.stop <= height
            assert (rows.stop - rows.start, columns.stop - columns.start) == (min(48, height), min(64, width))
            owned[rows.own_start : rows.own_stop, columns.own_start : columns.own_stop] += 1
            if columns.own_start:  # half of the overlap lies between the edge of a tile and what counts of it
                assert columns.own_start - columns.start >= 8
        assert (owned == 1).all()


def test_too_many_tiles_are_told_and_the_next_frame_is_inspected(bundles: dict[str, Path]) -> None:
    pipeline = pipeline_of(bundles["tile"])
    with pytest.raises(BadFrameError, match=f"640x640 pixels takes 169 tiles of 64x64, and there may be {MOST_TILES}"):
        pipeline.inspect(Frame("line1", 0, picture(640, 640), 1))
    assert len(pipeline.inspect(Frame("line1", 1, picture(100, 100), 1))) == 1


@pytest.mark.parametrize("rule", ["stretch", "tile"])
def test_what_is_beside_a_part_is_blanked(bundles: dict[str, Path], rule: str) -> None:

    slot = Engine(load_bundle(bundles[rule]), EngineSettings(threads=1)).slot()
    reader = MaskReader(slot, {})
    image = picture(200, 100)
    image[40:60, 20:40] = DARK
    image[40:60, 120:140] = DARK
    for axis, start, stop, seen in ((0, 0.4, 0.8, 1), (0, 0.0, 1.0, 2), (0, 0.25, 0.5, 0), (1, 0.0, 0.3, 0)):
        reader.preprocess(image)
        reader.preprocess.blank(picture(50, 25), start, stop, axis)
        slot.infer()
        assert len(reader.read()[1]) == seen, (axis, start, stop)


def test_the_largest_regions_are_told_and_the_verdict_is_of_the_surest_defect(bundles: dict[str, Path]) -> None:
    image = picture(64, 64)
    for number in range(10):
        image[6 * number : 6 * number + 4, 0 : 4 + number] = BRIGHT
    decision = inspect(bundles["stretch"], image)
    regions = regions_of(decision)
    assert [region.area_px for region in regions] == [4 * (4 + number) for number in range(9, 1, -1)]
    assert decision.ruling.evidence is not None
    assert decision.ruling.evidence.classification.label == "scratch"
    classification = decision.ruling.evidence.classification
    assert classification.scores[0] == pytest.approx(1 - max(classification.scores[1:]))


def test_regions_that_are_too_small_are_passed_over(bundles: dict[str, Path]) -> None:
    image = picture(100, 100)
    image[10:20, 10:20] = DARK  # 100 px, 1 %
    image[50:60, 10:40] = BRIGHT  # 300 px, 3 %
    for hole, scratch, seen in (
        (Area(px=100), Area(), ["scratch", "hole"]),
        (Area(px=101), Area(), ["scratch"]),
        (Area(), Area(percent=3), ["scratch", "hole"]),
        (Area(percent=1.01), Area(percent=3.01), []),
    ):
        decision = inspect(bundles["tile"], image, min_area={"hole": hole, "scratch": scratch})
        assert [region.label for region in regions_of(decision)] == seen
        assert decision.ruling.verdict == ("reject" if seen else "pass")


def test_a_least_area_of_the_bundle_holds_until_the_line_has_another(tmp_path: Path) -> None:
    bundle = write_segmenter(tmp_path / "bundle", min_area={"hole": "2 %"})
    image = picture(64, 64)
    image[10:18, 10:18] = DARK  # 1.6 %
    assert regions_of(inspect(bundle, image)) == ()
    assert len(regions_of(inspect(bundle, image, min_area={"hole": Area(px=60)}))) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rule", ["stretch", "tile"])
def test_the_golden_check_sees_masks_that_differ(bundles: dict[str, Path], backend: Any, rule: str) -> None:
    bundle = load_bundle(bundles[rule])
    for precision in bundle.precisions:
        check_golden(load_backend(bundle, Plan(backend, "cpu", precision), EngineSettings()), bundle)
    wrong = bundle.manifest.model_copy(deep=True)
    wrong.golden.scores["fp32"][2] = wrong.golden.scores["fp32"][0]
    other = type(bundle)(bundle.path, wrong, bundle.golden_inputs)
    with pytest.raises(BundleError, match="golden input 2 scores otherwise"):
        check_golden(load_backend(bundle, Plan(backend, "cpu", "fp32"), EngineSettings()), other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"min_area": {"dent": 5}}, "min_area names 'dent', which is not one of labels"),
        ({"min_area": {"free": 5}}, "min_area names 'free', which is not one of labels, or is the pass_label"),
        ({"min_area": {"hole": "much"}}, "min_area of hole is 'much': it must be pixels, such as 40"),
        ({"absent_label": "hole"}, "absent_label is for the task classification"),
        ({"input": {"overlap": 8}}, "overlap is for resize tile, not for stretch"),
        ({"input": {"resize": "tile", "overlap": 64}}, "overlap is 64: tiles of 64x64 must be larger"),
        ({"task": "classification", "min_area": {"hole": 5}}, "min_area and resize tile are for the task segmentation"),
        ({"task": "detection"}, "'classification' or 'segmentation'"),
    ],
    ids=str,
)
def test_a_bundle_that_contradicts_itself(bundles: dict[str, Path], change: Any, said: str) -> None:
    folder = bundles["stretch"]
    before = (folder / "model.json").read_text()
    manifest = json.loads(before)
    manifest["input"] |= change.pop("input", {})
    try:
        (folder / "model.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(BundleError) as caught:
            load_bundle(folder)
    finally:
        (folder / "model.json").write_text(before)
    assert said in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_do_not_give_what_model_json_says(tmp_path: Path, backend: BackendName) -> None:
    settings = EngineSettings(backend=backend, precision="fp32", threads=1)
    fewer = write_segmenter(tmp_path / "fewer")
    manifest = json.loads((fewer / "model.json").read_text())
    manifest["labels"] = LABELS[:2]
    manifest["golden"]["scores"] = {p: [row[:2] for row in rows] for p, rows in manifest["golden"]["scores"].items()}
    (fewer / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"the mask has the number 2, and model\.json has 2 labels, numbered from 0"):
        Engine(load_bundle(fewer), settings)
    one_by_one = write_segmenter(tmp_path / "one", input={"resize": "tile", "overlap": 8})
    with pytest.raises(BundleError, match="takes one picture at a time, and resize tile needs one that takes several"):
        Engine(load_bundle(one_by_one), settings)
    smaller = write_segmenter(tmp_path / "smaller", 32)
    manifest = json.loads((smaller / "model.json").read_text())
    manifest |= {"task": "classification"}
    (smaller / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"gives 32 scores, model\.json has 3 labels"):
        Engine(load_bundle(smaller), settings)


def test_a_classifier_is_no_segmenter(broken_bundle: Path) -> None:
    manifest = json.loads((broken_bundle / "model.json").read_text())
    (broken_bundle / "model.json").write_text(json.dumps({**manifest, "task": "segmentation"}))
    with pytest.raises(BundleError, match=r"gives float32 \(1, 4\), and a segmenter gives its mask and its confidence"):
        Engine(load_bundle(broken_bundle), EngineSettings(precision="fp32"))


def test_the_stick_takes_no_segmenter(bundles: dict[str, Path]) -> None:
    plan = Plan("openvino", "ncs2", "fp32")
    with pytest.raises(BackendError, match="device ncs2 runs models of the task classification, and tiny is one of"):
        load_backend(load_bundle(bundles["stretch"]), plan, EngineSettings())


def test_only_logits_are_made_into_a_mask() -> None:
    model = graph(32, 1)
    append_mask(model)
    with pytest.raises(ValueError, match="has the outputs mask, confidence: keep the logits alone"):
        append_mask(model)
    flat = graph(32, 1)
    del flat.graph.output[0].type.tensor_type.shape.dim[2:]
    with pytest.raises(ValueError, match=r"is \[1, 3\]: logits are"):
        append_mask(flat)


def test_beside_a_region_that_is_smaller_than_a_tile_is_mid_grey() -> None:
    spec = InputSpec(64, 48, "GRAY", "tile", overlap=16)
    given: list[Image] = []

    def room(pictures: int) -> Image:
        given.append(np.zeros((pictures, 48, 64, 1), np.uint8))
        return given[-1]

    preprocess = TilePreprocessor(spec, room)
    preprocess(np.full((40, 100, 3), 200, np.uint8))
    preprocess(np.full((40, 100, 3), 210, np.uint8))
    (tiles,) = given
    assert tiles.shape == (2, 48, 64, 1)
    assert (tiles[:, :40] == 210).all()
    assert (tiles[:, 40:] == FILL).all()

import cv2
import numpy as np
import pytest

from edge.errors import BadFrameError
from edge.frame import Image
from edge.preprocess import InputSpec, Preprocessor, Roi


def picture(height: int = 60, width: int = 80) -> Image:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(spec: InputSpec, image: Image, roi: Roi | None = None) -> Image:
    target: Image = np.zeros(spec.shape, np.uint8)
    Preprocessor(spec, target)(roi.view(image) if roi else image)
    inside: Image = target[0]
    return inside


def test_same_size_bgr_is_copied_as_it_is() -> None:
    image = picture()
    assert np.array_equal(run(InputSpec(80, 60, "BGR"), image), image)


def test_the_order_of_the_channels_is_not_its_matter() -> None:
    image = picture()
    assert np.array_equal(run(InputSpec(80, 60, "RGB"), image), image)


def test_grey_is_one_channel_written_into_the_given_buffer() -> None:
    image = picture()
    wanted = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(run(InputSpec(80, 60, "GRAY"), image)[..., 0], wanted)


@pytest.mark.parametrize("colour", ["BGR", "RGB", "GRAY"])
def test_shrinking_averages_and_enlarging_interpolates(colour: str) -> None:
    constant = np.full((100, 120, 3), 77, np.uint8)
    for size in ((30, 20), (300, 200)):
        spec = InputSpec(*size, colour)  # type: ignore[arg-type]  # a parametrised literal
        assert (run(spec, constant) == 77).all()
    checkers = np.indices((64, 64)).sum(0) % 2 * np.uint8(200)
    image = np.repeat(checkers[..., None], 3, 2).astype(np.uint8)
    assert np.abs(run(InputSpec(32, 32, "BGR"), image).astype(int) - 100).max() <= 1


def test_letterbox_keeps_the_aspect_ratio_and_fills_with_grey() -> None:
    out = run(InputSpec(100, 100, "BGR", "letterbox"), np.full((50, 200, 3), 255, np.uint8))
    assert (out[38:62] == 255).all()
    assert (out[:37] == 127).all()
    assert (out[63:] == 127).all()


def test_letterbox_cleans_what_the_frame_before_left() -> None:
    spec = InputSpec(64, 64, "RGB", "letterbox")
    target = np.zeros(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    preprocess(np.full((64, 64, 3), 255, np.uint8))
    preprocess(np.full((16, 64, 3), 10, np.uint8))
    assert set(np.unique(target)) == {10, 127}


def test_roi_is_what_the_model_sees() -> None:
    image = picture()
    assert np.array_equal(run(InputSpec(20, 10, "BGR"), image, Roi(5, 7, 20, 10)), image[7:17, 5:25])


def test_roi_outside_of_the_frame_is_named() -> None:
    with pytest.raises(
        BadFrameError, match=r"roi \[70, 0, 20, 10\] does not fit into the 80x60 frame: make it smaller"
    ):
        run(InputSpec(20, 10, "BGR"), picture(), Roi(70, 0, 20, 10))


def test_the_buffer_must_be_the_models() -> None:
    with pytest.raises(ValueError, match="the model wants uint8"):
        Preprocessor(InputSpec(20, 10, "BGR"), np.zeros((1, 20, 10, 3), np.uint8))


def test_nothing_frame_sized_is_allocated() -> None:
    import tracemalloc

    spec = InputSpec(640, 480, "GRAY")
    preprocess = Preprocessor(spec, np.zeros(spec.shape, np.uint8))
    image = picture(720, 1280)
    preprocess(image)
    tracemalloc.start()
    for _ in range(5):
        preprocess(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000


@pytest.mark.parametrize("colour", ["BGR", "RGB", "GRAY"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("axis", [0, 1])
def test_blank_puts_the_background_beside_the_part(colour: str, resize: str, axis: int) -> None:
    spec = InputSpec(80, 40, colour, resize)  # type: ignore[arg-type]  # parametrised literals
    target = np.zeros(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    image, background = np.full((100, 100, 3), (10, 20, 30), np.uint8), np.full((50, 50, 3), (200, 210, 220), np.uint8)
    preprocess(image)
    before = target.copy()
    preprocess.blank(background, 0.25, 0.75, axis)
    area = preprocess.area if axis == 0 else preprocess.area.swapaxes(0, 1)
    values = {"BGR": (200, 210, 220), "RGB": (200, 210, 220), "GRAY": (212,)}[colour]
    quarter = area.shape[1] // 4
    assert (area[:, :quarter] == values).all()
    assert (area[:, -quarter:] == values).all()
    outside = np.concatenate([area[:, :quarter].ravel(), area[:, -quarter:].ravel()]).size
    assert np.count_nonzero(target != before) == outside
    assert target.shape[2] == 80
    assert preprocess.area.shape[:2] == ((40, 80) if resize == "stretch" else (40, 40))


def test_blank_of_nothing_changes_nothing() -> None:
    spec = InputSpec(30, 20, "BGR")
    target = np.zeros(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    preprocess(picture())
    before = target.copy()
    preprocess.blank(np.zeros((60, 80, 3), np.uint8), 0.0, 1.0, 0)
    assert np.array_equal(target, before)

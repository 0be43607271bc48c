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


def test_the_order_of_the_channels_is_not_its_business() -> None:
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


def test_letterbox_fills_when_the_size_changes_and_not_again() -> None:
    spec = InputSpec(64, 64, "BGR", "letterbox")
    target = np.zeros(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    preprocess(np.full((16, 64, 3), 10, np.uint8))
    target[0, 0] = 99
    preprocess(np.full((16, 64, 3), 20, np.uint8))
    assert set(np.unique(target)) == {20, 99, 127}


@pytest.mark.parametrize(("height", "width"), [(100, 300), (300, 100)])
def test_crop_shows_the_middle_in_its_own_proportions(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[(height - 100) // 2 : (height + 100) // 2, (width - 100) // 2 : (width + 100) // 2] = 200
    assert (run(InputSpec(50, 50, "BGR", "crop"), image) == 200).all()


def test_crop_of_the_same_proportions_is_the_whole_picture() -> None:
    image = picture(60, 80)
    assert np.array_equal(run(InputSpec(80, 60, "BGR", "crop"), image), image)


def averaged(image: Image, height: int, width: int) -> np.ndarray:
    """What averaging over exactly what becomes one pixel gives, in floating point."""

    def weights(size: int, into: int) -> np.ndarray:
        edges = np.arange(into + 1)[:, None] * size / into
        pixels = np.arange(size)
        shares: np.ndarray = (
            np.clip(np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels), 0, 1) * into / size
        )
        return shares

    rows = np.tensordot(weights(image.shape[0], height), image.astype(float), 1)
    return np.asarray(np.einsum("jb,ibc->ijc", weights(image.shape[1], width), rows, optimize=True))


@pytest.mark.parametrize(
    ("height", "width"), [(720, 1280), (480, 640), (240, 320), (1080, 1920), (100, 1280), (201, 301)]
)
@pytest.mark.parametrize("resize", ["stretch", "crop"])
def test_shrinking_is_as_good_as_averaging(height: int, width: int, resize: str) -> None:
    """Within 2 grey levels in the mean, on a scene with edges and the noise of a camera."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    scene = np.repeat((110 + 40 * np.sin(x / 90) + 30 * np.cos(y / 70))[..., None], 3, 2)
    for _ in range(30):
        where = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(
            scene, where, int(rng.integers(2, 3 + width // 40)), rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA
        )
    image = np.clip(scene + rng.normal(0, 6, scene.shape), 0, 255).astype(np.uint8)
    side = min(height, width)
    part = image[(height - side) // 2 :, (width - side) // 2 :][:side, :side] if resize == "crop" else image
    out = run(InputSpec(96, 96, "BGR", resize), image)  # type: ignore[arg-type]  # a parametrised literal
    difference = np.abs(out - averaged(part, 96, 96)).mean()
    assert difference < 2


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("thick", [1, 2, 3])
def test_a_scratch_survives_wherever_it_lies(thick: int, *, down: bool) -> None:
    target = np.zeros((1, 224, 224, 3), np.uint8)
    preprocess = Preprocessor(InputSpec(224, 224, "BGR"), target)
    for place in range(300, 330):
        image = np.full((720, 1280, 3), 100, np.uint8)
        line = (slice(None), slice(place, place + thick)) if down else (slice(place, place + thick), slice(None))
        image[line] = 255
        preprocess(image)
        contrast = (target[0, 50:-50, 50:-50].astype(float) - 100).max()
        # The average of a thin line is faintest where it falls on the border of two pixels: half of what it is inside.
        assert contrast > 0.75 * 155 * thick * (224 / 1280 if down else 224 / 720) / 2, place


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


@pytest.mark.parametrize("axis", [0, 1])
def test_blank_with_crop_counts_from_the_edge_of_the_whole_picture(axis: int) -> None:
    """A picture three times as long as the input shows its middle third: 0 to 1 of it is 1/3 to 2/3 of the picture."""
    spec = InputSpec(60, 60, "BGR", "crop")
    target = np.zeros(spec.shape, np.uint8)
    preprocess = Preprocessor(spec, target)
    shape = (100, 300, 3) if axis == 0 else (300, 100, 3)
    preprocess(np.full(shape, 10, np.uint8))
    background = np.full((shape[0] // 2, shape[1] // 2, 3), 200, np.uint8)
    preprocess.blank(background, 0.5, 0.9, axis)
    shown = target[0, :, :, 0] if axis == 0 else target[0, :, :, 0].T
    assert (shown[:, :29] == 200).all()
    assert (shown[:, 31:] == 10).all()
    preprocess(np.full(shape, 10, np.uint8))
    preprocess.blank(background, 0.0, 0.3, axis)
    assert (target == 200).all()


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

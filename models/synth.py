"""Pictures of metal-like parts on a conveyor belt, for training and demos without a factory.

From the bottom up: a `Part` is drawn once on its own patch, a `Scene` holds what a camera sees besides parts, and
`render_frame` puts the two together. All randomness comes from the generator that is passed in: the same seed gives
the same pixels. `models.synth_clip` makes labelled frames, datasets and video clips of them.

Training uses seeds below `FIRST_HELD_OUT_SEED`; the demo clip and the tests use seeds from there on, so that no model
is judged on a part that it has learnt.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

LABELS = ("ok", "scratch", "stain", "deformation")
WIDTH, HEIGHT = 320, 240
FIRST_HELD_OUT_SEED = 1_000_000

Image = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

_PATCH = 192  # px; a part with its bulge, shadow and chamfer fits in
_AXIS = np.arange(_PATCH, dtype=np.float32) - _PATCH / 2
_X, _Y = np.meshgrid(_AXIS, _AXIS)  # px from the part's centre
_ANGLES = np.linspace(0, 2 * np.pi, 360, endpoint=False)


@dataclass(frozen=True, eq=False)
class Part:
    """One drawn part, on a square patch with the part's centre in the middle.

    Attributes:
        label: one of `LABELS`.
        pixels: float32 (192, 192, 3), BGR, 0 to 255 before light and exposure.
        alpha: float32 (192, 192), 1 where the part covers the belt, 0 in its holes and around it.
        shadow: float32 (192, 192), 0 to 1, how much of the belt's light the part takes.
        defect_mask: uint8 (192, 192), 255 where the defect is; all 0 for `ok`.
        half_width: px from the centre to the farther of its left and right ends.
        y_offset: px by which it lies off the belt's middle line.
    """

    label: str
    pixels: Plane
    alpha: Plane
    shadow: Plane
    defect_mask: Image
    half_width: int
    y_offset: int


@dataclass(frozen=True, eq=False)
class Scene:
    """What does not change from frame to frame: the belt, the light and the camera.

    Attributes:
        belt: float32 (240, 320, 3), BGR; its left and right ends match, so that it can run round.
        light: float32 (240, 320, 1), factor on every pixel: lamp gradient, vignette and exposure.
        blur: sigma of the lens blur in px.
        noise: sigma of the sensor noise in grey levels.
        flicker: sigma of the light's change from frame to frame, relative.
    """

    belt: Plane
    light: Plane
    blur: float
    noise: float
    flicker: float


def make_scene(rng: np.random.Generator) -> Scene:
    """Draw a belt, its light and a camera."""
    grain = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
    wide = np.pad(grain, ((0, 0), (16, 16)), mode="wrap")  # the blur sees round the belt's joint
    coarse = _blur(wide, 3.0)[:, 16:-16] * 10
    fine = _blur(wide, 0.8)[:, 16:-16] * 3
    ribs = np.sin(np.arange(WIDTH) * 2 * np.pi / rng.choice([8, 10, 16])) * rng.uniform(0, 3)
    colour = rng.uniform(40, 75) * rng.uniform(0.88, 1.12, 3)
    belt = colour + (rng.uniform(0.5, 1.2) * (coarse + fine) + ribs)[..., None]

    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    slope_x, slope_y = rng.uniform(-0.12, 0.12, 2)
    light = rng.uniform(0.85, 1.12) * (1 + slope_x * x + slope_y * y - rng.uniform(0, 0.12) * (x * x + y * y))
    return Scene(
        belt=np.asarray(belt, np.float32),
        light=np.asarray(light[..., None], np.float32),
        blur=float(rng.uniform(0.3, 0.8)),
        noise=float(rng.uniform(1, 4)),
        flicker=0.01,
    )


def make_part(label: str, rng: np.random.Generator) -> Part:
    """Draw one part.

    Its body and its defect come from two streams: with a generator of the same seed, another label gives the same
    part with another defect, and `ok` gives it clean.

    Args:
        label: one of `LABELS`.
        rng: the only source of randomness.

    Raises:
        ValueError: `label` is not one of `LABELS`.
    """
    if label not in LABELS:
        raise ValueError(f"label {label!r} is not one of {', '.join(LABELS)}.")
    body, flaw = rng.spawn(2)
    round_part = body.random() < 0.45
    half_x = body.uniform(50, 60)
    half_y = half_x if round_part else body.uniform(42, 66)
    power = 2.0 if round_part else body.uniform(6, 12)  # superellipse: 2 is a disc, the rest plates with round corners
    radii = _superellipse(half_x, half_y, power)
    tilt = body.uniform(-0.12, 0.12)
    holes = _holes(round_part, half_x, half_y, tilt, body)

    clean_alpha = alpha = _silhouette(radii, 0.0, tilt, holes)
    relief = np.zeros_like(alpha)
    if label == "deformation":
        alpha, relief = _deform(radii, tilt, holes, flaw, can_bend=not round_part)
    light_angle = body.uniform(-2.6, -0.5)  # the lamp hangs above the belt's far side
    pixels = _surface(round_part, body) + (_chamfer(alpha, light_angle, body) + relief)[..., None]
    defect = np.zeros_like(alpha)
    if label == "scratch":
        defect = _scratch(pixels, alpha, min(half_x, half_y), flaw)
    elif label == "stain":
        defect = _stain(pixels, alpha, min(half_x, half_y), flaw)
    elif label == "deformation":
        defect = np.maximum(np.abs(alpha - clean_alpha) > 0.5, np.abs(relief) * alpha > 10).astype(np.float32)

    columns = np.flatnonzero((alpha > 0.05).any(axis=0))
    shifted = np.asarray(np.roll(alpha, (5, 4), axis=(0, 1)), np.float32)
    return Part(
        label=label,
        pixels=np.clip(pixels, 0, 255),
        alpha=alpha,
        shadow=0.5 * _blur(shifted, 4.0),
        defect_mask=np.where(defect > 0.3, 255, 0).astype(np.uint8),
        half_width=int(max(_PATCH // 2 - columns[0], columns[-1] + 1 - _PATCH // 2)),
        y_offset=int(body.integers(-10, 11)),
    )


def render_frame(
    scene: Scene, parts: list[tuple[Part, float]], rng: np.random.Generator, *, belt_shift: int = 0
) -> tuple[Image, Image]:
    """Take one picture of the scene with parts on it.

    Args:
        scene: belt, light and camera.
        parts: each with the x of its centre in px; it may lie partly or wholly out of view.
        rng: noise and flicker of this one frame.
        belt_shift: px by which the belt has run to the right.

    Returns:
        The frame, uint8 (240, 320, 3) BGR, and the mask of every defect in view, uint8 (240, 320), 0 or 255.
    """
    canvas = np.roll(scene.belt, belt_shift, axis=1)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for part, x_centre in parts:
        overlap = window(part, x_centre)
        if overlap is None:
            continue
        there, here = overlap
        under = canvas[there] * (1 - part.shadow[here][..., None])
        canvas[there] = under + part.alpha[here][..., None] * (part.pixels[here] - under)
        mask[there] |= part.defect_mask[here]
    gain = np.float32(1 + scene.flicker * rng.standard_normal())
    seen = _blur(np.asarray(canvas * (scene.light * gain), np.float32), scene.blur)
    seen += np.float32(scene.noise) * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.clip(seen + 0.5, 0, 255).astype(np.uint8), mask


def wholly_in_view(part: Part, x_centre: float) -> bool:
    """Whether no edge of the part is cut off by the frame's left or right end."""
    x = round(x_centre)
    return x - part.half_width >= 0 and x + part.half_width <= WIDTH


def window(part: Part, x_centre: float) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Where the part's patch lies in the frame, and which of the patch lies there; None when nothing does."""
    left = round(x_centre) - _PATCH // 2
    top = HEIGHT // 2 - _PATCH // 2 + part.y_offset
    start, stop = max(left, 0), min(left + _PATCH, WIDTH)
    if start >= stop:
        return None
    there = (slice(top, top + _PATCH), slice(start, stop))
    return there, (slice(0, _PATCH), slice(start - left, stop - left))


def _blur(plane: npt.NDArray[Any], sigma: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma), np.float32)


def _superellipse(half_x: float, half_y: float, power: float) -> npt.NDArray[np.float64]:
    """Radius in px at each of `_ANGLES`: |x / half_x|^power + |y / half_y|^power = 1."""
    sides = np.abs(np.cos(_ANGLES) / half_x) ** power + np.abs(np.sin(_ANGLES) / half_y) ** power
    return np.asarray(sides ** (-1 / power), np.float64)


def _holes(
    round_part: bool, half_x: float, half_y: float, tilt: float, rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """Drilled holes as x, y and radius in px: none, one in the middle, or one near each corner."""
    kind = rng.integers(3)
    if kind == 0:
        return []
    if kind == 1:
        return [(0.0, 0.0, float(rng.uniform(8, 15)))]
    reach, radius = (0.42, 5.0) if round_part else (0.62, 6.0)
    cos, sin = np.cos(tilt), np.sin(tilt)
    corners = [(i * reach * half_x, j * reach * half_y) for i in (-1, 1) for j in (-1, 1)]
    return [(float(x * cos - y * sin), float(x * sin + y * cos), radius) for x, y in corners]


def _silhouette(
    radii: npt.NDArray[np.float64], bend: float, tilt: float, holes: list[tuple[float, float, float]]
) -> Plane:
    """Fill the outline: float32 (192, 192), 0 to 1. `bend` is how far in px the ends are pushed down."""
    x, y = radii * np.cos(_ANGLES), radii * np.sin(_ANGLES)
    y = y + bend * ((x / np.abs(x).max()) ** 2 - 0.4)
    cos, sin = np.cos(tilt), np.sin(tilt)
    outline = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1) + _PATCH / 2
    large = np.zeros((4 * _PATCH, 4 * _PATCH), np.uint8)  # drawn large and shrunk, for smooth edges
    cv2.fillPoly(large, [np.round(outline * 4).astype(np.int32)], (255,))
    for hole_x, hole_y, radius in holes:
        centre = (round((hole_x + _PATCH / 2) * 4), round((hole_y + _PATCH / 2) * 4))
        cv2.circle(large, centre, round(radius * 4), (0,), -1)
    drawn = cv2.resize(large, (_PATCH, _PATCH), interpolation=cv2.INTER_AREA)
    return np.asarray(drawn / 255, np.float32)


def _surface(round_part: bool, rng: np.random.Generator) -> Plane:
    """Brushed or turned metal with what is harmless on it, dust and glare: float32 (192, 192, 3)."""
    if round_part and rng.random() < 0.5:  # turned on a lathe: rings
        rings = rng.standard_normal(_PATCH) * 0.45
        grain = np.asarray(np.interp(np.hypot(_X, _Y), np.arange(_PATCH), rings), np.float32)
    else:
        angle = rng.choice([0.0, 90.0]) + rng.uniform(-10, 10)
        lines = cv2.blur(rng.standard_normal((_PATCH, _PATCH), dtype=np.float32), (41, 1))
        turn = cv2.getRotationMatrix2D((_PATCH / 2, _PATCH / 2), angle, 1)
        grain = np.asarray(cv2.warpAffine(lines, turn, (_PATCH, _PATCH), borderMode=cv2.BORDER_REFLECT) * 3, np.float32)
    shade = grain * rng.uniform(6, 14)
    glare_x, glare_y = rng.uniform(-45, 45, 2)
    distance = (_X - glare_x) ** 2 + (_Y - glare_y) ** 2
    shade = shade + rng.uniform(0, 32) * np.exp(-distance / (2 * rng.uniform(18, 34) ** 2))
    dust = np.zeros((_PATCH, _PATCH), np.float32)
    specks = rng.integers(0, _PATCH, (2, rng.integers(0, 60)))
    dust[specks[0], specks[1]] = rng.uniform(-70, 90, specks.shape[1])
    colour = rng.uniform(138, 182) * rng.uniform(0.96, 1.04, 3)
    return np.asarray(colour + (shade + _blur(dust, 0.7))[..., None], np.float32)


def _chamfer(alpha: Plane, light_angle: float, rng: np.random.Generator) -> Plane:
    """Light on the broken edges, holes included: bright towards the lamp and dark away from it, in grey levels."""
    slope = _blur(alpha, rng.uniform(1.6, 2.6))
    return rng.uniform(140, 220) * _towards(slope, light_angle)


def _towards(height: Plane, light_angle: float) -> Plane:
    """How far each point of a height map leans towards the light, as slope per px."""
    fall_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    fall_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.asarray(-(np.cos(light_angle) * fall_x + np.sin(light_angle) * fall_y), np.float32)


def _deform(
    radii: npt.NDArray[np.float64],
    tilt: float,
    holes: list[tuple[float, float, float]],
    rng: np.random.Generator,
    *,
    can_bend: bool,
) -> tuple[Plane, Plane]:
    """Bend, dent or bulge the outline; return its new alpha and the light and dark of the sheet there, in grey."""
    if can_bend and rng.random() < 0.35:
        bend = rng.uniform(15, 21) * rng.choice([-1, 1])
        relief = np.asarray(np.sign(bend) * rng.uniform(30, 42) * _X / 55, np.float32)
        return _silhouette(radii, float(bend), tilt, holes), relief
    where, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.17, 0.27)
    off = np.angle(np.exp(1j * (_ANGLES - where)))
    depth = rng.uniform(11, 15) * rng.choice([-1, 1])  # px; dents and bulges
    alpha = _silhouette(radii + depth * np.exp(-((off / spread) ** 2) / 2), 0.0, tilt, holes)
    reach = np.interp(where, _ANGLES, radii) + min(depth, 0) - 3
    x, y = reach * np.cos(where + tilt), reach * np.sin(where + tilt)
    bump = np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / (2 * 10.0**2)).astype(np.float32)
    relief = np.sign(depth) * rng.uniform(900, 1200) * _towards(bump, -1.2)
    return alpha, np.asarray(relief, np.float32)


def _scratch(pixels: Plane, alpha: Plane, size: float, rng: np.random.Generator) -> Plane:
    """Draw one or two thin curved strokes, bright or dark, onto `pixels`; return where, 0 to 1.

    A hole may swallow a stroke: more are drawn until there is something to see.
    """
    drawn = np.zeros((_PATCH, _PATCH), np.uint8)
    angle = rng.uniform(0, np.pi)
    step = np.linspace(-1, 1, 24)
    wanted = rng.integers(1, 3)
    for i in range(6):
        if i >= wanted and np.count_nonzero((drawn > 100) & (alpha > 0.9)) >= 130:
            break
        middle = rng.uniform(-0.35, 0.35, 2) * size
        half, sag = size * rng.uniform(0.45, 0.75), size * rng.uniform(-0.16, 0.16)
        along, across = step * half, (step**2 - 0.4) * sag + rng.normal(0, 0.35, step.size)
        x = middle[0] + along * np.cos(angle) - across * np.sin(angle)
        y = middle[1] + along * np.sin(angle) + across * np.cos(angle)
        points = np.round((np.stack([x, y], axis=1) + _PATCH / 2) * 16).astype(np.int32)
        cv2.polylines(drawn, [points], False, (255,), 1, cv2.LINE_AA, 4)
        deep = points[rng.integers(2, 7) : rng.integers(17, 22)]  # it starts and ends shallow
        cv2.polylines(drawn, [deep], False, (255,), 2, cv2.LINE_AA, 4)
        angle += rng.uniform(-0.5, 0.5)  # what scrapes twice scrapes alike
    stroke = drawn.astype(np.float32) / 255 * (alpha > 0.9)
    burr = np.roll(stroke, (2, 1), axis=(0, 1)) * (1 - stroke) * alpha
    bright = rng.random() < 0.4 and pixels.mean() < 168  # on light metal a bright one would drown
    contrast = rng.uniform(75, 110) * (1 if bright else -1)
    pixels += ((stroke - 0.3 * burr) * np.float32(contrast))[..., None]
    return np.asarray(stroke, np.float32)


def _stain(pixels: Plane, alpha: Plane, size: float, rng: np.random.Generator) -> Plane:
    """Blend one to three soft dark blots into `pixels`; return where, 0 to 1."""
    field = np.zeros_like(alpha)
    x, y = rng.uniform(-0.55, 0.55, 2) * size
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(9, 15)
        field += np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / (2 * radius**2)).astype(np.float32)
        x, y = np.clip(rng.normal((x, y), 11), -0.6 * size, 0.6 * size)
    ragged = _blur(rng.standard_normal(alpha.shape, dtype=np.float32), 4.0) * 14
    cover = np.clip((field * (1 + 0.35 * ragged) - 0.3) / 0.4, 0, 1) * alpha
    colour = np.asarray(rng.uniform(0.7, 1.2) * np.array([35, 55, 75]), np.float32)  # oil to rust
    pixels += (cover * np.float32(rng.uniform(0.55, 0.8)))[..., None] * (colour - pixels)
    return np.asarray(cover, np.float32)

"""What a camera sees of a line: a belt of some style that runs in any direction, and parts on it.

Faster than `models.synth.render_frame`, because a part is cut out once and the noise is drawn once; the parts are the
same. `models.synth_line` films clips with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.synth import HEIGHT, WIDTH, Image, Plane, make_part, make_scene

DIRECTIONS = ("right", "left", "down", "up")
STYLES = ("textured", "plain", "cleats", "low", "bright")
"""All but `bright`, dark parts on a bright belt, look to `models/surface-demo` like what it was trained with."""

_LOOP = 960  # px; the belt's pattern comes round
_MARGIN = 4  # px; the belt reaches beyond the picture, because it wanders
_NOISES = 8  # pictures of noise, of which each frame takes a piece: drawing it anew would take most of the time


@dataclass(frozen=True, eq=False)
class Sprite:
    """A part ready to be pasted: `belt * keep + add`.

    Attributes:
        label: one of `models.synth.LABELS`.
        keep: uint8 (h, w, 1), how much of the belt is still seen, 255 is all of it.
        add: uint8 (h, w, 3), BGR.
        corner: y and x of its upper left pixel from the part's centre, px.
        x_span: first column and the one after the last, from the part's centre; its shadow does not count.
        y_span: the same of rows.
        across: px by which it lies off the belt's middle line.
    """

    label: str
    keep: Image
    add: Image
    corner: tuple[int, int]
    x_span: tuple[int, int]
    y_span: tuple[int, int]
    across: int


@dataclass(frozen=True, eq=False)
class Line:
    """What stands in front of the camera, and the camera.

    Attributes:
        direction: one of `DIRECTIONS`; `down` and `up` are filmed upright.
        width: px.
        height: px.
        belt: float32 (across + 2 margins, loop + view, 3), along the belt's run from left to right.
        lamp: float32 (height, width, 3), factor on every pixel.
        blur: sigma of the lens blur in px.
        shutter: for which part of a frame's time it is open.
        noise: float32 (n, height + 64, width + 64, 3), grey levels.
    """

    direction: str
    width: int
    height: int
    belt: Plane
    lamp: Plane
    blur: float
    shutter: float
    noise: Plane

    @property
    def upright(self) -> bool:
        """Whether parts move down or up."""
        return self.direction in {"down", "up"}

    @property
    def view(self) -> int:
        """Px of the belt that are in view."""
        return self.height if self.upright else self.width

    def along(self, centre: int) -> int:
        """The x (upright: y) in the picture of what has come `centre` px into view."""
        return centre if self.direction in {"right", "down"} else self.view - centre

    def span(self, sprite: Sprite, centre: int) -> tuple[int, int]:
        """Where the part begins in the picture, and the first px after it; it may lie out of view."""
        low, high = sprite.y_span if self.upright else sprite.x_span
        return self.along(centre) + low, self.along(centre) + high


@dataclass(frozen=True, slots=True)
class Moment:
    """What changes from frame to frame.

    Attributes:
        shift: px that the belt has run.
        speed: px per frame, for the motion blur.
        off: px by which the belt lies off its middle line.
        gain: factor on the light.
    """

    shift: int
    speed: float
    off: int
    gain: float


def make_line(direction: str, style: str, rng: np.random.Generator) -> Line:
    """Draw a belt, its light and a camera."""
    scene = make_scene(rng)
    upright = direction in {"down", "up"}
    width, height = (HEIGHT, WIDTH) if upright else (WIDTH, HEIGHT)
    belt = np.tile(_belt(style, scene.belt, rng), (1, 2, 1))[:, : _LOOP + WIDTH]
    belt = np.pad(belt, ((_MARGIN, _MARGIN), (0, 0), (0, 0)), mode="reflect")
    lamp = cv2.resize(scene.light[..., 0], (width, height)) / scene.light.mean() * rng.uniform(0.8, 0.95)
    noise = rng.standard_normal((_NOISES, height + 64, width + 64, 3), dtype=np.float32) * rng.uniform(0.8, 2.0)
    return Line(
        direction=direction,
        width=width,
        height=height,
        belt=np.ascontiguousarray(belt.transpose(1, 0, 2) if upright else belt, np.float32),
        lamp=np.ascontiguousarray(np.repeat(lamp[..., None], 3, axis=2), np.float32),
        blur=float(rng.uniform(0.3, 0.9)),
        shutter=float(rng.uniform(0.1, 0.4)),
        noise=np.asarray(noise, np.float32),
    )


def make_sprite(label: str, style: str, rng: np.random.Generator) -> Sprite:
    """Draw a part and cut it out."""
    part = make_part(label, rng)
    pixels = part.pixels * 0.5 if style == "bright" else part.pixels
    keep = (1 - part.alpha) * (1 - part.shadow)
    rows, columns = (np.flatnonzero((keep < 0.99).any(axis=axis)) for axis in (1, 0))
    cut = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    middle = part.alpha.shape[0] // 2
    solid = part.alpha > 0.05
    spans = [
        (int(at[0]) - middle, int(at[-1]) + 1 - middle) for at in map(np.flatnonzero, (solid.any(0), solid.any(1)))
    ]
    return Sprite(
        label=label,
        keep=np.round(keep[cut][..., None] * 255).astype(np.uint8),
        add=np.round((part.alpha[..., None] * pixels)[cut]).astype(np.uint8),
        corner=(int(rows[0]) - middle, int(columns[0]) - middle),
        x_span=spans[0],
        y_span=spans[1],
        across=part.y_offset,
    )


def take_picture(line: Line, sprites: list[tuple[Sprite, int]], moment: Moment, rng: np.random.Generator) -> Image:
    """One frame, uint8 (height, width, 3) BGR.

    Args:
        line: belt, light and camera.
        sprites: those in view, each with how far its centre has come into view, px.
        moment: where the belt is, and the light.
        rng: the noise of this frame.
    """
    sense = -1 if line.direction in {"right", "down"} else 1
    start, side = sense * moment.shift % _LOOP, _MARGIN - moment.off
    if line.upright:
        canvas = line.belt[start : start + line.height, side : side + line.width].copy()
    else:
        canvas = line.belt[side : side + line.height, start : start + line.width].copy()
    for sprite, centre in sprites:
        _paste(canvas, line, sprite, line.along(centre), moment.off)
    seen = cv2.multiply(canvas, line.lamp, scale=moment.gain)
    smear = round(abs(moment.speed) * line.shutter)
    if smear > 1:
        seen = cv2.blur(seen, (1, smear) if line.upright else (smear, 1))
    seen = cv2.GaussianBlur(seen, (0, 0), line.blur)
    n, y, x = rng.integers(0, (_NOISES, 64, 64))
    noise = line.noise[n, y : y + line.height, x : x + line.width]
    return np.asarray(cv2.add(seen, noise, dtype=cv2.CV_8U), np.uint8)


def _paste(canvas: Plane, line: Line, sprite: Sprite, along: int, off: int) -> None:
    across = (line.width if line.upright else line.height) // 2 + sprite.across + off
    y, x = (along, across) if line.upright else (across, along)
    top, left = y + sprite.corner[0], x + sprite.corner[1]
    bottom, right = min(top + sprite.keep.shape[0], line.height), min(left + sprite.keep.shape[1], line.width)
    first_y, first_x = max(top, 0), max(left, 0)
    if first_y >= bottom or first_x >= right:
        return
    there = slice(first_y, bottom), slice(first_x, right)
    here = slice(first_y - top, bottom - top), slice(first_x - left, right - left)
    canvas[there] = canvas[there] * (sprite.keep[here] * np.float32(1 / 255)) + sprite.add[here]


def _belt(style: str, plain_belt: Plane, rng: np.random.Generator) -> Plane:
    """The belt's pattern: float32 (240, loop, 3), BGR, its ends match."""
    belt: Plane = np.tile(plain_belt, (1, _LOOP // WIDTH, 1))
    colour = belt.mean(axis=(0, 1))
    if style == "plain":
        return np.asarray(colour + (belt - colour) * 0.15, np.float32)
    if style == "low":
        return np.asarray(belt + rng.uniform(35, 55), np.float32)
    if style == "bright":
        return np.asarray(belt - colour + rng.uniform(165, 195) * np.sqrt(colour / colour.mean()), np.float32)
    if style == "cleats":
        pitch = int(rng.choice([96, 120, 160, 192, 240, 320]))
        thick = int(rng.integers(5, 13))
        bar = np.zeros(_LOOP, np.float32)
        for start in range(0, _LOOP, pitch):
            bar[start : start + thick] = rng.choice([-1, 1]) * rng.uniform(4, 13)
        belt += cv2.GaussianBlur(bar[None], (5, 1), 1)[..., None]
        for _ in range(4):  # spots of paint
            centre = int(rng.integers(20, _LOOP - 20)), int(rng.integers(10, HEIGHT - 10))
            cv2.circle(belt, centre, int(rng.integers(3, 9)), (95, 100, 105), -1)
    return np.asarray(belt, np.float32)

"""What the model said about one frame."""

from typing import NamedTuple


class Region(NamedTuple):
    """A place that shows a defect, found by a model that draws masks. In pixels of the frame.

    Attributes:
        label: the defect.
        score: mean confidence of its pixels, 0 to 1.
        area_px: how many pixels.
        area_percent: the same, of the region of interest.
        box: x, y, width, height.
        centre: x, y of its centre of gravity.
    """

    label: str
    score: float
    area_px: int
    area_percent: float
    box: tuple[int, int, int, int]
    centre: tuple[float, float]


class Classification(NamedTuple):
    """Scores of one frame.

    Attributes:
        labels: the labels of the model, in its order.
        scores: softmax values, 0 to 1, one per label.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> int:
        """Position of the highest score; the first one of equals."""
        return self.scores.index(max(self.scores))

    @property
    def label(self) -> str:
        """The label with the highest score."""
        return self.labels[self.best]

    @property
    def score(self) -> float:
        """The highest score."""
        return max(self.scores)

    def top(self, count: int) -> list[tuple[str, float]]:
        """The `count` best labels with their scores, best first."""
        order = sorted(range(len(self.labels)), key=lambda i: -self.scores[i])
        return [(self.labels[i], self.scores[i]) for i in order[:count]]


class Answer(NamedTuple):
    """What the engine gave for one picture, and how long that took, nanoseconds.

    Attributes:
        scores: softmax values, 0 to 1, one per label.
    """

    scores: tuple[float, ...]
    preprocess_ns: int
    infer_ns: int

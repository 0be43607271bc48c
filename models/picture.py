"""Pictures for people: how a training went."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed
from matplotlib import pyplot


def draw_curves(history: list[dict[str, float]], path: Path, title: str) -> None:
    """Losses on the left, figures of the pictures held out on the right, over the epochs, as PNG."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for key in dict.fromkeys(name for row in history for name in row if name != "epoch"):
        side = left if key.endswith("_loss") else right
        measured = [row for row in history if key in row]
        marker = "" if side is left else "o"
        label = key.replace("_", " ")
        side.plot([row["epoch"] for row in measured], [row[key] for row in measured], marker=marker, label=label)
    left.set(xlabel="epoch", ylabel="loss", title=f"{title}: training")
    right.set(xlabel="epoch", ylim=(0, 1), title="pictures held out")
    right.grid(visible=True, alpha=0.3)
    for side in (left, right):
        side.legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)

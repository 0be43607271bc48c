"""Pictures for people: how a training went."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed
from matplotlib import pyplot


def draw_curves(history: list[dict[str, float]], path: Path, title: str) -> None:
    """Losses on the left, balanced accuracy on the pictures held out on the right, over the epochs, as PNG."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for key in ("label_loss", "map_loss", "dice_loss"):
        left.plot(epochs, [row[key] for row in history], label=key.replace("_", " "))
    left.set(xlabel="epoch", ylabel="loss", title=f"{title}: training")
    left.legend()
    measured = [row for row in history if "balanced_accuracy" in row]
    right.plot([row["epoch"] for row in measured], [row["balanced_accuracy"] for row in measured], marker="o")
    right.set(xlabel="epoch", ylabel="balanced accuracy", ylim=(0, 1), title="pictures held out")
    right.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)

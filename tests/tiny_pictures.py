"""A folder of tiny labelled pictures: good ones, and ones with a dark hole, with masks."""

from pathlib import Path

import cv2
import numpy as np


def write_pictures(folder: Path, labels: tuple[str, str] = ("ok", "hole"), count: int = 24) -> Path:
    rng = np.random.default_rng(1)
    rows = ["image,label,tile,fold,split"]
    for label in labels:
        (folder / "images" / label).mkdir(parents=True)
        (folder / "masks" / label).mkdir(parents=True)
        for number in range(count):
            picture = rng.integers(90, 150, (40, 48), np.uint8)
            if label == labels[1]:
                mask = np.zeros_like(picture)
                x, y = rng.integers(2, 24, 2)
                mask[y : y + 14, x : x + 14] = 255
                picture[mask > 0] = 10
                (folder / "masks" / label / f"{number}.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
            name = f"images/{label}/{number}.png"
            (folder / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            fold = number % 3
            rows.append(f"{name},{label},{label}-{number},{fold},{'val' if fold == 0 else 'train'}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder

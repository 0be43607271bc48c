"""From pictures that are kept to a folder that the workshop trains on.

    DIR/images/LABEL/LINE-ID.jpg     what a person has said that it shows, else what it was rejected for
    DIR/unlabelled/LINE-ID.jpg       reviews that nobody has looked at yet: the workshop does not read them
    DIR/decisions.jsonl              the decision on each of them

What the region of interest leaves out is cut off, for the model never saw it. A folder that has an index.csv keeps one.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from edge.errors import PermanentError
from service.evidence.item import Item
from service.evidence.picture import decoded, jpeg

FOLDS = 5
"""As the workshop has it: a picture falls into one of five by a hash of its name, and fold 0 is for validation."""
QUALITY = 95
"""Of what is cut out: it is a JPEG for the second time."""
UNLABELLED = "unlabelled"


class Export:
    """A folder that pictures are put into; one that is there is added to.

    Args:
        output: the folder.

    Raises:
        PermanentError: it cannot be made.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self.labels: Counter[str] = Counter()
        """Pictures by label, new and old ones."""
        self.unlabelled = 0
        self.damaged = 0
        """Pictures that could not be read, or left meanwhile."""
        self._decisions: list[str] = []
        self._rows: dict[str, str] = {}
        """Labels of images by their names below the folder."""
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def take(self, found: Iterable[tuple[Item, Path]], tell: Callable[[str], None] = lambda _: None) -> None:
        """Put pictures into it.

        Args:
            found: with the JPEG of each.
            tell: is told what is done.

        Raises:
            PermanentError: the folder takes nothing.
        """
        try:
            for number, (item, picture) in enumerate(found, start=1):
                self._put(item, picture)
                tell(f"{number} pictures")
            self._write_decisions()
            self._write_index()
        except OSError as error:
            raise self._refused(error) from error

    def _put(self, item: Item, picture: Path) -> None:
        data = self._cut(item, picture)
        if data is None:
            self.damaged += 1
            return
        name = f"{item.line}-{item.id}.jpg"
        label = item.shown_label
        folder = self._output / UNLABELLED if label is None else self._output / "images" / folder_of(label)
        # It may have been there before, under another label.
        for old in [*self._output.glob(f"images/*/{name}"), self._output / UNLABELLED / name]:
            if old.parent != folder:
                old.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / name
        half = file.with_suffix(".tmp")
        half.write_bytes(data)
        half.rename(file)
        if label is None:
            self.unlabelled += 1
        else:
            self.labels[label] += 1
            self._rows[file.relative_to(self._output).as_posix()] = label
        where = file.relative_to(self._output).as_posix()
        self._decisions.append(json.dumps({"image": where, "label": label, "decision": item.decision}))

    def _cut(self, item: Item, picture: Path) -> bytes | None:
        try:
            data = picture.read_bytes()
        except FileNotFoundError:
            return None
        image = decoded(data) if len(data) == item.size_bytes else None
        if image is None or item.roi is None:
            return None if image is None else data
        x, y, width, height = item.roi
        return jpeg(image[y : y + height, x : x + width], QUALITY)

    def _write_decisions(self) -> None:
        file = self._output / "decisions.jsonl"
        before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        again = {json.loads(line)["decision"]["id"] for line in self._decisions}
        kept = [line for line in before if line and json.loads(line)["decision"]["id"] not in again]
        file.write_text("".join(f"{line}\n" for line in [*kept, *self._decisions]), encoding="utf-8")

    def _write_index(self) -> None:
        """Only what stands in an index.csv counts, where there is one."""
        file = self._output / "index.csv"
        if not file.exists():
            return
        with file.open(encoding="utf-8", newline="") as rows:
            reader = csv.DictReader(rows)
            names = reader.fieldnames or ["image", "label", "tile", "fold", "split"]
            ours = {Path(image).name for image in self._rows}
            kept = [row for row in reader if Path(row["image"]).name not in ours]
        for image, label in self._rows.items():
            fold = hashlib.sha256(image.removeprefix("images/").encode()).digest()[0] % FOLDS
            split = "train" if fold else "val"
            kept.append({"image": image, "label": label, "tile": Path(image).stem, "fold": str(fold), "split": split})
        half = file.with_suffix(".tmp")
        with half.open("w", encoding="utf-8", newline="") as rows:
            writer = csv.DictWriter(rows, names, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(kept)
        half.rename(file)

    def _refused(self, error: OSError) -> PermanentError:
        return PermanentError(f"{self._output} cannot be written ({error.strerror}): give another --output")


def folder_of(label: str) -> str:
    """The name of a label's folder: its own, unless no folder can have it."""
    return (
        label
        if label.strip(".") and "/" not in label and "\0" not in label
        else quote(label, safe="").replace(".", "%2E")
    )

"""What was imported, for people."""

from collections.abc import Mapping

from service.model.importing import Imported
from service.model.wishes import described


def flat(value: object, name: str = "") -> list[str]:
    """Free-form figures, one line each."""
    if isinstance(value, Mapping):
        return [line for key, inner in value.items() for line in flat(inner, f"{name} {key}".strip())]
    if isinstance(value, float):
        value = f"{value:.4g}"
    return [] if value is None else [f"{name.replace('_', ' ')}: {value}"]


def printed(imported: Imported) -> str:
    """For people."""
    manifest = imported.bundle.manifest
    lines = [f"{imported.bundle.path}: {manifest.name} {manifest.version}, made from {imported.source}"]
    lines.append(f"  written by   {imported.told.origin}")
    for key, found in described(imported.told, imported.taken).items():
        value = found["value"]
        shown = ", ".join(f"{part:g}" for part in value) if isinstance(value, list) else value
        lines.append(f"  {key:12} {shown} ({found['from']})")
    some = ", ".join(manifest.labels[:8]) + ", …" * (len(manifest.labels) > 8)
    lines.append(f"  {'labels':12} {len(manifest.labels)}: {some}; {manifest.pass_label} means good")
    largest = max(imported.bytes_of(f.precision) for f in manifest.files)
    for entry in manifest.files:
        size = imported.bytes_of(entry.precision)
        smaller = f", {largest / size:.2f} times smaller" if size < largest else ""
        lines.append(f"  {entry.precision:12} {entry.path}, {size / 1e6:.2f} MB{smaller}")
    lines += [f"  {answer}" for answer in imported.answers]
    lines += ["  " + line for line in flat(manifest.metrics.get("import"))]
    return "\n".join([*lines, *(f"  note: {note}" for note in imported.notes)])

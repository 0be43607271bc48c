"""`edgecls model show`: what a bundle is, for people and as JSON."""

from pathlib import Path

from edge.bundle import Bundle, load_bundle
from service.model.report import flat

_LABELS = 12
"""So many are shown by name."""


def document(path: Path) -> dict[str, object]:
    """For JSON: model.json without the golden scores, and the size of each file.

    Raises:
        BundleError: the bundle is damaged.
    """
    bundle = load_bundle(path)
    manifest = bundle.manifest.model_dump(by_alias=True, exclude={"golden"})
    return {"bundle": str(path), "bytes": _sizes(bundle), "golden_inputs": len(bundle.golden_inputs), **manifest}


def text(path: Path) -> str:
    """For people.

    Raises:
        BundleError: the bundle is damaged.
    """
    bundle = load_bundle(path)
    manifest, spec = bundle.manifest, bundle.manifest.input
    sizes = _sizes(bundle)
    rest = len(manifest.labels) - _LABELS
    labels = ", ".join(manifest.labels[:_LABELS]) + f" and {rest} more" * (rest > 0)
    lines = [
        f"{manifest.name} {manifest.version}: {manifest.task}, {sum(sizes.values()) / 1e6:.2f} MB in {path}",
        f"  labels      {len(manifest.labels)}: {labels}",
        f"  good        {manifest.pass_label}",
        *([f"  absent      {manifest.absent_label}"] if manifest.absent_label else []),
        f"  input       {spec.width}x{spec.height}, {spec.colour}, {spec.layout} {spec.dtype}, {spec.resize}",
        f"  normalises  {_normalises(bundle)}",
    ]
    fp32 = max(sizes[f.path] for f in manifest.files)
    for file in manifest.files:
        size = sum(sizes[name] for name, _ in file.hashes)
        smaller = f", {fp32 / size:.2f} times smaller than the largest" if size < fp32 else ""
        lines.append(f"  {file.precision:11} {file.path} ({file.format}), {size / 1e6:.2f} MB{smaller}")
    allowed = ", ".join(f"{name} {value:g}" for name, value in manifest.golden.tolerance.items())
    lines.append(f"  golden      {len(bundle.golden_inputs)} inputs; scores may lie off by {allowed}")
    for title, values in (("metrics", manifest.metrics), ("provenance", manifest.provenance)):
        found = flat(values)
        lines += [f"  {title}", *(f"    {line}" for line in found)] if found else [f"  {title:11} none"]
    return "\n".join(lines)


def _sizes(bundle: Bundle) -> dict[str, int]:
    names = [name for file in bundle.manifest.files for name, _ in file.hashes] + [bundle.manifest.golden.path]
    return {name: (bundle.path / name).stat().st_size for name in names}


def _normalises(bundle: Bundle) -> str:
    section = bundle.manifest.input
    if section.normalisation == "per_picture":
        return "each picture by its own mean and deviation"
    values = [", ".join(f"{value:g}" for value in given) for given in (section.mean, section.std)]
    return f"mean {values[0]}; std {values[1]} (of 0 to 1, in the order {section.colour})"

"""The bundles that are configured: whole, and how the engine would run them."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edge.backends.choose import choose
from edge.bundle import Bundle, load_bundle
from edge.errors import EdgeError
from edge.tuning import model_key, tuned
from service.doctor.finding import Finding, error, note, ok, sentence, warning
from service.line_settings import decide_settings, engine_settings
from service.sections import Settings


def bundle(path: Path, settings: Settings) -> Iterator[Finding]:
    """Whether a bundle is as model.json says, fits its lines, and what `auto` chooses for it."""
    subject = f"model {path.name}"
    lines = [line for line in settings.lines if settings.model_of(line) == path]
    try:
        found = load_bundle(path)
    except EdgeError as reason:
        yield error(subject, *sentence(str(reason)))
        return
    manifest = found.manifest
    files = len(manifest.files)
    yield ok(
        subject,
        f"{manifest.name} {manifest.version}, {', '.join(found.precisions)}: the hashes of its {files} models hold",
        path=str(path),
        name=manifest.name,
        version=manifest.version,
        precisions=list(found.precisions),
    )
    try:
        for line in lines:
            decide_settings(line, found)
        asked = engine_settings(settings.engine)
        plan, why = choose(found, asked, lines=len(lines), cores=len(os.sched_getaffinity(0)))
        found.file(plan.precision, plan.backend)
    except EdgeError as reason:
        yield error(subject, *sentence(str(reason)))
        return
    yield ok(subject, f"will run as {plan}: {why}", plan=str(plan), why=why)
    yield from _tuning(Path(settings.engine.tuning), found, subject, settings.engine.device)


def models(settings: Settings) -> list[Path]:
    """The bundles of all lines, each once."""
    return list(Counter(settings.model_of(line) for line in settings.lines))


def _tuning(file: Path, bundle: Bundle, subject: str, device: str) -> Iterator[Finding]:
    remedy = f"sudo -u edgecls edgecls tune --model {bundle.path}"
    if device == "ncs2":
        return
    if tuned(file, bundle):
        yield ok(subject, f"was tuned for this device ({file})")
        return
    try:
        known = json.loads(file.read_text(encoding="utf-8"))["tuned"]
        others = model_key(bundle) in known
    except FileNotFoundError:
        others = False
    except OSError as reason:
        yield note(subject, f"{file} cannot be read ({reason.strerror})", "sudo edgecls doctor --section engines")
        return
    except (ValueError, KeyError, TypeError):
        yield warning(subject, f"{file} is damaged or no file of `edgecls tune`", f"remove it, then {remedy}")
        return
    if others:
        text = "was tuned, but for another processor, another number of cores or other versions of the runtimes"
        yield warning(subject, text, remedy)
    else:
        yield note(subject, "was not tuned for this device: the rule decides how it runs", remedy)

"""`edgecls model pack`: a Debian package that installs a bundle under /usr/share/edgecls/models."""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime, timezone
from email.utils import format_datetime
from pathlib import Path

from edge.bundle import Bundle, load_bundle
from edge.errors import PermanentError

_PLACE = Path("usr/share/edgecls/models")
_OTHERS = {"surface-demo", "magnetic-tile"}
"""Of the package edgecls-models."""
_MAINTAINER = "edgecls developers <edgecls@example.org>"


class PackError(PermanentError):
    """The bundle, or this machine, does not do for a package."""


def pack(path: Path, output: Path | None) -> Path:
    """Write the package; the same bundle gives the same bytes.

    Everything in it has the time `SOURCE_DATE_EPOCH`, by default that of model.json.

    Args:
        path: of the bundle.
        output: of the package; by default its proper name, in the working directory.

    Raises:
        BundleError: the bundle is damaged.
        PackError: its name or version is none of a package's, dpkg-deb is missing or fails.
    """
    bundle = load_bundle(path)
    name, version = _named(bundle)
    target = output or Path(f"{name}_{version}_all.deb")
    if shutil.which("dpkg-deb") is None:
        raise PackError("dpkg-deb is missing: install the package dpkg, or pack on a machine with Debian or Ubuntu")
    if not target.absolute().parent.is_dir():
        raise PackError(f"{target.parent} does not exist: create it, or give another --output")
    epoch = _epoch(path)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        _lay(bundle, root, name, version, epoch)
        built = Path(folder) / "built.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(built)]
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  # no shell
        if done.returncode:
            raise PackError(f"dpkg-deb failed: {(done.stderr.strip() or 'it says nothing').splitlines()[-1]}")
        new = target.with_name(f".{target.name}.new")
        try:
            shutil.copyfile(built, new)
            new.replace(target)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise PackError(f"{target} cannot be written ({error.strerror}): give another --output") from error
    return target


def _named(bundle: Bundle) -> tuple[str, str]:
    """Name and version of the package, by Debian's rules (Policy 5.6.1, 5.6.12)."""
    name, version = bundle.manifest.name, bundle.manifest.version
    if name in _OTHERS:
        raise PackError(
            f"the package edgecls-models has a bundle {name} already: give this one another name in model.json"
        )
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+~]*", version):
        raise PackError(
            f"the version {version} is none of a Debian package: begin with a digit, go on with letters, digits and "
            ". + ~ (version in model.json)"
        )
    return f"edgecls-model-{name}", version


def _epoch(path: Path) -> int:
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(given) if given.isdigit() else int((path / "model.json").stat().st_mtime)


def _lay(bundle: Bundle, root: Path, name: str, version: str, epoch: int) -> None:
    """Everything that goes into the package."""
    manifest = bundle.manifest
    place = root / _PLACE / manifest.name
    names = [part for file in manifest.files for part, _ in file.hashes] + [manifest.golden.path, "model.json"]
    for part in names:
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.path / part, place / part)
    documents = root / "usr/share/doc" / name
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(_copyright(bundle), encoding="utf-8")
    when = format_datetime(datetime.fromtimestamp(epoch, timezone.utc))
    log = f"{name} ({version}) unstable; urgency=medium\n\n  * Version {version}.\n\n -- {_MAINTAINER}  {when}\n"
    (documents / "changelog.gz").write_bytes(gzip.compress(log.encode(), 9, mtime=0))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    hashes = [hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in files]
    sums = "".join(f"{md5}  {path.relative_to(root)}\n" for md5, path in zip(hashes, files, strict=True))
    size = sum(-(-path.stat().st_size // 1024) for path in files)
    control = root / "DEBIAN"
    control.mkdir()
    (control / "md5sums").write_text(sums, encoding="utf-8")
    (control / "control").write_text(_control(bundle, name, version, size), encoding="utf-8")
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def _control(bundle: Bundle, name: str, version: str, size_kib: int) -> str:
    manifest = bundle.manifest
    only_openvino = all(file.format == "openvino" for file in manifest.files)
    precisions = ", ".join(bundle.precisions).upper()
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: {_MAINTAINER}\n"
        f"Installed-Size: {size_kib}\nSection: science\nPriority: optional\n"
        f"Recommends: edgecls{', edgecls-openvino' if only_openvino else ''}\n"
        f"Description: model bundle {manifest.name} for edgecls\n"
        f" A model that tells {len(manifest.labels)} labels apart, for the edge inspection runtime\n"
        f" edgecls, in {precisions}. To use it, write this into /etc/edgecls.yaml:\n .\n"
        f"  model: /{_PLACE}/{manifest.name}\n"
    )


def _copyright(bundle: Bundle) -> str:
    return (
        f"This package holds the model bundle {bundle.manifest.name}, as `edgecls model pack' packed it.\n"
        "Whose the model is, and what it may be used for, its maker says; what is known of\n"
        f"where it comes from stands in /{_PLACE}/{bundle.manifest.name}/model.json, under provenance.\n"
    )

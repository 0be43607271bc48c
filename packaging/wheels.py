"""The private environment of the Debian packages, laid down from wheels; called by build-deb.sh and debian/rules.

Nothing of what is packed is run, so an environment for another processor or Python can be made here.
"""

import argparse
import re
import sys
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

NOT_PACKED = {
    "setuptools",  # builds edgecls
    "systemd-python",  # Debian's python3-systemd
    "tqdm",  # of the demo
    # ONNX Runtime's tools need them, its engine does not:
    *("coloredlogs", "flatbuffers", "humanfriendly", "mpmath", "protobuf", "sympy"),
}

NEVER_RUN = re.compile(
    r"""
      (^|/)(tests?|test_utils)/
    | \.(pyi|pxd|pxi|pyx|c|h|hpp|a|cmake|pc)$
    | (^|/)\.        # for editors and their like
    | ^numpy/(distutils|f2py|testing|_core/include)/
    | ^numpy/_core/_\w+_tests\.
    | ^numpy/random/_examples/
    | ^cv2/data/.*\.xml$
    | ^onnxruntime/(backend|datasets|quantization|tools|transformers)/
    # The engine is in the Python extension; this is the same once more, for C programs.
    | ^onnxruntime/capi/libonnxruntime\.so
    | ^openvino/(cmake|include|tools|torch)/
    # Frontends: of model formats, ONNX and OpenVINO's own stay.
    | ^openvino/frontend/(jax|paddle|pytorch|tensorflow)/
    | ^openvino/libs/libopenvino_(gguf|jax|paddle|pytorch|tensorflow|tensorflow_lite)_frontend\.so
    # Tuned kernels for GPUs of long ago.
    | ^openvino/libs/cache\.json$
    """,
    re.VERBOSE,
)

LICENCE = re.compile(
    r"""
      \.dist-info/licen[cs]es/(?P<name>.*[^/])$
    | ^[^/]*/(?P<beside>[^/]*(licen[cs]e|copying|notice|authors)[^/]*)(?<!\.py)(?<!\.pyi)$
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""In the wheel's own information, or beside the code."""


def locked(lock: str, python: str, machine: str) -> str:
    """The requirements of a lock that are packed for this Python and processor, with their hashes, without markers.

    pip judges markers by the Python that runs it, so they are judged here.
    """
    # Of pip: the only parser of requirements that every environment has.
    from pip._vendor.packaging.requirements import Requirement  # noqa: PLC0415  # see above

    target = {
        "implementation_name": "cpython",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "python_full_version": f"{python}.0",
        "python_version": python,
        "sys_platform": "linux",
    }
    found = []
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        if entry.startswith("#"):
            continue
        first, *hashes = (part.strip() for part in entry.split("\\\n"))
        requirement = Requirement(first)
        if requirement.name in NOT_PACKED or (requirement.marker and not requirement.marker.evaluate(target)):
            continue
        found.append(" \\\n    ".join((f"{requirement.name}{requirement.specifier}", *hashes)))
    return "\n".join(found) + "\n"


def lay(wheel: Path, site: Path, licences: Path) -> None:
    """Unpack a wheel without what never runs; its licences go into a folder of their own.

    Raises:
        ValueError: the wheel wants more than to be unpacked, or says nothing about its licence.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        (metadata_name,) = (name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        metadata = HeaderParser().parsestr(archive.read(metadata_name).decode())
        ours = licences / str(PurePosixPath(metadata_name).parent).removesuffix(".dist-info")
        for name in names:
            if ".data/" in name.partition("/")[0] + "/":
                raise ValueError(f"{wheel.name}: {name} belongs elsewhere than beside the code: teach wheels.py where")
            if licence := LICENCE.search(name):
                place = ours / (licence["name"] or licence["beside"])
            elif ".dist-info/" in name and name != metadata_name:
                continue  # of tools that install
            elif NEVER_RUN.search(name):
                continue
            else:
                place = site / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
            place.chmod(0o644)
        _say_what_licence(metadata, ours, wheel.name)


def _say_what_licence(metadata: Message, folder: Path, wheel: str) -> None:
    """In one line beside the texts of the licences, which some wheels lack."""
    named = [metadata["License-Expression"] or metadata["License"] or ""]
    named += [value for key, value in metadata.items() if key == "Classifier" and value.startswith("License ::")]
    words = " / ".join(line.strip() for text in named for line in text.splitlines()[:1] if line.strip())
    if not words and not folder.is_dir():
        raise ValueError(f"{wheel} says nothing about its licence: it cannot be packed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SUMMARY").write_text(f"{metadata['Name']} {metadata['Version']}: {words or 'see beside'}\n")


def main() -> int:
    """See `--help`."""
    parser = argparse.ArgumentParser(description="The private environment of the Debian packages.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("lock", help="print what of a lock is packed")
    command.add_argument("lock", type=Path)
    command.add_argument("--python", required=True, metavar="MINOR", help="such as 3.11")
    command.add_argument("--machine", required=True, help="x86_64 or aarch64")
    command = commands.add_parser("lay", help="unpack wheels")
    command.add_argument("wheels", type=Path, nargs="+")
    command.add_argument("--site", type=Path, required=True, help="the folder for the code")
    command.add_argument("--licences", type=Path, required=True, help="the folder for their licences")
    args = parser.parse_args()
    if args.command == "lock":
        sys.stdout.write(locked(args.lock.read_text(encoding="utf-8"), args.python, args.machine))
        return 0
    try:
        for wheel in sorted(args.wheels):
            lay(wheel, args.site, args.licences)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201  # a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run by the Python of the tests: a dry run of `deciding_guest`, then every file that it took, on stdout."""

import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

LOADER = "/lib64/ld-linux-x86-64.so.2"
"""Every program for x86-64 asks for it by this name."""


opened: set[Any] = set()
sys.addaudithook(lambda event, args: opened.add(args[0]) if event == "open" else None)


def with_links(path: Path) -> set[Path]:
    """A path as it is written, each link in it, and where it leads."""
    found: set[Path] = set()
    walked = Path("/")
    for part in path.parts[1:]:
        walked /= part
        found.add(walked)
        if walked.is_symlink():
            target = Path(os.path.normpath(walked.parent / walked.readlink()))
            found |= with_links(target / path.relative_to(walked))
            break
    return found


def files() -> set[Path]:
    modules = list(sys.modules.values())
    names: set[Any] = {getattr(module, "__file__", None) for module in modules}
    names |= {getattr(module, "__cached__", None) for module in modules}
    mapped = {
        Path(line.split(maxsplit=5)[5]) for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line
    }
    links = {
        link for file in mapped if ".so" in file.name for link in file.parent.glob(file.name.split(".so")[0] + ".so*")
    }
    found = {sys.executable, LOADER, *names, *mapped, *links, *(name for name in opened if isinstance(name, str))}
    return {
        Path(name).absolute() for name in found if name and Path(name).is_file() and not str(name).startswith("/proc")
    }


def main() -> None:
    from powercut.deciding_guest import decide  # what it opens is listened to by now

    def list_and_end() -> None:
        time.sleep(3)
        found = set().union(*(with_links(path) for path in files()))
        sys.stdout.write("".join(f"{path}\n" for path in sorted(found)))
        sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=list_and_end).start()
    decide(Path(sys.argv[-1]), lambda _: None, random.Random(1))


if __name__ == "__main__":
    main()

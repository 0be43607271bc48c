"""Run every benchmark of this folder that has tables, one after the other, and write them as Markdown.

`python tests/benchmarks/all.py --models DIR [--out FILE.md]`. The machine should have nothing else to do.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALL = ("bench_pipeline", "bench_precision", "bench_lines", "bench_video", "bench_sources", "bench_rivals")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="what `python -m models bench-bundles --out` wrote")
    parser.add_argument("--out", type=Path, help="this file, too")
    parser.add_argument("--video", type=Path, help="for bench_video")
    args = parser.parse_args()
    pages, failed = [], []
    for name in ALL:
        command = [sys.executable, str(HERE / f"{name}.py"), "--models", str(args.models)]
        command += ["--video", str(args.video)] if args.video and name == "bench_video" else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed.append(name)
        page = f"## {name}\n\n{done.stdout}"
        print(page, flush=True)
        pages.append(page)
    if args.out:
        args.out.write_text("\n".join(pages), encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

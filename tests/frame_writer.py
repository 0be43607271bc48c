"""A camera's program: raw frames to standard output, as bgr24, each with its number in its first pixel.

    python frame_writer.py WIDTH HEIGHT FPS [MISCHIEF]

MISCHIEF: `end` after 5 frames; `half`: it ends in the middle of the 6th; `stall`: in the middle of the 6th it stops
writing; `burst`: ten frames at a time; `offspring`: a process of its own holds the output open; `nothing`: is written.
"""

import subprocess
import sys
import time


def main() -> None:
    width, height, fps = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    mischief = sys.argv[4] if len(sys.argv) > 4 else ""
    if mischief == "offspring":
        subprocess.Popen(["sleep", "1000"])
    body = b"\x50" * (width * height * 3 - 3)
    number = 0
    due = time.monotonic()
    while mischief != "nothing":
        if number == 5 and mischief in ("end", "half", "stall"):
            if mischief != "end":
                sys.stdout.buffer.write(body[: len(body) // 2])
                sys.stdout.buffer.flush()
            if mischief == "stall":
                break
            return
        count = 10 if mischief == "burst" else 1
        sys.stdout.buffer.write(b"".join(n.to_bytes(3, "little") + body for n in range(number, number + count)))
        sys.stdout.buffer.flush()
        number += count
        due = max(due + count / fps, time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))
    time.sleep(1000)


main()

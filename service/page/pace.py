"""The page may take so much of a core and no more, whatever is asked of it: inspection comes first.

Threads of Python take turns. When this one has used up its share it sleeps, with all that it has to do: what thousands
of requests cost is then paid by those who ask.
"""

import time

SHARE = 0.05
"""Of a core."""
SPARE_S = 0.1
"""What may be used at once after a quiet time: opening the page takes some requests."""
LONGEST_S = 0.2


class Pace:
    """Bounds what its thread takes, and what others take for it. To be made and used by that thread."""

    def __init__(self) -> None:
        self._spare_s = SPARE_S
        self._cpu_s = time.thread_time()
        self._at_s = time.monotonic()

    def charge(self, cpu_s: float) -> None:
        """Another thread has taken so much on behalf of this one."""
        self._spare_s -= cpu_s

    def hold(self) -> None:
        """Note what was used, and sleep if that was too much. To be called whenever there is something to do."""
        cpu_s, at_s = time.thread_time(), time.monotonic()
        self._spare_s = min(SPARE_S, self._spare_s + (at_s - self._at_s) * SHARE - (cpu_s - self._cpu_s))
        self._cpu_s, self._at_s = cpu_s, at_s
        if self._spare_s < 0:
            time.sleep(min(LONGEST_S, -self._spare_s / SHARE))

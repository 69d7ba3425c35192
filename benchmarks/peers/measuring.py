"""What a training pass costs its process, and whether two trainers read the same tokens. Standard library alone:
other trainers' environments import it too.
"""

import ctypes
import gc
import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


class Meter:
    """CPU seconds (user and system) of this process and its greatest memory, from `begin` to the last `mark`."""

    def __init__(self) -> None:
        self.cpu_s = self.wall_s = self.peak_mb = 0.0
        self.begun = False

    def begin(self) -> None:
        """Start to count. What was freed before goes back to the system first, and its peak is forgotten."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        RESET.write_text("5")  # forgets the peak
        self._before = megabytes("VmRSS")
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        self.begun = True

    def mark(self) -> None:
        """Everything until now belongs to what is measured."""
        self.cpu_s = time.process_time() - self._cpu
        self.wall_s = time.perf_counter() - self._wall
        self.peak_mb = megabytes("VmHWM") - self._before

    def figures(self) -> dict[str, float]:
        """What was measured."""
        return {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "peak_mb": self.peak_mb}


def megabytes(name: str) -> float:
    """A figure of this process in MiB: VmRSS is the memory that it has now, VmHWM the most that it had."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def sequences_digest(sequences: Iterable[list[int]]) -> str:
    """Which token sequences (prompt with completion) there are, in whatever order and however often."""
    different = sorted(set(map(tuple, sequences)))
    return hashlib.sha256(json.dumps(different).encode()).hexdigest()

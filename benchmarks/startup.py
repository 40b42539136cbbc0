"""How long `stemwise --help` takes, against a bare interpreter; the promise is half a second."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7


def median_seconds(command):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


bare = median_seconds([sys.executable, "-c", "pass"])
shown = median_seconds([Path(sys.executable).parent / "stemwise", "--help"])
print(f"python -c pass: {bare:.3f} s; stemwise --help: {shown:.3f} s, {shown / bare:.1f} times it")

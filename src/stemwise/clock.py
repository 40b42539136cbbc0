"""Times as people write them: 42, 0:42, 1:02:03."""

import math
import re

from stemwise.errors import UsageError

__all__ = ["clock", "read_clock"]

_FORM = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?)")


def clock(seconds: float) -> str:
    """Return `seconds` as m:ss or h:mm:ss; fractions are cut. ``clock(42.9)`` is ``0:42``."""
    minutes, rest = divmod(math.floor(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def read_clock(text: str) -> float:
    """Return the seconds in ``42``, ``42.5``, ``m:ss`` or ``h:mm:ss``; else `UsageError`."""
    found = _FORM.fullmatch(text.strip())
    if found:
        hours, minutes, seconds = (float(group or 0) for group in found.groups())
        if (found[2] is None or seconds < 60) and (found[1] is None or minutes < 60):
            return 3600 * hours + 60 * minutes + seconds
    raise UsageError(f"{text!r} is not a time; write seconds, m:ss or h:mm:ss, such as 0:42")

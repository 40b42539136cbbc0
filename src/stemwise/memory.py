"""How this process deals with the memory that it has freed.

glibc hands large blocks back to the system as soon as they are freed, and the next like it is taken
page by page anew. A network's maps are such blocks: without them being kept, a segment that is
embedded takes a thousand page faults (docs/log.md).
"""

import ctypes

__all__ = ["keep_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


def keep_memory() -> None:
    """Tell glibc, where there is one, to keep freed memory from now on, in the whole process."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD):
            mallopt(option, 2**30)

"""What a process that is pidlab's own, a command or a helper, sets for itself."""

from __future__ import annotations

import atexit
import gc


def collect_rarely() -> None:
    """Look for cyclic garbage seldom, and not at all when the process ends.

    Libraries and figures make millions of small objects that stay. Python looks through all of them again and again,
    and once more at the end: more than a second with torch, xgboost and numba loaded.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)

"""Torch imported in a thread, while other models train."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

_SWITCH = 5e-4  # seconds; with Python's 5 ms each round of xgboost could wait so long for the thread that imports


def import_torch_ahead() -> threading.Thread | None:
    """Begins to import torch in a thread, which ends by itself; None if torch is there already.

    Half of the second that it takes is spent in loading libraries and the rest in Python, while models that train
    before a network compute in C and leave that to another core. Whoever needs torch imports it as ever: an `import`
    waits for one that is under way in another thread, and says what is wrong if that one failed. Until then no code may
    run that uses a torch which it finds in `sys.modules`: it may be half there.
    """
    if "torch" in sys.modules:
        return None
    thread = threading.Thread(target=_import, name="import of torch")
    thread.start()
    return thread


def _import() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    with suppress(Exception):
        import torch  # noqa: F401
    sys.setswitchinterval(before)

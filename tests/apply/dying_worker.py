"""Work for processes that are killed at it; a module of its own so that they need not load what the tests do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pidlab.apply.scoring import EntryRange, Failed


def die_at(number: int, folder: Path, times: int, given: EntryRange) -> Failed:
    """Kill this very process at one piece, the first times; otherwise tell which piece it was."""
    marks = list(folder.iterdir())
    if given.start == number and len(marks) < times:
        (folder / str(len(marks))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Failed(f"piece {given.start}")

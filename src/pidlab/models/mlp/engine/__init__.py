"""The engine that trains networks, many in one pass: the only code of pidlab that needs torch."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from pidlab.errors import ModelError

_ADDRESS_SPACE = 800_000_000  # bytes: torch was seen to map 500 MB, and threads need stacks


def _check_address_space() -> None:
    """Refuses to load torch where it does not fit, because torch would end the whole process without a message."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or "torch" in sys.modules:
        return
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    if limit - taken < _ADDRESS_SPACE:
        raise ModelError(
            f"networks need {_ADDRESS_SPACE / 1e9:.1f} GB of address space more, and {(limit - taken) / 1e9:.1f} are "
            f"left of the {limit / 1e9:.1f} that this process may use; raise the limit (`ulimit -v unlimited`), "
            "or leave models of type mlp out"
        )


_check_address_space()

"""Where to cut a table so that no basket or cluster is read twice."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LONGEST = 1.5
"""A piece may be this much longer than asked for, if it then ends where baskets end."""


def edges(offsets: Iterable[NDArray[Any]], n_entries: int, step: int) -> list[int]:
    """Rising entry numbers from 0 to `n_entries`, about `step` apart, at which pieces begin and the last one ends.

    An edge stands where baskets of all branches begin, as near to the wanted length as there is such a place; inside
    longer clusters it stands after `step` entries.

    Args:
        offsets: for each branch the entries at which its baskets begin, and the end.
        n_entries: of the table.
        step: the wanted length of a piece.
    """
    common = reduce(np.intersect1d, offsets)
    found = [0]
    while n_entries - found[-1] > _LONGEST * step:
        start = found[-1]
        first, last = np.searchsorted(common, [start, start + _LONGEST * step], side="right")
        near = common[first:last]
        found.append(int(near[np.argmin(np.abs(near - start - step))]) if len(near) else start + step)
    return [*found, n_entries] if n_entries else found

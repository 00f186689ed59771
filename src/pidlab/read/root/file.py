"""Files of this machine as uproot reads them: by reading, not by mapping them into memory.

A file that is cut short while it is mapped ends the process (SIGBUS) without a word; a read that finds less than it
should is an error of this one input.
"""

from __future__ import annotations

import os
import queue
from typing import Any

import numpy as np
from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture


class LocalFile(Source):  # type: ignore[misc]  # uproot has no types
    """A file that any number of threads may read."""

    def __init__(self, file_path: str, **options: Any) -> None:
        super().__init__()
        self._file_path = file_path
        self._descriptor = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
        self._num_bytes = os.fstat(self._descriptor).st_size

    def chunk(self, start: int, stop: int) -> Any:
        """The bytes from `start` to before `stop`.

        Raises:
            OSError: the file was closed, or cannot be read.
        """
        self._num_requests += 1
        self._num_requested_chunks += 1
        self._num_requested_bytes += stop - start
        return Chunk(self, start, stop, TrivialFuture(self._bytes(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: queue.Queue[Any]) -> list[Any]:
        """`chunk` for each of `ranges`, each put into `notifications` too."""
        found = [self.chunk(start, stop) for start, stop in ranges]
        for each in found:
            notifications.put(each)
        return found

    def _bytes(self, start: int, stop: int) -> Any:
        """What there is of these bytes; uproot sees that none is missing.

        A system reads two gigabytes at once, at most.
        """
        if self.closed:
            raise OSError(f"{self._file_path} was closed")
        whole: Any = np.empty(max(0, min(stop, self._num_bytes) - start), np.uint8)
        done = 0
        while done < len(whole):
            n = os.preadv(self._descriptor, [whole[done:]], start + done)
            if not n:
                break
            done += n
        return whole[:done]

    @property
    def closed(self) -> bool:
        """True after the file was closed."""
        return self._descriptor < 0

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *exception: Any) -> None:
        if not self.closed:
            os.close(self._descriptor)
            self._descriptor = -1

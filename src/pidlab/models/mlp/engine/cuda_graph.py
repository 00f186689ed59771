"""Repeats fixed work; on CUDA as a graph, which spares the launches of its kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch


class Replay:
    """Calls `work(first, last)`, which must use the same memory in every call.

    On CUDA the first call with given bounds runs without a graph (on a side stream, which initialises the libraries),
    the second is captured, and later ones replay the graph. If capture fails, all calls run without graphs.

    Attributes:
        captures: whether graphs are used; false after a capture that failed.
        n_replays: number of calls that were replays of a graph.
    """

    def __init__(self, work: Callable[[int, int], None], device: torch.device) -> None:
        self._work = work
        self._device = device
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph | None] = {}
        self.captures = device.type == "cuda"
        self.n_replays = 0

    def __call__(self, first: int, last: int) -> None:
        """Does the work from step `first` to before step `last` once."""
        if self.captures:
            with torch.cuda.device(self._device):  # of several GPUs, streams and graphs are the current one's
                self._replay((first, last))
        else:
            self._work(first, last)

    def _replay(self, bounds: tuple[int, int]) -> None:
        if bounds not in self._graphs:
            self._warm_up(bounds)
            return
        graph = self._graphs[bounds]
        if graph is None:
            graph = self._capture(bounds)
        if graph is None:
            self._work(*bounds)
        else:
            graph.replay()
            self.n_replays += 1

    def _warm_up(self, bounds: tuple[int, int]) -> None:
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            self._work(*bounds)
        torch.cuda.current_stream(self._device).wait_stream(side)
        self._graphs[bounds] = None

    def _capture(self, bounds: tuple[int, int]) -> torch.cuda.CUDAGraph | None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=_capture_stream(self._device)):
                self._work(*bounds)
        except RuntimeError:
            torch.cuda.synchronize(self._device)
            self.captures = False
            self._graphs.clear()
            return None
        self._graphs[bounds] = graph
        return graph


@cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the stream on which all graphs of a GPU are captured: each stream of cuBLAS keeps memory of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it unannotated

"""Repeats a fixed piece of work; on CUDA as a graph, so that it costs its kernels and not their launches."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Replay:
    """`replay(first, last)` does `work(first, last)`, which must touch the same memory in every call.

    On CUDA the first call with given bounds runs as it is (on a side stream, which warms the libraries up), the second
    is captured, and from then on the graph is replayed. Where capture fails the work goes on without it.

    Attributes:
        captures: whether graphs are used, or still may be.
        n_replays: how many calls were replays of a graph.
    """

    def __init__(self, work: Callable[[int, int], None], device: torch.device) -> None:
        self._work = work
        self._device = device
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph | None] = {}
        self.captures = device.type == "cuda"
        self.n_replays = 0

    def __call__(self, first: int, last: int) -> None:
        """Do the work once."""
        if not self.captures:
            self._work(first, last)
            return
        bounds = (first, last)
        if bounds not in self._graphs:
            self._warm_up(bounds)
            return
        graph = self._graphs[bounds]
        if graph is None:
            graph = self._capture(bounds)
        if graph is None:
            self._work(first, last)
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
            with torch.cuda.graph(graph):
                self._work(*bounds)
        except RuntimeError:
            torch.cuda.synchronize(self._device)
            self.captures = False
            self._graphs.clear()
            return None
        self._graphs[bounds] = graph
        return graph

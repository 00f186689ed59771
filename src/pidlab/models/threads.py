"""How many threads the libraries may use: those that are free, and one each while several workers score at a time."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

_VALUES_A_THREAD = 2_000_000
_N_LOOKS, _BETWEEN_LOOKS = 10, 0.003  # seconds
_THREADED = ("lightgbm", "numpy", "onnxruntime", "scipy", "sklearn", "torch", "xgboost")
_lock = threading.Lock()
_n_inside = 0
_torch_before: int | None = None


def allowed_threads() -> int:
    """Returns how many threads a model may score with: one inside `one_thread`, else all that this process may use."""
    return 1 if _n_inside else usable_cores()


def usable_cores() -> int:
    """Returns the cores that this process may use: those of its affinity, or fewer if its control group has a quota."""
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)), *_quotas()])))


def free_cores() -> int:
    """Returns the usable cores that no other process keeps busy now, and at least one; it looks for 30 milliseconds.

    Threads of OpenMP wait for each other in a loop, after each level of each tree. If another process takes one of
    their cores, all of them wait for it: training with as many threads as there are cores, of which one is busy, takes
    several times as long as with one thread less.
    """
    usable = usable_cores()
    if usable == 1:
        return 1
    try:
        others = float(np.mean([_n_running_elsewhere() for _ in range(_N_LOOKS)]))
    except (OSError, ValueError, IndexError):  # no /proc of Linux
        return usable
    return max(1, min(usable, round((os.cpu_count() or usable) - others)))


def worthwhile_threads(n_values: int) -> int:
    """Returns the threads for training trees on so many values: of the free cores as many as the sample is worth.

    Threads wait for each other in a loop after each level of each tree. On small samples they gain little by sharing
    the work, and if another process uses the core they lose a factor of ten: with 15,000 x 10 values, 100 rounds and
    two busy cores one thread takes 1.1 s, two threads 12 to 39 s.
    """
    most = 1 + n_values // _VALUES_A_THREAD
    return most if most == 1 else min(free_cores(), most)


def _n_running_elsewhere() -> int:
    """Returns how many threads of other processes run, or wait for a core, after a moment."""
    time.sleep(_BETWEEN_LOOKS)
    running = int(Path("/proc/loadavg").read_text().split()[3].split("/")[0])
    tasks = list(Path("/proc/self/task").iterdir())
    # A process of our own, such as the one that draws, is soon done, and the training is not.
    for child in (tasks[0].parent / str(os.getpid()) / "children").read_text().split():
        tasks += _tasks_of(child)
    own = sum(_is_running(task) for task in tasks)
    return max(0, running - own)


def _tasks_of(process: str) -> list[Path]:
    """Returns the threads of a process; none if it has just ended."""
    try:
        return list(Path("/proc", process, "task").iterdir())
    except OSError:
        return []


def _is_running(task: Path) -> bool:
    """Returns whether a thread runs; its state stands behind the name, which may hold brackets."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it has ended meanwhile
        return False


def _quotas() -> Iterator[float]:
    """Yields the cores that each control group of this process grants, from its own up to the whole machine's."""
    root = Path("/sys/fs/cgroup")
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if not controllers else root / "cpu"
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            if base in (folder, *folder.parents):
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """Yields the quota of one control group over its period, of version 2 or 1, if it has one."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):
        return


@contextmanager
def one_thread() -> Iterator[None]:
    """Limits BLAS, OpenMP, torch and the trees to one thread in this block, and restores their numbers afterwards.

    Several threads may be in such blocks at once, inside a block of the thread that started them: OpenMP counts for
    each thread separately, while BLAS obeys the first thread only.
    """
    global _n_inside, _torch_before
    torch = sys.modules.get("torch")
    with _libraries(frozenset(name for name in _THREADED if name in sys.modules)).limit(limits=1):
        with _lock:
            if not _n_inside and torch:
                _torch_before = torch.get_num_threads()
                torch.set_num_threads(1)
            _n_inside += 1
        try:
            yield
        finally:
            with _lock:
                _n_inside -= 1
                if not _n_inside and torch and _torch_before:
                    torch.set_num_threads(_torch_before)
                    _torch_before = None


@cache
def _libraries(loaded: frozenset[str]) -> Any:
    """Finds the loaded libraries that have threads of their own, once for each set of libraries, because it is slow."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # comes with scikit-learn

    return ThreadpoolController()

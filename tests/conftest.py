"""What tests share: files made on the spot, the public tables where they are, and the command line in a process."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from forked import start_forking
from public_tables import MAGIC_FILE, fetch_magic, write_tmva_toy

_MANY = 500  # tests
SHARED = Path(__file__).parents[1].parent / "shared" / "data"


def pytest_configure() -> None:
    """Lets the threads of OpenMP sleep where they wait for each other, in this process and in those it starts.

    They spin otherwise. Where more processes calculate than there are processors, as with `pytest -n 2` on two, a
    thread then spins until another process has had its turn, tens of times in each second of the training of a tree:
    tests took up to fourteen times as much processor time. OpenMP reads the variable when its library is loaded, which
    no module has done that is imported this early.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Imports torch where many tests are run, and lets Python examine what they leave behind rarely.

    A run starts a process that imports torch, and trains networks there, if torch is not here: in many tests that
    would be as many imports. Python would go through some millions of objects again and again, which took a sixth of
    the time of a figure; the command line sets the same threshold. Imported modules are not examined at all.
    """
    if len(session.items) > _MANY:
        importlib.import_module("pidlab.models.mlp.engine.training")
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what starts the command line or ROOT in a process of its own, which costs seconds each time.

    Other slow tests, those that take more than about one second of processor time, carry the mark themselves. The
    files with most slow tests are run first: two processes that take one file after the other then end together, and
    neither waits minutes for the last file of the other.
    """
    slow: Counter[Path] = Counter()
    for item in items:
        asks_root = any("ROOT" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skipif"))
        if asks_root or "pidlab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow"):
            slow[item.path] += 1
    items.sort(key=lambda item: -slow[item.path])  # stable: the order within a file, and of files alike, stays


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Gives back what a test changes for the whole process: Ctrl-C, the threads of torch, when garbage is collected.

    The command line changes the last, and libraries that a test imports change the first. The tests that follow depend
    on the order otherwise, and on which of the two processes of pytest they are in.
    """
    interrupt, threshold, threads = signal.getsignal(signal.SIGINT), gc.get_threshold(), threads_of_torch()
    yield
    if interrupt is not None:  # it is if something other than Python has set it
        signal.signal(signal.SIGINT, interrupt)
    gc.set_threshold(*threshold)
    if threads is not None and threads != threads_of_torch():
        sys.modules["torch"].set_num_threads(threads)


@pytest.fixture
def without_the_objects_of_others() -> Iterator[None]:
    """Leaves what other tests and libraries made out of the garbage collections of a test that compares two times.

    A collection looks at all of it, which took longer than what such a test measures.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def threads_of_torch() -> int | None:
    """The number of threads that torch takes; None if it has not been imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public tables."""
    if not SHARED.is_dir():
        pytest.skip(f"the public tables are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def magic(pytestconfig: pytest.Config) -> Path:
    """MAGIC's table: the copy beside the repository, or else fetched from its own and kept in pytest's cache."""
    beside = SHARED / "magic" / MAGIC_FILE
    if beside.is_file():
        return beside
    assert pytestconfig.cache is not None
    try:
        return fetch_magic(pytestconfig.cache.mkdir("public_tables") / MAGIC_FILE)
    except OSError as error:
        pytest.skip(f"MAGIC's table cannot be fetched: {error}")


@pytest.fixture(scope="session")
def tmva_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like that of TMVA's classification example, whose likelihood ratio is known."""
    return write_tmva_toy(tmp_path_factory.mktemp("tmva") / "tmva_toy.root")


def write_tree(path: Path, arrays: Mapping[str, Any], tree: str = "T", step: int | None = None) -> Path:
    """A ROOT file with one TTree, in baskets of `step` entries."""
    n = len(next(iter(arrays.values())))
    with uproot.recreate(path) as file:
        types = {
            k: v.dtype
            if isinstance(v, np.ndarray) and v.ndim == 1
            else v.type.content
            if not isinstance(v, np.ndarray)
            else np.dtype((v.dtype, v.shape[1:]))
            for k, v in arrays.items()
        }
        made = file.mktree(tree, types)
        for start in range(0, n, step or max(n, 1)):
            made.extend({k: v[start : start + (step or n)] for k, v in arrays.items()})
    return path


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def pidlab(tmp_path: Path) -> Run:
    """Run the command line in an empty folder, and return its exit code and what it printed.

    It runs in this process, because libraries take seconds to import in each new one. With options of `subprocess.run`,
    such as env={} or timeout=300, it runs in a process of its own.
    """

    def run(*words: Any, cwd: Path = tmp_path, **options: Any) -> subprocess.CompletedProcess[str]:
        given = [*map(str, words)]
        if not options:
            return called(given, cwd)
        command = [sys.executable, "-W", "error", "-m", "pidlab.cli", *given]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **{"timeout": 300, **options})

    return run


def called(words: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `pidlab WORDS` answers in the folder `cwd`, called in this process."""
    from pidlab.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    threshold = gc.get_threshold()
    try:
        streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with contextlib.chdir(cwd), streams[0], streams[1], pytest.raises(SystemExit) as end:
            main(words)  # any other exception would be a traceback for the user
    finally:
        gc.set_threshold(*threshold)
    code = end.value.code
    assert isinstance(code, int)
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(["pidlab", *words], code, *printed)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium, see tests/report/chromium.py."""
    from chromium import Chromium

    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def local_cluster() -> Iterator[Any]:
    """A LocalCluster of dask: two processes of one thread, which may take 4 GB each.

    They and their successors are forked, because each new process would import for seconds.
    """
    distributed, dask = (pytest.importorskip(name) for name in ("distributed", "dask"))
    start_forking()
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": "4GB", "dashboard_address": ":0"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of sockets that tornado closes later
        with (
            dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
            distributed.LocalCluster(host="127.0.0.1", silence_logs=40, **options) as cluster,
        ):
            yield cluster
        gc.collect()

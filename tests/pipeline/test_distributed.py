"""A run on a dask cluster finds what a run in one process finds, to the digit for all that is not trained in common."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from conftest import write_tree
from pidlab.apply import cluster as clusters
from pidlab.apply.cluster import connected, used
from pidlab.config.load import load_config
from pidlab.errors import PidlabError, UsageError
from pidlab.evaluate.results import json_value
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.pipeline.again import evaluate_again
from pidlab.pipeline.analysis import Analysis, analyse
from pidlab.pipeline.distributed import loading, matrix
from pidlab.pipeline.distributed.pieces import Pieces
from pidlab.progress import Task, Watcher
from pidlab.read import Source
from pidlab.runs.scored_events import read_events
from pidlab.sample import Sample

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
distributed = pytest.importorskip("distributed")

N, N_FILES = 2000, 4
CONFIG = """\
data: {files: "part*.root", event_id: [event], weight: w}
classes: {signal: "species == 1", other: "species == 0", third: "species == 2"}
selection: {low: "a < 3", high: "b > -3"}
features: [a, b, {name: c, expression: "c", missing: [-9]}]
spectators: [p]
models:
  hand: {type: expression, cut: "a > 0.5"}
  energy: {type: score, expression: "a + 0.1 * c"}
  cuts: {type: cuts}
  fisher: {type: fisher}
evaluate: {working_points: [0.9], maps: [{x: p, bins: [1, 2, 3]}], robustness: {smear: [0.1], scale: [], shift: []}}
"""
BRIEF = ("models.cuts=null", "evaluate.robustness=null", "evaluate.importance=false")
BDT = "models.bdt={type: bdt, n_estimators: 500, max_depth: 3, learning_rate: 0.02, early_stopping_rounds: null}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of three classes, with weights of both signs and missing values."""
    place = tmp_path_factory.mktemp("distributed")
    rng = np.random.default_rng(4)
    for i in range(N_FILES):
        species = rng.integers(0, 3, N)
        a, b = rng.normal(species == 1, 1), rng.normal((species == 1) - 0.5 * (species == 2), 1)
        columns = {
            "a": a.astype("f4"),
            "b": b.astype("f4"),
            "c": np.where(rng.random(N) < 0.1, -9, rng.normal(species, 1)),
            "p": rng.uniform(1, 3, N).astype("f4"),
            "w": rng.choice([1.0, 2.0, -0.5], N),
            "broken": np.where((np.arange(N) == 1500) & (i == 2), np.nan, 1.0),
            "time": 1.7e9 + rng.exponential(1 + species, N),
        }
        write_tree(place / f"part{i}.root", {**columns, "species": species, "event": i * N + np.arange(N)}, step=1000)
    (place / "a.yaml").write_text(CONFIG)
    return place


@pytest.fixture(scope="module")
def threads() -> Iterator[str]:
    """The address of a cluster whose two workers are threads of this process, which import nothing anew."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp", host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def made(folder: Path, name: str, *overrides: str, dask: str = "", watcher: Watcher | None = None) -> Path:
    loaded = load_config(folder / "a.yaml", overrides)
    run(loaded, folder / name, Resources("cpu", 1, dask=dask), watcher or Watcher(), figures="none")
    return folder / name


def analysed(folder: Path, *overrides: str, dask: str = "") -> Analysis:
    return analyse(load_config(folder / "a.yaml", overrides), Resources("cpu", 1, dask=dask), Watcher())


def found(done: Path | Analysis) -> dict[str, Any]:
    if isinstance(done, Path):
        results: dict[str, Any] = json.loads((done / "results.json").read_text())["results"]
        return results
    return json.loads(json.dumps(json_value(done.results)))


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """The paths of all numbers that differ, but for what the clock says."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            if key not in ("seconds", "scoring"):
                yield from differences(one.get(key), other.get(key), f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}/{i}")
    elif one != other:
        yield f"{path}: {one} {other}"


def same_events(one: Path | Analysis, other: Path | Analysis) -> None:
    """The same rows in the same order, of inputs with the same hashes."""
    first, second = (read_events(each) if isinstance(each, Path) else each.scored for each in (one, other))
    for name in ("y", "weight", "event", "file", "row"):
        np.testing.assert_array_equal(getattr(first.sample, name), getattr(second.sample, name))
    np.testing.assert_array_equal(first.part, second.part)
    inputs = [
        json.loads((each / "manifest.json").read_text())["inputs"] if isinstance(each, Path) else each.inputs
        for each in (one, other)
    ]
    assert inputs[0] == inputs[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("models.cuts=null",), id="split"),
        pytest.param(("folds=3", "models.energy=null", *BRIEF), id="folds"),
        pytest.param(("data.event_id=[]", "negative_weights=drop", *BRIEF), id="entry numbers"),
        pytest.param(("events=2000", "evaluate.calibration=temperature", *BRIEF), id="first look"),
        pytest.param(('features=[a, b, "time"]', "split.test=event % 4 == 0", *BRIEF), id="shifted feature"),
    ],
)
def test_every_number_is_that_of_one_process(
    folder: Path, threads: str, overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 700 entries: the inputs are divided, and the last chunk of each is short."""
    monkeypatch.setattr("pidlab.read.table.Table.chunks.__defaults__", (700,))
    monkeypatch.setattr(loading, "STEP", 700)
    alone, shared = (analysed(folder, *overrides, dask=dask) for dask in ("", threads))
    assert list(differences(found(alone), found(shared))) == []
    same_events(alone, shared)
    for model, scores in alone.scores.items():
        np.testing.assert_array_equal(scores, shared.scores[model])


def test_candidates_of_an_event_keep_their_numbers(
    tmp_path: Path, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jagged inputs that are divided: candidates are counted through the whole input, and branches stay jagged."""
    rng = np.random.default_rng(5)
    for i in range(2):
        counts = rng.integers(0, 4, 1500)
        kind = rng.integers(0, 2, counts.sum())
        jagged = {
            "Track_x": ak.unflatten(rng.normal(kind, 1), counts),
            "Track_hits": ak.unflatten(rng.normal(kind, 1), counts),
            "Track_kind": ak.unflatten(kind, counts),
        }
        write_tree(tmp_path / f"part{i}.root", jagged)
    (tmp_path / "a.yaml").write_text(
        'data: {files: "part*.root", per: Track}\n'
        'classes: {one: "Track_kind == 1", two: "Track_kind == 0"}\n'
        "features: [Track_x, Track_hits]\n"
        "models: {fisher: {type: fisher}, sum: {type: score, expression: Track_x + Track_hits}}\n"
        "evaluate: {robustness: null, importance: false}\n"
    )
    monkeypatch.setattr(loading, "STEP", 400)
    alone, shared = (analysed(tmp_path, dask=dask) for dask in ("", threads))
    assert list(differences(found(alone), found(shared))) == []
    same_events(alone, shared)


@pytest.mark.slow
def test_a_run_is_evaluated_again_on_workers(folder: Path, threads: str) -> None:
    trained = made(folder, "again", *BRIEF)
    for name, dask in (("again_alone", ""), ("again_shared", threads)):
        changes = ["evaluate.working_points=[0.8]", "evaluate.calibration=isotonic"]
        evaluate_again(trained, folder / name, changes, Resources(dask=dask), Watcher(), figures="none")
    assert list(differences(found(folder / "again_alone"), found(folder / "again_shared"))) == []


def test_wrong_inputs_are_said_as_by_one_process(folder: Path, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "STEP", 700)
    said = []
    for dask in ("", threads):
        with pytest.raises(PidlabError) as error:
            analysed(folder, "data.weight=broken", dask=dask)
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "part2.root:T: the weight 'broken' is nan in entry 1,500; weights must be finite" in said[0]


class KillsWorker(Watcher):
    """Kills a process as soon as a task begins."""

    def __init__(self, task: str, seconds: float, process: int) -> None:
        self._task, self._seconds, self._process = task, seconds, process
        self.killed = threading.Event()

    @contextmanager
    def task(self, name: str, total: int, unit: str = "") -> Iterator[Task]:
        if name == self._task:
            threading.Timer(self._seconds, self._kill).start()
        yield Task()

    def _kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)
        self.killed.set()


WITH_BDT = (BDT, "models.cuts=null", "evaluate.importance=false")


@pytest.fixture(scope="module")
def alone(folder: Path) -> Analysis:
    """What one process finds."""
    return analysed(folder, *WITH_BDT)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "seconds"), [("training bdt", 0.5), ("reading", 0.3)])
def test_two_processes_find_what_one_finds_though_one_of_them_is_killed(
    folder: Path, alone: Analysis, local_cluster: Any, task: str, seconds: float
) -> None:
    """Given models and Fisher to the digit; the AUC of the BDT, which both train together, within its interval."""
    trains = task == "training bdt"  # what is read does not depend on it, and two processes take long for a BDT
    config = load_config(folder / "a.yaml", WITH_BDT if trains else WITH_BDT[1:])
    local_cluster.wait_for_workers(2)
    watcher = KillsWorker(task, seconds, local_cluster.workers[0].pid)
    shared = analyse(config, Resources("cpu", 1, dask=local_cluster.scheduler_address), watcher)
    watcher.killed.wait()
    one, other = found(alone), found(shared)
    assert list(differences(one["cutflow"], other["cutflow"])) == []
    for model in ("hand", "energy", "fisher"):
        assert list(differences(one["models"][model], other["models"][model])) == []
        assert list(differences(one["robustness"][model], other["robustness"][model])) == []
    same_events(alone, shared)
    assert set(shared.results.models) == {"hand", "energy", "fisher"} | ({"bdt"} if trains else set())
    if trains:
        area = alone.results.models["bdt"].samples["test"].auc
        assert area.low < shared.results.models["bdt"].samples["test"].auc.value < area.high


def _slow(number: int) -> int:
    time.sleep(1.0)
    return number


@pytest.mark.slow
def test_a_result_that_was_lost_with_its_worker_is_waited_for_beside_one_that_is_there(local_cluster: Any) -> None:
    local_cluster.wait_for_workers(2)
    with connected(local_cluster.scheduler_address) as cluster:
        first, second = (
            cluster.submit(_slow, i, workers=[worker], allow_other_workers=True)
            for i, worker in enumerate(cluster.n_threads)
        )
        cluster.wait([first, second])
        (holder,) = cluster.client.who_has([first])[first.key]
        (process,) = (nanny.pid for nanny in local_cluster.workers.values() if nanny.worker_address == holder)
        os.kill(process, signal.SIGKILL)
        while first.status == "finished":
            time.sleep(0.01)
        assert first.status == "lost"
        cluster.wait([first, second])
        assert cluster.results([first, second]) == [0, 1]


def test_a_matrix_on_workers_is_indexed_like_an_array(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of three pieces in an order in which their segments alternate, fetched as a whole and column by column."""
    rng = np.random.default_rng(7)
    lengths, first = (5, 0, 7), {0: [(0, 0, 3), (6, 3, 2)], 2: [(3, 0, 3), (8, 3, 4)]}
    x = rng.normal(size=(12, 3)).astype("f4")
    with connected(threads) as cluster:
        held = []
        segments = sorted((at, piece, start) for piece, own in first.items() for at, start, _ in own)
        for piece, n in enumerate(lengths):
            rows = np.concatenate([np.arange(at, at + k) for at, _, k in first.get(piece, [])] or [np.empty(0, int)])
            assert len(rows) == n
            held.append(cluster.submit(_sample_of, x[rows]))
        columns = zip(*segments, strict=True)
        at, piece, start = (np.array(each) for each in columns)
        pieces = Pieces(cluster, tuple(held), piece, start, np.array([*at, 12]))
        for small in (10**6, 0):
            monkeypatch.setattr(matrix, "_SMALL", small)
            own = matrix.DistributedMatrix(pieces, slice(0, 12), (0, 1, 2))
            mask = x[:, 0] > 0
            assert own.shape == x.shape
            assert own.size == x.size
            keys: list[Any] = [slice(2, 9), np.array([11, 0, 4, 4, -1]), mask, slice(None, None, 3), slice(5, 5)]
            for key in keys:
                np.testing.assert_array_equal(own[key], x[key])
                np.testing.assert_array_equal(own[key, 1], x[key, 1])
                np.testing.assert_array_equal(own[key][:, [2, 0]], x[key][:, [2, 0]])
                np.testing.assert_array_equal(own[key][1:, :2], x[key][1:, :2])
            for j in range(3):
                np.testing.assert_array_equal(own[:, j], x[:, j])
            np.testing.assert_array_equal(own[mask].mapped(lambda sample: sample.x.sum(axis=1)), x[mask].sum(axis=1))
            branches = matrix.DistributedColumns(pieces, slice(0, 12), ("text", "jagged"))
            taken = branches.take(np.array([9, 1]))
            assert taken["text"].tolist() == [f"{x[9, 0]:.4f}", f"{x[1, 0]:.4f}"]
            assert ak.to_list(taken["jagged"]) == [[x[9, 0]], [x[1, 0]]]
        changed = own.copy()
        changed[:] = 0
        np.testing.assert_array_equal(own, x)


def _sample_of(x: Any) -> Sample:
    text = np.array([f"{value:.4f}" for value in x[:, 0]], np.dtypes.StringDType())
    columns = {"text": text, "jagged": ak.unflatten(x[:, 0], np.ones(len(x), int))}
    return Sample(
        x=x, y=np.zeros(len(x), np.int8), weight=np.ones(len(x)), event=np.arange(len(x), dtype=np.uint64),
        features=("a", "b", "c"), classes=("one", "two"), signal=0, spectators={}, columns=columns,
        file=np.zeros(len(x), np.int32), row=np.arange(len(x)),
    )  # fmt: skip


def test_workers_with_other_packages_are_named_with_what_they_have(
    threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(threads) as cluster:
        cluster.check_packages()
        answer = cluster.client.get_versions(packages=["pidlab", "numpy"])
        (worker, *_) = sorted(answer["workers"])
        answer["workers"][worker]["packages"] |= {"numpy": "1.0", "xgboost": None}
        answer["client"]["packages"] |= {"xgboost": "3.2"}

        class Client:
            def get_versions(self, packages: list[str]) -> Mapping[str, Any]:
                return answer

        with pytest.raises(UsageError, match=rf"the worker {worker} has numpy 1.0 \(.*here\); no xgboost \(3.2 here\)"):
            replace(cluster, client=Client()).check_packages()


def test_a_cluster_without_workers_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", protocol="tcp") as cluster,
        pytest.raises(UsageError, match="has no workers; start some with `dask worker tcp://"),
        used(cluster.scheduler_address),
    ):
        pass


def test_a_cluster_that_loses_all_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 2.0)
    options = {"processes": False, "dashboard_address": ":0", "protocol": "tcp"}
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster,
        connected(cluster.scheduler_address) as left,
    ):
        future = left.submit(time.sleep, 5.0)
        threading.Timer(0.5, lambda: cluster.scale(0)).start()
        start = time.monotonic()
        with pytest.raises(UsageError, match="has had no worker for 2 s; start some"):
            left.results([future])
        assert time.monotonic() - start < 20


def test_a_scheduler_that_is_not_there_ends_a_run_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UsageError, match="no scheduler answers there"):
            made(folder, "nobody", dask=address)
    assert not (folder / "nobody").exists()


def test_inputs_are_divided_where_chunks_end_and_small_ones_are_read_together(folder: Path) -> None:
    sources = [Source(str(folder / f"part{i}.root"), "T") for i in range(4)]
    inputs = [(each, each.stem, ()) for each in sources]
    keys = {each: each.key for each, _, _ in inputs}
    step = loading.STEP
    sizes = dict(zip(keys, (20 * step + 5, 10, 20, step), strict=True))
    planned = loading.partitions(inputs, keys, sizes, n_threads=1)
    spans = [span for ranges in planned for r in ranges if r.index == 0 for span in r.spans or ()]
    assert spans[0][0] == 0
    assert spans[-1] == (20 * step, 20 * step + 5)
    assert all(a[1] == b[0] and a[1] % step == 0 for a, b in itertools.pairwise(spans))
    assert [r.index for ranges in planned for r in ranges if r.index] == [1, 2, 3]
    assert max(sum(loading._length(r, sizes) for r in ranges) for ranges in planned) <= 3 * step


REGRESSION = """\
data: {files: "part*.root", event_id: [event], weight: w}
target: {value: "a + 0.5 * b", cut: species < 2}
selection: {low: "a < 3"}
features: [a, {name: c, expression: "c", missing: [-9]}]
spectators: [p]
models:
  constant: {type: constant, loss: absolute}
  linear: {type: linear, loss: huber}
  bdt: {type: bdt, loss: gaussian, n_estimators: 10}
  halves: {type: linear, by: {x: p, bins: [1, 2, 3]}}
  energy: {type: score, expression: "a"}
evaluate: {maps: [{x: p, bins: [1, 2, 3]}]}
"""


@pytest.mark.parametrize("folds", [(), ("folds=2",)], ids=["split", "folds"])
def test_every_number_of_a_regression_is_that_of_one_process(
    folder: Path, threads: str, folds: tuple[str, ...]
) -> None:
    (folder / "target.yaml").write_text(REGRESSION)
    loaded = load_config(folder / "target.yaml", folds)
    here, there = (analyse(loaded, Resources("cpu", 1, dask=address), Watcher()) for address in ("", threads))
    assert not list(differences(found(here), found(there)))
    for name in here.scores:
        assert np.array_equal(here.scores[name], there.scores[name], equal_nan=True), name
    assert np.array_equal(here.outputs["bdt"], there.outputs["bdt"])

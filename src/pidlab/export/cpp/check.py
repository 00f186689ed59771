"""Writes a C++ header and checks it: compiled into a small program, it scores the events that pidlab scored."""

from __future__ import annotations

import importlib.util
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError, OutputError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.export.choice import choose_for_header
from pidlab.export.cpp.event import EventMember
from pidlab.export.cpp.header import Header
from pidlab.export.parity import LIMIT, Exported, ParityEvents, largest_difference, units_of
from pidlab.expressions.literals import cpp_identifier, cpp_string
from pidlab.models.model import Model
from pidlab.runs.bundle import Bundle

NOT_CHECKED = "not checked: no C++ compiler"
_COMPILERS = ("g++", "clang++", "c++")
_FLAGS = ("-std=c++17", "-O1")
_TIMEOUT = 600  # seconds
_LIMITS = {"bdt": 1e-6}  # by type of model; LIMIT for the others
_HEADER = "exported.h"
# The variables that a compiler may need. Any other variable could change what is compiled or run.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "ROOTSYS", "SDKROOT", "DEVELOPER_DIR")


def write(bundle: Bundle, models: Sequence[str], output: Path, events: ParityEvents, run: Path) -> list[Exported]:
    """Writes `pid_RUN.h` into the folder `output` and checks it on `events` if a compiler or ROOT is installed.

    If all models are asked for, those of types without C++ are left out.

    Raises:
        UsageError: a model or an expression cannot be written in C++.
        ModelError: the header does not compile, or disagrees with pidlab.
        OutputError: the temporary files of the check cannot be written.
    """
    models, left_out = choose_for_header(bundle, models)
    header = Header(bundle, models, events, cpp_identifier(f"pid_{run.resolve().name}"))
    path = output / f"{header.namespace}.h"
    path.write_text(header.text(), encoding="utf-8")
    with _temporary_folder() as folder:
        found = outputs_of(header, path, events, folder)
    worst, note = (math.nan, NOT_CHECKED) if found is None else (compared(header, path.name, found, events), "")
    note = "; ".join(filter(None, [note, left_out]))
    return [Exported(path, "header", tuple(models), worst, len(events), note)]


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Gives a folder for the program that checks a header.

    Raises:
        OutputError: a file cannot be written there; without this it would be said of the folder of the export.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pidlab-export-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()}: the temporary files that check the header cannot be written "
            f"({error.strerror or error}); free some space there, or name another folder by TMPDIR"
        ) from error


def outputs_of(header: Header, path: Path, events: ParityEvents, folder: Path) -> dict[str, NDArray[np.float64]] | None:
    """Returns what the header computes for the events, by output; None if there is neither a compiler nor ROOT.

    Raises:
        ModelError: the header does not compile, or the program fails.
    """
    program, data, answer = folder / "check.cpp", folder / "events.bin", folder / "answer.bin"
    program.write_text(_program(header, folder / _HEADER), encoding="utf-8")
    shutil.copyfile(path, folder / _HEADER)
    data.write_bytes(b"".join(_column(m, events.branches[m.branch]) for m in header.event.members))
    words = [str(data), str(len(events)), str(answer)]
    if compiler := find_compiler():
        command = [*compiler, *_FLAGS, "-o", str(folder / "check"), str(program)]
        _run(command, path.name, "does not compile", folder)
        _run([str(folder / "check"), *words], path.name, "compiles and does not run", folder)
    elif importlib.util.find_spec("ROOT") is not None:
        command = [sys.executable, "-W", "ignore", "-c", _IN_CLING, str(program), *words]
        _run(command, path.name, "fails in cling", folder)
    else:
        return None
    names = ["pid_selected"]
    for model in header.models:
        names += [*header.columns_of(model), *(f"pid_{model}_{d.name}" for d in header.bundle.decisions[model])]
    names += [*header.weights, *(f"{model}(…)" for model in header.models)]
    values = np.fromfile(answer).reshape(len(events), len(names))
    return {name: values[:, i] for i, name in enumerate(names)}


def find_compiler() -> list[str]:
    """Returns the compiler that the environment variable CXX names, or the first one found; empty if there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named and shutil.which(named[0]):
        return named
    return next(([name] for name in _COMPILERS if shutil.which(name)), [])


def compared(header: Header, file: str, found: Mapping[str, NDArray[np.float64]], events: ParityEvents) -> float:
    """Returns the largest difference of any score.

    A decision may differ only if the score is as close to its threshold as the scores of this model differ.

    Raises:
        ModelError: a score or a decision disagrees.
    """
    bundle, worst = header.bundle, 0.0
    largest_difference(f"{file}: the selection", found["pid_selected"], events.selected, 0)
    for name in header.models:
        both = np.concatenate([events.scores[name], events.outputs[name]], axis=1)
        scores = np.where(events.selected[:, None], both, np.float32(np.nan))
        model = bundle.models[name]
        columns = {**header.columns_of(name), f"{name}(…)": bundle.recipe.signal}
        limit, units = _LIMITS.get(model.kind, LIMIT), np.tile(units_of(bundle, scores), (len(scores), 1))
        n_own = events.scores[name].shape[1]
        units[:, :n_own] = np.maximum(units[:, :n_own], _steepness(model, events.x, limit))
        differences = {
            c: largest_difference(f"{file}: {c}", found[c], scores[:, i], limit, units[:, i])
            for c, i in columns.items()
        }
        own = max(_distance(found[c], scores[:, i]) for c, i in columns.items() if i < n_own)
        for i, d in enumerate(bundle.decisions[name]):
            differ = found[f"pid_{name}_{d.name}"] != events.passed[name][d.name]
            at = np.float64(d.threshold) if d.flat is None else thresholds_at(d.flat, events.spectators)
            distance = np.abs(scores[:, model.decision_column(i)] - np.asarray(at).astype(np.float32))
            far = differ & ~(distance <= max(own, np.finfo(np.float32).eps if d.flat else 0.0))
            largest_difference(f"{file}: the decision pid_{name}_{d.name}", far, np.zeros(len(far)), 0)
        in_units = max(difference for c, difference in differences.items() if columns[c] < n_own)
        worst = max(worst, in_units if model.calibration is None else own)
    for branch in header.weights:
        worst = max(worst, largest_difference(f"{file}: {branch}", found[branch], events.weights[branch], LIMIT))
    return worst


def _steepness(model: Model, x: NDArray[np.float32], limit: float) -> NDArray[np.float64] | float:
    """Returns by how many times `limit` the calibration moves each score (n, k) if what it maps is moved by `limit`.

    A steep calibration turns a difference in the last digit of what it maps into a large one.
    """
    if model.calibration is None:
        return 1.0
    changes = []
    for fitted in model.fitted:
        before = fitted.scores(x)
        here = model.calibration.apply(before)
        moved = [model.calibration.apply(np.clip(before + step, 0, 1)) for step in (-limit, limit)]
        changes.append(np.max([np.abs(each.astype(np.float64) - here) for each in moved], axis=0) / limit)
    return np.asarray(np.nan_to_num(np.mean(changes, axis=0), nan=1.0))


def _distance(found: NDArray[np.float64], expected: NDArray[np.float32]) -> float:
    """Returns the largest difference of two columns, whose NaN stand at the same places."""
    both = np.isfinite(found) & np.isfinite(expected)
    return float(np.abs(found[both] - expected[both]).max(initial=0.0))


def _program(header: Header, file: Path) -> str:
    """Returns the program's source: the header, calls of its functions of plain values, and `parity_check.cpp`."""
    calls = "".join(
        f"   writer({cpp_string(m)}, pid::{header.names[m]}"
        f"({', '.join(f'event.{b.name}' for b in header.members_of(m))}));\n"
        for m in header.models
    )
    return (
        f'#include "{file}"\nnamespace pid = {header.namespace};\n'
        "template <class Writer>\nvoid call_with_values([[maybe_unused]] const pid::Event& event, Writer& writer)\n"
        f"{{\n{calls}}}\n{(Path(__file__).parent / 'parity_check.cpp').read_text(encoding='utf-8')}"
    )


def _column(member: EventMember, column: Any) -> bytes:
    """Returns the values of a branch as the program reads them, behind the number of their bytes."""
    dtype = {"double": "<f8", "std::int64_t": "<i8", "std::uint64_t": "<u8", "bool": "<u8"}.get(member.number_type)
    if dtype is None:
        words = [str(word).encode() for word in column]
        content = b"".join(len(word).to_bytes(8, "little") + word for word in words)
    elif not member.is_list:
        content = np.asarray(column).astype(dtype).tobytes()
    else:
        jagged = ak.from_numpy(column) if isinstance(column, np.ndarray) else column
        counts, flat = ak.to_numpy(ak.num(jagged)), ak.to_numpy(ak.flatten(jagged))
        parts = np.split(flat.astype(dtype), np.cumsum(counts)[:-1])
        content = b"".join(len(part).to_bytes(8, "little") + part.tobytes() for part in parts)
    return len(content).to_bytes(8, "little") + content


def _run(command: list[str], file: str, failed: str, folder: Path) -> None:
    """Runs a program in a temporary folder, where no configuration files lie, with little of the environment.

    Raises:
        ModelError: the program fails or takes too long.
    """
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=_TIMEOUT)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the compiler proper, too, which the driver has started
            if isinstance(error, subprocess.TimeoutExpired):
                raise ModelError(f"{file}: {failed}: {command[0]} took more than {_TIMEOUT} s") from error
            raise
    if process.returncode:
        output = "\n    ".join((err or out).strip().splitlines()[:12])
        raise ModelError(f"{file}: {failed} ({' '.join(command[:3])} …, exit {process.returncode}):\n    {output}")


_IN_CLING = """
import os, sys
import ROOT
program, events, n, answer = sys.argv[1:]
ok = ROOT.gInterpreter.Declare(open(program).read())
code = ROOT.pidlab_check.run(events, int(n), answer) if ok else 2
sys.stdout.flush()
os._exit(code)
"""

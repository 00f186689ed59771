"""The parity check of a header: it is compiled into a small program, which scores the events that pidlab scored."""

from __future__ import annotations

import importlib.util
import math
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from pidlab.errors import ModelError
from pidlab.evaluate.points.flat import thresholds_at
from pidlab.export.cpp.event import EventMember
from pidlab.export.cpp.header import Header
from pidlab.export.parity import LIMIT, ParityEvents, largest_difference
from pidlab.expressions.literals import cpp_string

NOT_CHECKED = "not checked: no C++ compiler"
_COMPILERS = ("g++", "clang++", "c++")
_FLAGS = ("-std=c++17", "-O1")
_SECONDS = 600
_LIMITS = {"bdt": 1e-6}
_HEADER = "exported.h"
# What a compiler may need of the environment. Everything else could change what is compiled or run.
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "ROOTSYS", "SDKROOT", "DEVELOPER_DIR")


def checked(header: Header, path: Path, events: ParityEvents) -> tuple[float, str]:
    """The largest difference of any score between the header and pidlab, and a note; NaN where nothing can compile it.

    Raises:
        ModelError: it does not compile, or disagrees.
    """
    with tempfile.TemporaryDirectory(prefix="pidlab-export-") as name:
        folder = Path(name)
        found = outputs_of(header, path, events, folder)
    return (math.nan, NOT_CHECKED) if found is None else (compared(header, path.name, found, events), "")


def outputs_of(header: Header, path: Path, events: ParityEvents, folder: Path) -> dict[str, NDArray[np.float64]] | None:
    """What the header says of the events, by output; None where there is neither a compiler nor ROOT.

    Raises:
        ModelError: it does not compile, or does not run through.
    """
    program, given, answer = folder / "check.cpp", folder / "events.bin", folder / "answer.bin"
    program.write_text(_program(header, folder / _HEADER), encoding="utf-8")
    shutil.copyfile(path, folder / _HEADER)
    given.write_bytes(b"".join(_column(m, events.branches[m.branch]) for m in header.event.members))
    words = [str(given), str(len(events)), str(answer)]
    if compiler := find_compiler():
        command = [*compiler, *_FLAGS, "-o", str(folder / "check"), str(program)]
        _run(command, path.name, "does not compile", folder)
        _run([str(folder / "check"), *words], path.name, "compiles and does not run", folder)
    elif importlib.util.find_spec("ROOT") is not None:
        command = [sys.executable, "-W", "ignore", "-c", _IN_CLING, str(program), *words]
        _run(command, path.name, "fails in cling", folder)
    else:
        return None
    names = [*_outputs(header), *(f"plain {m}" for m in header.models)]
    values = np.fromfile(answer).reshape(len(events), len(names))
    return {name: values[:, i] for i, name in enumerate(names)}


def find_compiler() -> list[str]:
    """The C++ compiler of the environment variable CXX, or the first one found; empty where there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named and shutil.which(named[0]):
        return named
    return next(([name] for name in _COMPILERS if shutil.which(name)), [])


def compared(header: Header, file: str, found: Mapping[str, NDArray[np.float64]], events: ParityEvents) -> float:
    """The largest difference of any score.

    A decision may differ only where the score is as near to its threshold as the scores of this model differ.

    Raises:
        ModelError: a score or a decision disagrees.
    """
    bundle, worst = header.bundle, 0.0
    largest_difference(f"{file}: the selection", found["pid_selected"], events.selected, 0)
    for model in header.models:
        scores = np.where(events.selected[:, None], events.scores[model], np.float32(np.nan))
        contender = bundle.models[model]
        limit = _LIMITS.get(contender.kind, LIMIT)
        own = 0.0
        for column, index in header.columns_of(model).items():
            own = max(own, largest_difference(f"{file}: {column}", found[column], scores[:, index], limit))
        signal = scores[:, bundle.recipe.signal]
        own = max(own, largest_difference(f"{file}: {model}(…)", found[f"plain {model}"], signal, limit))
        for i, d in enumerate(bundle.decisions[model]):
            differ = found[f"pid_{model}_{d.name}"] != events.passed[model][d.name]
            at = np.float64(d.threshold) if d.flat is None else thresholds_at(d.flat, events.spectators)
            distance = np.abs(scores[:, contender.decision_column(i)] - np.asarray(at).astype(np.float32))
            far = differ & ~(distance <= max(own, np.finfo(np.float32).eps if d.flat else 0.0))
            largest_difference(f"{file}: the decision pid_{model}_{d.name}", far, np.zeros(len(far)), 0)
        worst = max(worst, own)
    return worst


def _outputs(header: Header) -> list[str]:
    """The names that `outputs` shows a visitor, in order."""
    names = ["pid_selected"]
    for model in header.models:
        names += [*header.columns_of(model), *(f"pid_{model}_{d.name}" for d in header.bundle.decisions[model])]
    return names


def _program(header: Header, file: Path) -> str:
    calls = "".join(
        f"   writer({cpp_string(m)}, pid::{header.names[m]}"
        f"({', '.join(f'event.{b.name}' for b in header.members_of(m))}));\n"
        for m in header.models
    )
    plain = f"template <class Writer>\nvoid plain_calls(const pid::Event& event, Writer& writer)\n{{\n{calls}}}\n"
    fixed = (Path(__file__).parent / "parity_check.cpp").read_text(encoding="utf-8")
    unused = "   static_cast<void>(event);\n"
    return (
        f'#include "{file}"\nnamespace pid = {header.namespace};\n'
        f"{plain.replace('{' + chr(10), '{' + chr(10) + unused, 1)}{fixed}"
    )


def _column(member: EventMember, column: Any) -> bytes:
    """The values of a branch as the program reads them, behind the number of their bytes."""
    dtype = {"double": "<f8", "std::int64_t": "<i8", "std::uint64_t": "<u8", "bool": "<u8"}.get(member.number_type)
    if dtype is None:
        words = [str(word).encode() for word in column]
        content = b"".join(len(word).to_bytes(8, "little") + word for word in words)
    elif not member.is_list:
        content = np.asarray(column).astype(dtype).tobytes()
    else:
        counts = (
            np.full(len(column), column.shape[1]) if isinstance(column, np.ndarray) else ak.to_numpy(ak.num(column))
        )
        flat = np.asarray(column).reshape(-1) if isinstance(column, np.ndarray) else ak.to_numpy(ak.flatten(column))
        parts = np.split(flat.astype(dtype), np.cumsum(counts)[:-1])
        content = b"".join(len(part).to_bytes(8, "little") + part.tobytes() for part in parts)
    return len(content).to_bytes(8, "little") + content


def _run(command: list[str], file: str, failed: str, folder: Path) -> None:
    """Run a program in a temporary folder, where no settings of others lie, with little of the environment."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{file}: {failed}: {command[0]} took more than {_SECONDS} s") from error
    if done.returncode:
        told = "\n    ".join((done.stderr or done.stdout).strip().splitlines()[:12])
        raise ModelError(f"{file}: {failed} ({' '.join(command[:3])} …, exit {done.returncode}):\n    {told}")


_IN_CLING = """
import os, sys
import ROOT
program, given, n, answer = sys.argv[1:]
ok = ROOT.gInterpreter.Declare(open(program).read())
code = ROOT.pidlab_check.run(given, int(n), answer) if ok else 2
sys.stdout.flush()
os._exit(code)
"""

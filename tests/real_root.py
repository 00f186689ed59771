"""Asks real ROOT, in a process of its own: PyROOT can crash when it goes down, and it must not take the tests along.

ROOT takes a second to import. So one process imports it, for all questions of a process of pytest, and each question is
answered by a process that is forked from it.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

needs_root = pytest.mark.skipif(
    importlib.util.find_spec("ROOT") is None, reason="ROOT is not installed: pip install -e '.[root]'"
)

_SERVER = """
import json, os, signal, sys, traceback, warnings
warnings.simplefilter("ignore")
import numpy as np
import ROOT
ROOT.gROOT.SetBatch(True)

def columns(tree, names, cut=""):
    n = tree.Draw(":".join(names), cut, "goff para" if len(names) > 4 else "goff")
    return [np.frombuffer(tree.GetVal(i), np.float64, n).copy() for i in range(len(names))]

def answer_to(question):
    signal.alarm(300)
    os.chdir(question["folder"])
    os.environ.clear()
    os.environ.update(question["environment"])
    for stream, path in ((1, question["out"]), (2, question["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    names = dict(ROOT=ROOT, np=np, columns=columns, json=json, os=os, sys=sys, given=question["given"])
    exec(compile(question["code"], "question", "exec"), names)
    print("\\nANSWER " + json.dumps(names["answer"]), flush=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            answer_to(json.loads(line))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process that has imported ROOT; it ends when the pipe of its questions is closed with this process."""
    return subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask_root(code: str, **given: Any) -> Any:
    """What `code` leaves in `answer`; it finds the keyword arguments in `given`. ROOT must not complain."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        question = {"code": code, "given": given, "out": str(out), "err": str(err), "folder": str(Path.cwd())}
        server.stdin.write(json.dumps(question | {"environment": dict(os.environ)}) + "\n")
        server.stdin.flush()
        ended = server.stdout.readline().strip()
        printed, told = (path.read_text(errors="replace") if path.exists() else "" for path in (out, err))
    complaints = [line for line in told.splitlines() if line.startswith(("Error", "Warning", "Fatal", "SysError"))]
    assert not complaints, complaints
    answers = [line for line in printed.splitlines() if line.startswith("ANSWER ")]
    assert answers, f"{told}{printed}ended with {ended or 'the process that imports ROOT'}"
    return json.loads(answers[-1].removeprefix("ANSWER "))

"""Asks real ROOT, in a process of its own: PyROOT can crash when it goes down, and it must not take the tests along."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

needs_root = pytest.mark.skipif(
    importlib.util.find_spec("ROOT") is None, reason="ROOT is not installed: pip install -e '.[root]'"
)

_BEFORE = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import ROOT
ROOT.gROOT.SetBatch(True)
given = json.loads(sys.argv[1])
def columns(tree, names, cut=""):
    n = tree.Draw(":".join(names), cut, "goff para" if len(names) > 4 else "goff")
    return [np.frombuffer(tree.GetVal(i), np.float64, n).copy() for i in range(len(names))]
"""
_AFTER = """
print("\\nANSWER " + json.dumps(answer), flush=True)
os._exit(0)
"""


def ask_root(code: str, **given: Any) -> Any:
    """What `code` leaves in `answer`; it finds the keyword arguments in `given`. ROOT must not complain."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    command = [sys.executable, "-c", _BEFORE + code + _AFTER, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    complaints = [
        line for line in done.stderr.splitlines() if line.startswith(("Error", "Warning", "Fatal", "SysError"))
    ]
    assert not complaints, complaints
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    assert answers, done.stderr + done.stdout
    return json.loads(answers[-1].removeprefix("ANSWER "))

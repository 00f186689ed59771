"""The page on an analysis in data: its commands, configuration and macro run as they stand, and give the truth."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from conftest import Run
from real_root import ask_root, needs_root

PAGE = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
MACRO = """
ROOT.gInterpreter.ProcessLine("#include <iostream>")
import os
os.chdir(given["folder"])
assert ROOT.gInterpreter.Declare(given["macro"])
ROOT.gInterpreter.ProcessLine("std::ofstream told(\\"told.txt\\"); auto *before = std::cout.rdbuf(told.rdbuf());")
ROOT.gInterpreter.ProcessLine("corrected(); std::cout.rdbuf(before); told.close();")
answer = open("told.txt").read().split()
"""


@pytest.mark.slow
@needs_root
def test_the_commands_of_the_page_give_back_the_true_yield(pidlab: Run, tmp_path: Path) -> None:
    (config,) = re.findall(r'^```yaml title="data.yaml"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "data.yaml").write_text(config, encoding="utf-8")
    commands = re.findall(r"^\$ pidlab (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        done = pidlab(*shlex.split(command))
        assert done.returncode == 0, done.stderr
    (macro,) = re.findall(r"^```cpp\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found, error, truth = map(float, ask_root(MACRO, macro=macro, folder=tmp_path))
    assert truth > 25_000
    assert found == pytest.approx(truth, rel=0.02)
    assert 0.001 < error / truth < 0.02

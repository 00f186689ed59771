"""The files that start workers on batch systems are those of the page, and a shell can read the jobs that they make."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("dask_jobqueue") is None:  # not imported here: it takes Ctrl-C from the whole process
    pytest.skip("dask_jobqueue is not installed", allow_module_level=True)

FOLDER = Path(__file__).parents[1] / "docs" / "cluster"
SCRIPT = "import sys; sys.path.insert(0, {folder!r}); import {name}; print({name}.make_cluster().job_script())"


def job_script(name: str) -> str:
    """In a process of its own, since the cluster starts a scheduler."""
    command = [sys.executable, "-c", SCRIPT.format(folder=str(FOLDER), name=name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def check_syntax(script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["slurm", "htcondor"])
def test_the_page_shows_the_file(name: str) -> None:
    page = (FOLDER.parent / "cluster.md").read_text(encoding="utf-8")
    assert f'```py title="{name}.py"\n{(FOLDER / f"{name}.py").read_text(encoding="utf-8")}```' in page


@pytest.mark.slow
def test_slurm_gets_a_script_with_the_memory_and_two_workers_of_two_threads() -> None:
    script = job_script("slurm")
    check_syntax(script)
    assert script.startswith("#!/usr/bin/env bash\n\n#SBATCH -J pidlab\n")
    for line in ("#SBATCH -p batch", "#SBATCH -A my_group", "#SBATCH --cpus-per-task=4", "#SBATCH -t 02:00:00"):
        assert f"{line}\n" in script
    assert re.search(r"^#SBATCH --mem=1[56]G$", script, re.MULTILINE)
    for option in ("--nthreads 2", "--nworkers 2", "--memory-limit 7.45GiB", "--local-directory /tmp"):
        assert option in script


@pytest.mark.slow
def test_htcondor_gets_a_job_that_starts_two_workers_of_two_threads() -> None:
    lines = dict(re.findall(r"^(\S+) = (.*)$", job_script("htcondor"), re.MULTILINE))
    assert lines["RequestCpus"] == "MY.DaskWorkerCores"
    assert lines["MY.DaskWorkerCores"] == "4"
    assert lines["+JobFlavour"] == '"longlunch"'
    assert lines["Executable"].endswith("sh")
    command = lines["Arguments"].strip('"').replace('""', '"')
    for option in ("--nthreads 2", "--nworkers 2", "--memory-limit 7.45GiB"):
        assert option in command
    check_syntax(command)

"""Threads: as many as are free when a training begins, within what the control group of the process grants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pidlab.models import threads
from pidlab.models.bdt import BDT

SPIN = "while True: pass"


def test_cores_that_other_processes_keep_busy_are_not_free() -> None:
    n = os.cpu_count() or 1
    # of a shell that has ended, so that they are not processes of this one
    started = f"for i in $(seq {n}); do {sys.executable} -c '{SPIN}' >/dev/null 2>&1 & echo $!; done"
    busy = [int(pid) for pid in subprocess.run(["sh", "-c", started], capture_output=True, check=True).stdout.split()]
    try:
        until = time.monotonic() + 20
        while threads.free_cores() > 1 and time.monotonic() < until:
            pass
        assert threads.free_cores() == 1
        running = [threads._n_running_elsewhere() for _ in range(20)]
        assert np.mean(running) >= n - 0.5
    finally:
        for pid in busy:
            os.kill(pid, signal.SIGKILL)


def test_a_process_of_our_own_such_as_the_one_that_draws_takes_no_core_from_a_training() -> None:
    before = np.mean([threads._n_running_elsewhere() for _ in range(20)])
    with subprocess.Popen([sys.executable, "-c", SPIN]) as drawing:
        time.sleep(0.5)
        during = np.mean([threads._n_running_elsewhere() for _ in range(20)])
        drawing.kill()
    assert during < before + 0.5


def test_free_cores_are_those_that_are_left() -> None:
    with patch.object(os, "sched_getaffinity", lambda _: set(range(6))), patch.object(threads, "_quotas", list):
        with patch.object(os, "cpu_count", lambda: 8):
            found = {}
            for n in (0, 1, 3, 5, 20):
                with patch.object(threads, "_n_running_elsewhere", lambda n=n: n):
                    found[n] = threads.free_cores()
        assert found == {0: 6, 1: 6, 3: 5, 5: 3, 20: 1}


@pytest.mark.parametrize(("content", "cores"), [("250000 100000", 3), ("50000 100000", 1), ("max 100000", 6)])
def test_the_quota_of_a_control_group_limits_the_cores(content: str, cores: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(content + "\n")
    with (
        patch.object(os, "sched_getaffinity", lambda _: set(range(6))),
        patch.object(threads, "_quotas", lambda: list(threads._quota(tmp_path))),
    ):
        assert threads.usable_cores() == cores


def test_the_quota_of_the_first_version_of_control_groups_is_read(tmp_path: Path) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert list(threads._quota(tmp_path)) == [1.5]
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    assert list(threads._quota(tmp_path)) == []
    assert list(threads._quota(tmp_path / "elsewhere")) == []


def test_trees_do_not_depend_on_the_threads_that_were_free() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20_000, 5)).astype(np.float32)
    y, weight = (x[:, 0] + rng.normal(size=20_000) > 0).astype(int), rng.random(20_000)
    made: list[Any] = []
    for n_free in (1, 2, 3):
        with (
            patch("pidlab.models.threads.free_cores", lambda n=n_free: n),
            patch("pidlab.models.threads._VALUES_A_THREAD", 10_000),
        ):
            made.append(BDT(n_estimators=5, device="cpu").fit(x, y, weight))
    assert len({bytes(each.booster_.save_raw("json")) for each in made}) == 1

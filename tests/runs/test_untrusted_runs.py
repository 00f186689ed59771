"""Run folders, files and configurations from strangers: what they hold is data, what a user owns stays."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from safetensors.numpy import load_file, save

import pidlab as package
from conftest import Run
from pidlab.apply import Summary
from pidlab.apply.attach import write_attach
from pidlab.atomic import write_text
from pidlab.config.load import load_config
from pidlab.config.starter import starter_configuration
from pidlab.errors import ConfigError, ModelError, OutputError, PidlabError
from pidlab.export.cpp.check import find_compiler
from pidlab.expressions.literals import (
    cpp_comment,
    cpp_identifier,
    cpp_string,
    python_string,
    yaml_comment,
    yaml_string,
)
from pidlab.models.bdt.forest import check_trees, read_ubj
from pidlab.models.bdt.objective import of_classes
from pidlab.models.registry import Resources
from pidlab.progress import Watcher
from pidlab.read import Source
from pidlab.read.inspection import BranchSummary, TableSummary
from pidlab.runs.bundle import load_bundle
from pidlab.runs.compare import load_runs
from pidlab.runs.manifest import checksums, is_run, verify
from pidlab.runs.record import seal
from pidlab.runs.replot import figure_titles
from pidlab.runs.reproduce import reproduce
from pidlab.runs.revision import revision_of
from pidlab.runs.whole import whole_folder
from real_root import ask_root, needs_root

GOLDEN = Path(__file__).parent / "golden"
FORGED = 'eff90(float s){return false;} static int planted=system("touch planted"); inline bool x'


def sealed(run: Path) -> None:
    """Make the checksums of a run those of its files as they are now."""
    seal(run, json.loads((run / "manifest.json").read_text()) | {"kind": "pidlab run"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with checksums, and its input beside it."""
    shutil.copytree(GOLDEN, tmp_path / "golden")
    sealed(tmp_path / "golden" / "run")
    return tmp_path / "golden" / "run"


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    replaced = edit(content)
    path.write_text(json.dumps(content if replaced is None else replaced))


# Text where it enters other languages


@given(st.text())
def test_a_literal_of_python_or_yaml_is_the_text_that_it_was_made_of(text: str) -> None:
    assert ast.literal_eval(python_string(text)) == text
    if not any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        assert YAML(typ="safe", pure=True).load(f"key: {yaml_string(text)}  # {yaml_comment(text)}\n") == {"key": text}


@given(st.text())
def test_a_comment_is_one_line_that_nothing_leaves(text: str) -> None:
    for written in (cpp_comment(text), yaml_comment(text)):
        assert len(written.splitlines()) <= 1
    assert not {"\\", "\0"} & set(cpp_comment(text))
    assert not any(each in cpp_comment(text) for each in ("??", "*/", "/*"))


@pytest.mark.slow
@pytest.mark.skipif(not find_compiler(), reason="there is no C++ compiler")
def test_a_literal_of_cpp_is_the_text_byte_by_byte_and_names_are_no_macros(tmp_path: Path) -> None:
    texts = [
        "a\nb",
        'q"; system("touch planted"); "',
        "back\\",
        "???/x??",
        "tab\t\r\x01",
        "é 😀",
        "\x7f9",
        "\udcff1",
        "%s",
    ]
    names = ["EOF", "NULL", "errno", "assert", "class", "linux", "stdin", "M_PI", "not", "major", "INFINITY"]
    members = [cpp_identifier(name) for name in names]
    written = "   std::fwrite({0}, 1, sizeof({0}), stdout); // {1}\n"
    shown = "".join(written.format(cpp_string(t), cpp_comment(t)) for t in texts)
    program = "#include <bits/stdc++.h>\n#include <unistd.h>\n#include <sys/sysmacros.h>\n"
    program += f"struct Event {{ {''.join(f'double {m} = 0; ' for m in members)} }};\n"
    program += f"int main()\n{{\n   Event event; event.{members[0]} = 1;\n{shown}}}\n"
    (tmp_path / "a.cpp").write_text(program, encoding="utf-8")
    command = [*find_compiler(), "-std=c++17", "-o", str(tmp_path / "a"), str(tmp_path / "a.cpp")]
    subprocess.run(command, check=True, capture_output=True)
    found = subprocess.run([tmp_path / "a"], check=True, capture_output=True, cwd=tmp_path).stdout
    assert found.split(b"\0")[:-1] == [os.fsencode(t) for t in texts]
    assert len(set(members)) == len(names)
    assert cpp_identifier("P.gtr.p") == "P_gtr_p"


HOSTILE = ["x\noutput: precious", "a # b", "k: v", "true", "x\n", 'q"', "b\\", "\u2028output: precious", "tick`s"]


def test_a_starter_says_only_what_it_should_whatever_branches_are_called(tmp_path: Path) -> None:
    branches = tuple(BranchSummary(name, "float", 10, 0, 0.0, 1.0) for name in HOSTILE)
    summary = TableSummary("T", 10, 10, branches, 0)
    text = starter_configuration("in\noutput: precious.root", "T\noutput: precious", summary)
    lines = text.replace("#  electron: ", "  electron: ").replace(
        "#  pion: {files: pions.root}", '  pion: "species == 1"'
    )
    (tmp_path / "a.yaml").write_text(lines, encoding="utf-8")
    loaded = load_config(tmp_path / "a.yaml")
    assert loaded.config.output is None
    assert loaded.config.data.files == "in\noutput: precious.root"
    unnamable = ["x\noutput: precious", "x\n", "\u2028output: precious", "tick`s"]  # by no expression
    assert [f.name for f in loaded.config.feature_list] == [name for name in HOSTILE if name not in unnamable]
    assert text.count("(expressions cannot hold its name)") == len(unnamable)


TREE = 'T\n*/ int planted = gSystem->Exec("touch planted"); //"; gSystem->Exec("touch planted"); "\n""" + touch()'


@pytest.fixture
def attached(tmp_path: Path) -> Path:
    """attach.C and attach.py of a tree with a hostile name, whose friend is called as hostile."""
    source = Source(str(tmp_path / "in.root"), TREE)
    write_attach(tmp_path, [Summary(source, tmp_path / "in_pid.root", n_passed={"mlp": 1})])
    return tmp_path


def test_the_name_of_a_tree_is_no_code_in_attach_py(attached: Path) -> None:
    code = "import sys; sys.path.insert(0, '.'); import attach; print(ascii(attach.ROWS[0][1]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=attached, capture_output=True, text=True, check=True)
    assert ast.literal_eval(done.stdout) == TREE
    assert not (attached / "planted").exists()


@needs_root
def test_the_name_of_a_tree_is_no_code_in_attach_c(attached: Path) -> None:
    code = """
os.chdir(given["folder"])
ROOT.gErrorIgnoreLevel = ROOT.kFatal
loaded = ROOT.gROOT.LoadMacro("attach.C")
answer = [loaded, str(ROOT.attach().GetName())]
"""
    assert ask_root(code, folder=attached) == [0, TREE]
    assert not (attached / "planted").exists()


@pytest.mark.parametrize("with_checksums", [True, False])
@pytest.mark.parametrize("name", [FORGED, "eff 90", "", "9", "eff90\n", 90, None])
def test_the_name_of_a_working_point_reaches_no_header(
    run: Path, name: Any, with_checksums: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(run / "models" / "bdt" / "model.json", lambda c: c["working_points"][0].update(name=name))
    if with_checksums:
        sealed(run)
    else:
        change(run / "manifest.json", lambda c: c.pop("files") and None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="cannot be the name of a working point"):
        load_bundle(run, ["bdt"])
    assert not (tmp_path / "planted").exists()


def test_a_forged_working_point_leaves_no_header_and_runs_nothing(run: Path, pidlab: Run, tmp_path: Path) -> None:
    change(run / "models" / "bdt" / "model.json", lambda c: c["working_points"][0].update(name=FORGED))
    sealed(run)
    done = pidlab("export", run, "--format", "header", "--model", "bdt", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert "cannot be the name of a working point" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "planted").exists()
    assert not list((tmp_path / "out").glob("*"))


# Repositories


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "a.yaml").write_text("a: 1\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@needs_git
def test_the_commit_is_what_git_says(repository: Path, tmp_path: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert revision_of(repository / "inside") == {"commit": commit, "clean": True}
    (repository / "inside" / "untracked").write_text("")
    assert revision_of(repository) == {"commit": commit, "clean": True}
    (repository / "inside" / "a.yaml").write_text("a: 2, and longer\n")
    assert revision_of(repository) == {"commit": commit, "clean": False}
    git(repository, "add", "-A")
    assert revision_of(repository) == {"commit": commit, "clean": False}
    git(repository, "commit", "-q", "-m", "second")
    git(repository, "pack-refs", "--all")
    packed = git(repository, "rev-parse", "HEAD")
    assert revision_of(repository) == {"commit": packed, "clean": True}
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"), "HEAD~1")
    assert revision_of(tmp_path / "tree") == {"commit": commit, "clean": True}
    git(repository, "checkout", "-q", "--detach", "HEAD~1")
    assert revision_of(repository) == {"commit": commit, "clean": True}
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/../../../../secret\n")
    assert revision_of(repository) is None
    assert revision_of(tmp_path) is None


@needs_git
def test_a_repository_s_own_settings_run_nothing(repository: Path, tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    touch = tmp_path / "touch.sh"
    touch.write_text(f"#!/bin/sh\ntouch {planted}\ncat\n")
    touch.chmod(0o755)
    shutil.copytree(repository, repository / "module")
    for top in (repository, repository / "module"):
        (top / ".gitattributes").write_text("* filter=x diff=x\n")
        (top / ".git" / "hooks" / "post-index-change").write_bytes(touch.read_bytes())
        (top / ".git" / "hooks" / "post-index-change").chmod(0o755)
        (tmp_path / "more.config").write_text(f"[core]\n\tfsmonitor = {touch}\n")
        with (top / ".git" / "config").open("a") as config:
            config.write(
                f"[core]\n\tfsmonitor = {touch}\n\tsshCommand = {touch}\n\tpager = {touch}\n\tuntrackedCache = true\n"
                f'[filter "x"]\n\tclean = {touch}\n\tsmudge = {touch}\n\tprocess = {touch}\n\trequired = true\n'
                f'[diff "x"]\n\ttextconv = {touch}\n\texternal = {touch}\n[include]\n\tpath = {tmp_path}/more.config\n'
            )
        (top / "inside" / "a.yaml").write_text("a: 3\n")
        os.utime(top / "inside" / "a.yaml", (1, 1))
    commit = (repository / ".git" / "refs" / "heads" / "main").read_text().strip()
    assert revision_of(repository / "inside") == {"commit": commit, "clean": False}
    assert revision_of(repository / "module")
    assert not planted.exists()
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False)
    assert planted.exists()  # the plant is a live one: git itself runs it


def test_a_head_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    os.mkfifo(tmp_path / ".git" / "HEAD")
    assert revision_of(tmp_path) is None


# What a user owns


def finished(target: Path, **files: str) -> list[str]:
    """Write a small run to `target` as `pidlab run` does; what was said of it."""
    notes: list[str] = []
    with whole_folder(target, notes.append) as folder:
        for name, text in files.items():
            path = folder / name.replace("__", "/").replace("_json", ".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        seal(folder, {"schema": 1, "kind": "pidlab run"})
    return notes


def contents(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text(errors="replace")
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json"
    }


def test_what_a_run_did_not_write_stays_on_a_rerun(tmp_path: Path) -> None:
    target = tmp_path / "out"
    finished(target, metrics_json="old", plots__roc="old", plots__gone="old", models__bdt__model_json="old")
    for name in ("notes.txt", "plots/mine.png", "thesis/chapter.tex", "friends/other_pid.root", ".hidden"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(f"mine: {name}")
    (target / "empty").mkdir()
    (target / "link").symlink_to("notes.txt")
    (target / "plots" / "roc").write_text("edited by hand")
    notes = finished(target, metrics_json="new", plots__roc="new", friends__other_pid_root="new")
    found = contents(target)
    assert {name: found[name] for name in ("metrics.json", "plots/roc")} == {"metrics.json": "new", "plots/roc": "new"}
    assert "plots/gone" not in found
    assert "models/bdt/model.json" not in found
    for name in ("notes.txt", "plots/mine.png", "thesis/chapter.tex", "friends/other_pid.root", ".hidden"):
        assert found[name] == f"mine: {name}"
    assert found["plots/roc.kept"] == "edited by hand"
    assert (target / "empty").is_dir()
    assert (target / "link").is_symlink()
    before, kept = notes  # what is going to be replaced, and what was kept of it
    assert "which is replaced when the new one is whole" in before
    assert "notes.txt" in kept or "friends/other_pid.root" in kept
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert not finished(tmp_path / "fresh", metrics_json="x")


def test_files_of_a_run_without_a_list_are_kept_unless_they_are_made_again(tmp_path: Path) -> None:
    target = tmp_path / "run"
    shutil.copytree(GOLDEN / "run", target)
    (target / "plots").mkdir()
    (target / "plots" / "mine.png").write_text("mine")
    (target / "notes.txt").write_text("mine")
    finished(target, metrics_json="new")
    assert contents(target)["metrics.json"] == "new"
    assert contents(target)["notes.txt"] == contents(target)["plots/mine.png"] == "mine"
    assert not (target / "models" / "bdt" / "model.json").exists()


@pytest.mark.parametrize(
    "manifest",
    ["{}", "", '{"schema": 1}', '{"name": "extension", "manifest_version": 3}', '{"schema": 1, "pidlab": "x"}', "[1]"],
)
def test_a_folder_with_another_program_s_manifest_is_no_run(manifest: str, tmp_path: Path) -> None:
    target = tmp_path / "extension"
    target.mkdir()
    (target / "manifest.json").write_text(manifest)
    (target / "code.js").write_text("precious")
    assert not is_run(target)
    with pytest.raises(OutputError, match=r"not the folder of a run; it holds code\.js, manifest\.json"):
        finished(target, metrics_json="new")
    assert contents(target) == {"code.js": "precious"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["extension"]


def test_a_link_as_output_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "run")
    for text in ("first", "second"):
        finished(tmp_path / "out", metrics_json=text)
        assert (tmp_path / "out").is_symlink()
        assert contents(tmp_path / "disk" / "run") == {"metrics.json": text}


@pytest.mark.parametrize("restored", [True, False])
def test_where_the_new_run_cannot_be_moved_both_are_there_and_it_says_where(
    restored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "out", Path.rename
    finished(target, metrics_json="old")

    def failing(self: Path, other: Any) -> Path:  # the disk fails between the two renames, and stays so or recovers
        if Path(other) == target and (self.suffix == ".part" or not restored):
            raise OSError(5, "Input/output error")
        return rename(self, other)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", failing)
        with pytest.raises(OutputError) as caught:
            finished(target, metrics_json="new")
    where = {contents(p)["metrics.json"]: p for p in tmp_path.iterdir()}
    assert set(where) == {"old", "new"}
    assert str(where["new"]) in str(caught.value)
    assert ("untouched" if restored else str(where["old"])) in str(caught.value)
    finished(target, metrics_json="newer")  # and the next run finds its way
    assert contents(target)["metrics.json"] == "newer"


KILLED = """
import sys, time
from pathlib import Path
from pidlab.runs.whole import whole_folder
with whole_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("")
    print("writing", flush=True)
    time.sleep(100)
"""


def test_what_a_killed_run_left_is_swept_and_what_runs_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"
    processes = [
        subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
    processes[0].send_signal(signal.SIGKILL)
    processes[0].wait()
    assert len(list(tmp_path.glob(".out.*.part"))) == 2
    finished(target, metrics_json="whole")
    assert len(list(tmp_path.glob(".out.*.part"))) == 1
    processes[1].send_signal(signal.SIGTERM)
    processes[1].wait()
    for process in processes:
        process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
    finished(target, metrics_json="whole")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_replacement_that_was_cut_off_is_undone_by_the_next_run(tmp_path: Path) -> None:
    target = tmp_path / "out"
    finished(target, metrics_json="old")
    (target / "notes.txt").write_text("mine")
    target.rename(tmp_path / ".out.0123abcd.old")
    finished(target, metrics_json="new")
    assert contents(target) == {"metrics.json": "new", "notes.txt": "mine"}
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "link").symlink_to("a")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_text() == "new"
    code = "import resource as r, signal, sys; from pathlib import Path; from pidlab.atomic import write_text\n"
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); r.setrlimit(r.RLIMIT_FSIZE, (100, 100))\n"
    code += "write_text(Path(sys.argv[1]), 'x' * 10_000)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=False)
    assert "OutputError" in done.stderr
    assert (tmp_path / "a").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "link"]


# Damage


def test_one_flipped_bit_is_found_wherever_it_is(run: Path) -> None:
    files = sorted(p for p in run.rglob("*") if p.is_file() and p.name != "manifest.json")
    rng = random.Random(7)
    for number in range(400):
        path = files[number % len(files)]
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match="is not the file that the run wrote"):
            verify(run, path.relative_to(run).as_posix())
        path.write_bytes(whole)
    assert verify(run, "config.yaml", "models")


READERS: dict[str, Callable[[Path], Any]] = {
    "config.yaml": load_bundle,
    "models/bdt/model.json": load_bundle,
    "models/mlp/calibration.json": load_bundle,
    "models/cuts/fold0/cuts.json": load_bundle,
    "results.json": figure_titles,
    "events.safetensors": lambda run: load_runs([run, GOLDEN / "run"]),
    "metrics.json": lambda run: reproduce(run, Resources("cpu", 1), Watcher()),
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_file_finds_its_damage(name: str, run: Path) -> None:
    (run / name).write_bytes((run / name).read_bytes() + b" ")
    with pytest.raises(ModelError, match=rf"{name}: is not the file that the run wrote .* copy the folder again"):
        READERS[name](run)
    (run / name).unlink()
    with pytest.raises(PidlabError, match=r"is missing|is not the folder of a run"):
        READERS[name](run)


def test_a_flipped_bit_of_the_manifest_changes_no_score(run: Path) -> None:
    with uproot.open(GOLDEN / "events.root") as file:
        events = file["T"].arrays(library="np")
    before = package.load(run, ["fisher"]).scores(events)["fisher"]
    whole, rng = (run / "manifest.json").read_bytes(), random.Random(3)
    for _ in range(25):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (run / "manifest.json").write_bytes(damaged)
        with contextlib.suppress(ModelError):
            np.testing.assert_array_equal(package.load(run, ["fisher"]).scores(events)["fisher"], before)


def test_a_file_that_was_added_to_a_model_is_not_read(run: Path) -> None:
    shutil.copy(run / "models" / "bdt" / "calibration.json", run / "models" / "cuts")
    with pytest.raises(ModelError, match=r"cuts/calibration\.json: is none of the files that the run wrote"):
        load_bundle(run)


def test_a_run_of_a_version_without_checksums_is_loaded_and_known_to_be_unverified(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "golden")
    assert not load_bundle(tmp_path / "golden" / "run", ["fisher"]).verified
    sealed(tmp_path / "golden" / "run")
    assert load_bundle(tmp_path / "golden" / "run", ["fisher"]).verified
    assert set(json.loads((tmp_path / "golden/run/manifest.json").read_text())["files"]) == {
        *checksums(tmp_path / "golden/run")
    }


@pytest.mark.parametrize("name", ["models/fisher/model.json", "results.json", "manifest.json"])
def test_a_pipe_among_the_files_is_not_waited_for(name: str, tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "golden")
    path = tmp_path / "golden" / "run" / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(PidlabError, match=r"is no file|is not the folder of a run"):
        READERS["results.json" if name == "results.json" else "models/bdt/model.json"](path.parents[name.count("/")])


# Changed on purpose, with the checksums made to fit

NAN, HUGE = float("nan"), 10**400
TAMPERED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "classes": ("models/fisher/model.json", lambda c: c["classes"].reverse()),
    "signal": ("models/fisher/model.json", lambda c: c.update(signal=c["classes"][1])),
    "features": ("models/fisher/model.json", lambda c: c["features"].reverse()),
    "type": ("models/fisher/model.json", lambda c: c.update(type="logistic")),
    "schema": ("models/fisher/model.json", lambda c: c.update(schema=[2])),
    "no object": ("models/fisher/model.json", lambda c: [c]),
    "threshold": ("models/fisher/model.json", lambda c: c["working_points"][0].update(threshold=NAN)),
    "threshold text": ("models/fisher/model.json", lambda c: c["working_points"][0].update(threshold="0.5")),
    "threshold true": ("models/fisher/model.json", lambda c: c["working_points"][0].update(threshold=True)),
    "threshold huge": ("models/fisher/model.json", lambda c: c["working_points"][0].update(threshold=HUGE)),
    "points": ("models/fisher/model.json", lambda c: c.update(working_points={"name": 1})),
    "flat": ("models/fisher/model.json", lambda c: c["working_points"][0].update(flat={"names": ["p"], "nodes": 3})),
    "flat spectator": (
        "models/fisher/model.json",
        lambda c: c["working_points"][0].update(flat={"names": ["nobody"], "nodes": [[0, 1]], "values": [0, 1]}),
    ),
    "columns negative": ("models/fisher/fold0/input.json", lambda c: c.update(columns=[0, 1, -1])),
    "columns beyond": ("models/fisher/fold0/input.json", lambda c: c.update(columns=[0, 1, 9])),
    "columns twice": ("models/fisher/fold0/input.json", lambda c: c.update(columns=[0, 1, 1])),
    "columns fewer": ("models/fisher/fold0/input.json", lambda c: c.update(columns=[0, 1])),
    "columns text": ("models/fisher/fold0/input.json", lambda c: c.update(columns="012")),
    "columns bool": ("models/fisher/fold0/input.json", lambda c: c.update(columns=[0, True, 2])),
    "knots fall": ("models/fisher/fold0/input.json", lambda c: c["scaler"]["knots"][0].reverse()),
    "knots NaN": ("models/fisher/fold0/input.json", lambda c: c["scaler"]["knots"][0].__setitem__(0, NAN)),
    "knots of another length": ("models/fisher/fold0/input.json", lambda c: c["scaler"]["values"][0].pop()),
    "knots none": ("models/fisher/fold0/input.json", lambda c: c["scaler"].update(knots=[[], [], []], values=[[]] * 3)),
    "fill": ("models/fisher/fold0/input.json", lambda c: c["scaler"].update(fill=[0])),
    "indicators": ("models/fisher/fold0/input.json", lambda c: c["scaler"].update(indicators=[7])),
    "coefficients NaN": ("models/fisher/fold0/model.json", lambda c: c["coefficients"][0].__setitem__(0, NAN)),
    "coefficients of others": ("models/fisher/fold0/model.json", lambda c: c["coefficients"][0].append(1)),
    "estimator's classes": ("models/fisher/fold0/model.json", lambda c: c.update(classes=[1, 0])),
    "estimator's parameters": ("models/fisher/fold0/model.json", lambda c: c.update(parameters=[1])),
    "temperature": (
        "models/fisher/calibration.json",
        lambda c: {"schema": 1, "method": "temperature", "temperature": -1},
    ),
    "isotonic falls": ("models/bdt/calibration.json", lambda c: c["columns"][0]["x"].reverse()),
    "isotonic NaN": ("models/bdt/calibration.json", lambda c: c["columns"][0]["y"].__setitem__(0, NAN)),
    "isotonic beyond": ("models/bdt/calibration.json", lambda c: c["columns"][0]["y"].__setitem__(-1, 2)),
    "isotonic column": ("models/bdt/calibration.json", lambda c: c["columns"][0].update(column=1)),
    "isotonic negative": ("models/bdt/calibration.json", lambda c: c["columns"][0].update(column=-1)),
    "windows cross": ("models/cuts/fold0/cuts.json", lambda c: c["windows"][0]["low"].reverse()),
    "windows scores": ("models/cuts/fold0/cuts.json", lambda c: c["windows"][0]["level_score"].reverse()),
    "windows efficiencies": ("models/cuts/fold0/cuts.json", lambda c: c["windows"][0]["efficiency"].reverse()),
    "cuts signal": ("models/cuts/fold0/cuts.json", lambda c: c.update(signal=1 - c["signal"])),
    "cuts signal beyond": ("models/cuts/fold0/cuts.json", lambda c: c.update(signal=7)),
    "mlp activation": ("models/mlp/fold0/mlp.json", lambda c: c.update(activation="nonsense")),
    "mlp classes": ("models/mlp/fold0/mlp.json", lambda c: c.update(classes=[0, 1, 2])),
    "mlp history": ("models/mlp/fold0/mlp.json", lambda c: c.update(history=7)),
    "bdt features": ("models/bdt/fold0/model.json", lambda c: c.update(n_features=4)),
    "bdt classes": ("models/bdt/fold0/model.json", lambda c: c.update(classes=[0, 1, 2])),
    "bdt threads": ("models/bdt/fold0/model.json", lambda c: c["parameters"].update(n_jobs=-3)),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_model_that_was_tampered_with_is_refused_in_a_sentence(case: str, run: Path) -> None:
    name, edit = TAMPERED[case]
    change(run / name, edit)
    sealed(run)
    with pytest.raises(ModelError, match=r"models/") as caught:
        load_bundle(run, [name.split("/")[1]])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["1e999", "NaN", "9" * 5000, "[" * 100_000, '"x'])
@pytest.mark.parametrize("name", ["models/fisher/model.json", "results.json", "metrics.json", "manifest.json"])
def test_json_that_pidlab_never_writes_is_refused(name: str, value: str, run: Path) -> None:
    (run / name).write_text(f'{{"schema": {value}}}')
    if name != "manifest.json":
        sealed(run)
    readers = {"results.json": "results.json", "metrics.json": "metrics.json"}
    with pytest.raises(PidlabError) as caught:
        READERS[readers.get(name, "models/bdt/model.json")](run)
    assert name in str(caught.value)


WEIGHTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "NaN": lambda t: t["layer0.weight"].__setitem__((0, 0, 0), np.nan),
    "inf": lambda t: t["layer0.bias"].__setitem__((0, 0), np.inf),
    "narrower": lambda t: t.update({"layer0.weight": np.ascontiguousarray(t["layer0.weight"][:, :, :-1])}),
    "one layer less": lambda t: t.pop("layer0.weight") is None,
    "another tensor": lambda t: t.update(other=np.zeros(3, np.float32)),
    "integers": lambda t: t.update({name: values.astype(np.int32) for name, values in t.items()}),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_network_that_was_tampered_with_is_refused(case: str, run: Path) -> None:
    path = run / "models" / "mlp" / "fold0" / "mlp.safetensors"
    tensors = dict(load_file(path))
    WEIGHTS[case](tensors)
    path.write_bytes(save(tensors))
    sealed(run)
    with pytest.raises(ModelError, match=r"models/mlp"):
        load_bundle(run, ["mlp"])


def test_a_tensor_that_claims_gigabytes_is_refused_without_taking_them(run: Path) -> None:
    header = json.dumps({"layer0.weight": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}})
    content = len(header).to_bytes(8, "little") + header.encode()
    for path in (run / "models" / "mlp" / "fold0" / "mlp.safetensors", run / "events.safetensors"):
        path.write_bytes(content)
    sealed(run)
    with pytest.raises(ModelError, match=r"mlp\.safetensors: cannot be read"):
        load_bundle(run, ["mlp"])
    with pytest.raises(ModelError, match=r"events\.safetensors: cannot be read"):
        load_runs([run, GOLDEN / "run"])


# Trees, which numba and xgboost follow without looking


def typed(content: bytes, key: str, kind: str) -> int:
    """Where the values of the first array of this name begin."""
    mark = key.encode() + b"[$" + kind.encode() + b"#L"
    return content.index(mark) + len(mark) + 8


def patched(content: bytes, key: str, kind: str, index: int, value: float) -> bytes:
    dtype = {"l": ">i4", "d": ">f4", "U": ">u1"}[kind]
    written = np.array(value, dtype).tobytes()
    start = typed(content, key, kind) + index * len(written)
    return content[:start] + written + content[start + len(written) :]


TREES: dict[str, Callable[[bytes], bytes]] = {
    "a cycle to the root": lambda c: patched(c, "left_children", "l", 1, 0),
    "a cycle of one": lambda c: patched(c, "left_children", "l", 1, 1),
    "two ways": lambda c: patched(c, "left_children", "l", 1, 5),
    "beyond": lambda c: patched(c, "right_children", "l", 0, 10**6),
    "far below": lambda c: patched(c, "right_children", "l", 0, -(10**6)),
    "one child": lambda c: patched(c, "right_children", "l", 0, -1),
    "feature beyond": lambda c: patched(c, "split_indices", "l", 0, 100_000),
    "feature negative": lambda c: patched(c, "split_indices", "l", 0, -5),
    "threshold": lambda c: patched(c, "split_conditions", "d", 0, NAN),
    "leaf": lambda c: patched(c, "split_conditions", "d", 14, np.inf),
    "parent": lambda c: patched(c, "parents", "l", 3, 10**6),
    "parent of another": lambda c: patched(c, "parents", "l", 3, 2),
    "categories": lambda c: patched(c, "split_type", "U", 0, 1),
    "fewer nodes": lambda c: c.replace(b"num_nodesSL\0\0\0\0\0\0\0\x0215", b"num_nodesSL\0\0\0\0\0\0\0\x0214", 1),
    "a huge count": lambda c: c[: typed(c, "parents", "l") - 8] + b"\x7f" * 8 + c[typed(c, "parents", "l") :],
    "a negative count": lambda c: c[: typed(c, "parents", "l") - 8] + b"\xff" * 8 + c[typed(c, "parents", "l") :],
    "no features": lambda c: c.replace(b"num_featureSL\0\0\0\0\0\0\0\x013", b"num_featureSL\0\0\0\0\0\0\0\x019"),
    "another class": lambda c: c.replace(b"tree_info[#L\0\0\0\0\0\0\0\x14i\0", b"tree_info[#L\0\0\0\0\0\0\0\x14i\x09"),
    "rounds": lambda c: c.replace(
        b"iteration_indptr[#L\0\0\0\0\0\0\0\x15i\0i\1", b"iteration_indptr[#L\0\0\0\0\0\0\0\x15i\0i\x7f"
    ),
    "another objective": lambda c: c.replace(b"binary:logistic", b"rank:pairwise__"),
    "linear": lambda c: c.replace(b"nameSL\0\0\0\0\0\0\0\x06gbtree", b"nameSL\0\0\0\0\0\0\0\x06gbline"),
    "cut short": lambda c: c[:-20],
    "longer": lambda c: c + b"}",
    "brackets": lambda c: b"{L" + (1).to_bytes(8, "big") + b"a" + b"[" * 100_000,
    "empty": lambda c: b"",
}


@pytest.mark.parametrize("case", TREES)
def test_trees_that_were_tampered_with_are_refused_before_anything_follows_them(case: str, run: Path) -> None:
    path = run / "models" / "bdt" / "fold0" / "model.ubj"
    whole = path.read_bytes()
    changed = TREES[case](whole)
    assert changed != whole
    with pytest.raises(ValueError):  # noqa: PT011  # which one depends on the case
        check_trees(changed, 3, of_classes(2))
    path.write_bytes(changed)
    sealed(run)
    with pytest.raises(ModelError, match=r"model\.ubj: holds no whole trees"):
        load_bundle(run, ["bdt"])


def test_the_file_of_trees_holds_what_xgboost_says_it_holds() -> None:
    content = (GOLDEN / "run" / "models" / "bdt" / "fold0" / "model.ubj").read_bytes()
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    expected = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    found = read_ubj(content)["learner"]["gradient_booster"]["model"]["trees"]
    assert len(found) == len(expected) == 20
    for ours, theirs in zip(found, expected, strict=True):
        for key in ("left_children", "right_children", "split_indices", "parents", "default_left"):
            assert ours[key].tolist() == theirs[key]
        np.testing.assert_array_equal(ours["split_conditions"], np.array(theirs["split_conditions"], np.float32))


@pytest.mark.slow
def test_bits_flipped_in_trees_crash_nothing(run: Path, tmp_path: Path) -> None:
    """In a process of its own: what is not refused is loaded and scored, by tables and by xgboost."""
    code = """
import random, sys
import numpy as np
from pathlib import Path
from pidlab.models.bdt.estimator import BoosterScorer, read_booster
from pidlab.models.bdt.objective import of_classes
whole, rng = Path(sys.argv[1]).read_bytes(), random.Random(5)
x = np.random.default_rng(1).normal(size=(50, 3)).astype("f4")
path, refused = Path(sys.argv[2]), 0
for _ in range(50):
    damaged = bytearray(whole)
    damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
        booster = read_booster(path, 3, of_classes(2))
    except Exception as error:
        assert type(error).__name__ == "ModelError", repr(error)
        refused += 1
        continue
    BoosterScorer(booster).margins(x, 1)
    booster.inplace_predict(x)
print(refused)
"""
    trees = run / "models" / "bdt" / "fold0" / "model.ubj"
    words = [sys.executable, "-c", code, str(trees), str(tmp_path / "damaged.ubj")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert 10 < int(done.stdout) < 50


# Configurations


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('output: "runs/a\\0b"', "holds a NUL character"),
        (f"seed: {'9' * 5000}", "of 5,000 characters is no number"),
        ("models: {mlp: {type: mlp, hidden: [1000000000000]}}", "less than or equal to 100000"),
        ("models: {mlp: {type: mlp, members: 1000000000}}", "less than or equal to 1000"),
        ("models: {mlp: {type: mlp, epochs: 100000000000}}", "less than or equal to 1000000"),
        ("evaluate: {maps: [{x: a, bins: 1000000000000}]}", "less than or equal to 10000"),
    ],
)
def test_values_that_no_analysis_has_are_refused_with_their_place(line: str, said: str, tmp_path: Path) -> None:
    base = {
        "data": "data: {files: a.root}",
        "classes": 'classes: {s: "y == 1", b: "y == 0"}',
        "features": "features: [a]",
    }
    base |= {"models": "models: {fisher: {type: fisher}}", line.partition(":")[0]: line}
    (tmp_path / "a.yaml").write_text("\n".join(base.values()))
    with pytest.raises(ConfigError, match=r"a\.yaml:\d+:\d+: .*") as caught:
        load_config(tmp_path / "a.yaml")
    assert said in str(caught.value)


def test_too_little_address_space_ends_in_a_sentence(run: Path, pidlab: Run, tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))

    done = pidlab("apply", run, run.parent / "events.root", "-o", tmp_path / "out", "-q", preexec_fn=limited)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0 or done.stderr.startswith("pidlab: ")


# Exports and graphs


@pytest.mark.slow
def test_an_export_from_a_read_only_folder_is_left_and_says_that_it_is_not_noted(run: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from pidlab.export.parity import Exported
from pidlab.export.run import _noted
if os.getuid() == 0:
    os.setuid(65534)
(found,) = _noted(Path(sys.argv[1]), "f", [Exported(Path("a.txt"), "cuts", ("hand",), 0.0, 10)])
print(found.note)
"""
    with tempfile.TemporaryDirectory() as name:  # other users may not enter the folders of pytest
        folder = Path(name)
        shutil.copy(run / "manifest.json", folder)
        before = (folder / "manifest.json").read_text()
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
        folder.chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == f"not noted in {folder / 'manifest.json'} (Permission denied)"
        assert (folder / "manifest.json").read_text() == before


def graph(*nodes: Any, batch: Any = None, d: int = 3) -> bytes:
    """A graph in ONNX from (n, d) `x` to (n, 1) `y`."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    made = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        "g",
        [helper.make_tensor_value_info("x", kind, [batch, d])],
        [helper.make_tensor_value_info("y", kind, [batch, 1])],
    )
    return bytes(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


MEAN = ("ReduceMean", ["x"], ["m"], {"axes": [1], "keepdims": 1})
GRAPHS = {
    "draws random numbers": lambda: graph(MEAN, ("RandomNormalLike", ["m"], ["r"]), ("Add", ["m", "r"], ["y"])),
    "another score when it is scored together": lambda: graph(
        MEAN, ("ReduceMean", ["m"], ["c"], {"axes": [0], "keepdims": 1}), ("Sub", ["m", "c"], ["y"])
    ),
    r"has the shape \(-1, 3\)": lambda: graph((*MEAN[:2], ["y"], MEAN[3]), batch=-1),
    r"has the shape \(1000000000, 3\)": lambda: graph((*MEAN[:2], ["y"], MEAN[3]), batch=10**9),
}


@pytest.mark.parametrize("said", GRAPHS)
def test_a_graph_whose_scores_would_mean_nothing_is_refused(said: str) -> None:
    from pidlab.config.schema import OnnxModel
    from pidlab.models.external.columns import ModelMismatchError
    from pidlab.models.external.onnx.model import open_onnx

    spec = OnnxModel(type="onnx", file="m.onnx", gives="score")
    features = {name: name for name in "abc"}
    open_onnx(spec, graph((*MEAN[:2], ["y"], MEAN[3])), features, ["s", "b"], 0)
    with pytest.raises(ModelMismatchError, match=said):
        open_onnx(spec, GRAPHS[said](), features, ["s", "b"], 0)

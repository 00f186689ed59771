"""Polygons of a configuration: its own and those of files, every mistake at once, and a run that needs no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
from ruamel.yaml import YAML

from conftest import write_tree
from pidlab.config.load import load_config
from pidlab.config.polygons import polygons_of
from pidlab.errors import ConfigError
from pidlab.expressions import evaluate
from pidlab.preprocess.recipe import compile_recipe
from pidlab.rootio import tcutg, tgraph
from pidlab.runs.bundle import config_yaml

TRIANGLE = [[0.1, -1e-17], [1.0 / 3.0, 0.0], [0.5, 2.0]]
REST = """
data: {files: events.root, aliases: {doubled: "2 * q", good: 'cutg("cuts/holes.root:hole")'}}
classes: {electron: "s == 0", pion: "s == 1"}
features: [q, r]
models: {fisher: {type: fisher}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cuts").mkdir()
    with uproot.recreate(tmp_path / "cuts/holes.root") as file:
        file["hole"] = tcutg(TRIANGLE, "q + r", "doubled")
        file["bare"] = tcutg(TRIANGLE, "", "")
        file["odd"] = tcutg(TRIANGLE, "q +", "r")
        file["graph"] = tgraph([0.0, 1.0], [1.0, 2.0])
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "analysis.yaml").write_text(f"{text.strip()}\n{REST.strip()}\n")
    return folder / "analysis.yaml"


def test_points_and_axes_come_from_the_configuration_or_the_file_and_axes_that_are_given_come_first(
    folder: Path,
) -> None:
    text = f"""
polygons:
  own: {{x: q, y: doubled, points: {TRIANGLE}}}
  named: {{file: "cuts/holes.root:hole", y: r}}
  drawn: {{file: "cuts/holes.root:bare"}}
selection:
  a: 'cutg("own") && !good'
  b: 'cutg("drawn", q, r) || cutg("named")'
"""
    found = polygons_of(load_config(write(folder, text)).config)
    assert {name: (p.x, p.y) for name, p in found.items()} == {
        "own": ("q", "doubled"),
        "named": ("q + r", "r"),
        "drawn": ("", ""),
        "cuts/holes.root:hole": ("q + r", "doubled"),
    }
    assert {p.points for p in found.values()} == {tuple(map(tuple, TRIANGLE))}


def test_the_configuration_of_a_run_needs_no_file_and_means_the_same(folder: Path) -> None:
    text = """
polygons: {named: {file: "cuts/holes.root:bare", x: q, y: r}}
selection: {a: 'good || cutg("named")', b: 'cutg("cuts/holes.root:bare", q, 2 * r)'}
"""
    loaded = load_config(write(folder, text))
    (folder / "elsewhere").mkdir()
    moved = folder / "elsewhere/config.yaml"
    moved.write_text(config_yaml(loaded))
    (folder / "cuts/holes.root").unlink()
    again = load_config(moved)
    assert polygons_of(again.config) == polygons_of(loaded.config)
    assert config_yaml(again) == config_yaml(loaded)
    assert YAML(typ="safe", pure=True).load(moved.read_text())["polygons"]["named"]["points"] == TRIANGLE
    rng = np.random.default_rng(1)
    arrays = {"q": rng.uniform(-0.2, 1, 500), "r": rng.uniform(-0.2, 1, 500)}
    for (_, one), (_, other) in zip(compile_recipe(loaded).selection, compile_recipe(again).selection, strict=True):
        inside = evaluate(one.expression, arrays, 500)
        assert 10 < inside.sum() < 490
        assert inside.tolist() == evaluate(other.expression, arrays, 500).tolist()


def test_every_mistake_is_told_at_once_with_its_place(folder: Path) -> None:
    write_tree(folder / "events.root", {"q": np.zeros(3), "r": np.zeros(3), "s": np.zeros(3)})
    text = f"""
polygons:
  nothing: {{x: q, y: r}}
  both: {{x: q, y: r, file: "cuts/holes.root:hole", points: {TRIANGLE}}}
  few: {{x: q, y: r, points: [[0, 0], [1, 1]]}}
  flat: {{x: q, y: r, points: [[0], [1, 1], [2, 2]]}}
  endless: {{x: q, y: r, points: [[0, .inf], [1, 1], [2, 2]]}}
  missing: {{file: "cuts/hole.root:hole"}}
  other: {{file: "cuts/holes.root:graph"}}
  wrong: {{x: "q +", y: r, points: {TRIANGLE}}}
  spelt: {{x: q, y: r, point: {TRIANGLE}}}
  known: {{x: qq, y: r, points: {TRIANGLE}}}
  none: 5
selection:
  a: 'cutg("cuts/holes.root:bare")'
  b: 'cutg("knwon")'
  c: 'cutg("cuts/holes.root:ole") && cutg("cuts/holes.root:odd")'
  d: 'cutg("known")'
  e: 'cutg("wrong") || cutg("none")'
"""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    said = str(caught.value)
    holes = folder / "cuts/holes.root"
    for expected in (
        f"{path}:2:3: polygons.nothing.points: give points, or a file",
        f"{path}:3:52: polygons.both.points: gives points and a file; keep one of them",
        f"{path}:4:21: polygons.few.points: a polygon has three points or more, not [[0, 0], [1, 1]]",
        f"{path}:5:31: polygons.flat.points[0]: a point has two numbers, [x, y], not [0]",
        f"{path}:6:38: polygons.endless.points[0][1]: must be a finite number, not inf",
        f"{path}:7:13: polygons.missing.file: {folder}/cuts/hole.root: no such file; did you mean 'holes.root'?",
        f"{path}:8:11: polygons.other.file: {holes}: 'graph' is a TGraph, and a polygon is a TCutG; known: ",
        f"{path}:9:11: polygons.wrong.x: expected a number, a branch or '(', found the end of the expression",
        f"{path}:10:23: polygons.spelt.point: unknown key; did you mean 'points'?",
        f"{path}:12:3: polygons.none: must be a section, such as {{key: value}}, not 5",
        f"{path}:14:3: selection.a: the polygon 'cuts/holes.root:bare' does not say what its axes are",
        f"{path}:15:3: selection.b: no polygon 'knwon'",
        f"{path}:16:3: selection.c: cutg(\"cuts/holes.root:ole\"): {holes}: no TCutG 'ole'; did you mean 'hole'?",
        f"{path}:16:3: polygons.cuts/holes.root:odd.x: expected a number",
        f"{path}:17:3: selection.d: unknown branch 'qq'",
    ):
        assert expected in said, expected
    assert said.count(f"{path}:") == 15, said

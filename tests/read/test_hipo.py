"""HIPO files of CLAS12: every column is read as oxihipo itself reads it, and a run goes from the file to the friend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

import pidlab
from pidlab.apply import apply
from pidlab.config.load import check_config, load_config
from pidlab.config.starter import starter_configuration
from pidlab.errors import ConfigError, DataError, UsageError
from pidlab.export import export
from pidlab.expressions import evaluate, parse
from pidlab.preprocess.events import check_table
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher
from pidlab.read import Chunk, Source, Table, find_one, usual_collection
from pidlab.read.inspection import inspect
from pidlab.runs.bundle import load_bundle
from pidlab.simulate import simulate
from real_root import ask_root, needs_root
from test_run import go

oxihipo = pytest.importorskip("oxihipo", reason="oxihipo is not installed: pip install -e '.[hipo]'")

TYPES = {"b": ("B", "i1"), "s": ("S", "i2"), "i": ("I", "i4"), "l": ("L", "i8"), "f": ("F", "f4"), "d": ("D", "f8")}
ALIASES = {
    "mine": "REC::Calorimeter.pindex == Iteration$",
    "pcal": "Sum$(REC::Calorimeter.energy[mine && REC::Calorimeter.layer == 1])",
    "ecal": "Sum$(REC::Calorimeter.energy[mine])",
    "p": "sqrt(REC::Particle.px^2 + REC::Particle.py^2 + REC::Particle.pz^2)",
    "nphe": "REC::Cherenkov.nphe[REC::Cherenkov.pindex == Iteration$][0]",
    "truth": "MC::Particle.pid[MC::RecMatch.mcindex[MC::RecMatch.pindex == Iteration$][0]]",
}
CONTENT: dict[str, Any] = {
    "data": {
        "files": "dst.hipo",
        "per": "REC::Particle",
        "event_id": ["RUN::config.run", "RUN::config.event"],
        "aliases": ALIASES,
    },
    "classes": {"electron": "truth == 11", "pion": "truth == -211"},
    "selection": {"negative": "REC::Particle.charge < 0"},
    "features": [
        {"name": "sampling_fraction", "expression": "ecal / p"},
        "nphe",
        {"name": "pcal", "expression": "pcal / p"},
    ],
    "spectators": ["p"],
    "models": {
        "hand": {"type": "expression", "cut": "ecal / p > 0.2 && REC::Particle.pid == 11"},
        "bdt": {"type": "bdt", "n_estimators": 15},
    },
    "evaluate": {"robustness": None},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clas12")
    simulate("clas12", folder / "dst.hipo", 4000, 6)
    go(folder, CONTENT)
    return folder


@pytest.fixture(scope="module")
def friend(folder: Path) -> Any:
    with uproot.open(folder / "run" / "friends" / "dst_pid.root") as file:
        return file["dst_pid"].arrays()


@pytest.fixture(scope="module")
def banks(folder: Path) -> Any:
    return oxihipo.open(str(folder / "dst.hipo"))


def opened(path: Path, per: str | None = None) -> Table:
    return Table(find_one(str(path)), per)


def whole(path: Path, names: list[str], step: int, per: str | None = None) -> dict[str, Any]:
    with opened(path, per) as table:
        chunks = [chunk.arrays for chunk in table.chunks(names, step)]
    return {name: ak.concatenate([chunk[name] for chunk in chunks]) for name in names}


def random_file(path: Path, seed: int, n: int) -> None:
    """A file of all types of columns, of records of some ten events."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, n)
    total = int(counts.sum())

    def column(dtype: str, shape: tuple[int, ...] = ()) -> Any:
        return ak.unflatten((100 * rng.normal(size=(total, *shape))).astype(dtype), counts)

    some = (rng.random(n) < 0.8).astype(np.int64)
    with oxihipo.create(str(path), compression="lz4", max_record_bytes=2000) as file:
        file.new_bank("A::All", {name: letter for name, (letter, _) in TYPES.items()} | {"v": "F#3"})
        file.new_bank("REC::Event", {"t": "F", "k": "S"})
        file.extend(
            {
                "A::All": {name: column(dtype) for name, (_, dtype) in TYPES.items()} | {"v": column("f4", (3,))},
                "REC::Event": {
                    "t": ak.unflatten(rng.normal(size=some.sum()).astype("f4"), some),
                    "k": ak.unflatten(rng.integers(1, 9, some.sum()).astype("i2"), some),
                },
            }
        )


# --- reading


def test_every_column_of_a_file_is_what_oxihipo_reads(folder: Path, banks: Any) -> None:
    with opened(folder / "dst.hipo") as table:
        assert sorted(table.names) == sorted(key.replace("/", ".", 1) for key in banks.keys(recursive=True))
        assert len(table.names) == 26
        (chunk,) = table.chunks(table.names)
    for name in table.names:
        own, theirs = chunk.arrays[name], banks.array(*name.split(".", 1))
        if name.startswith(("RUN::config", "REC::Event")):
            own = ak.unflatten(own, np.ones(len(own), int))
        assert ak.array_equal(own, theirs, dtype_exact=True), name


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(1, 150),
    step=st.integers(1, 80),
    a=st.integers(0, 150),
    b=st.integers(0, 150),
)
def test_any_file_in_any_steps_and_spans_is_what_oxihipo_reads(
    tmp_path_factory: pytest.TempPathFactory, seed: int, n: int, step: int, a: int, b: int
) -> None:
    path = tmp_path_factory.mktemp("random") / "a.hipo"
    random_file(path, seed, n)
    names = [f"A::All.{name}" for name in (*TYPES, "v")]
    start, stop = sorted((min(a, n), min(b, n)))
    theirs = {name: oxihipo.open(str(path)).array(*name.split(".", 1)) for name in names}
    own = whole(path, names, step)
    with opened(path) as table:
        part = table.span(names, start, stop).arrays
        edges = table.edges(names, step)
    for name in names:
        assert ak.array_equal(own[name], theirs[name], dtype_exact=True), name
        assert ak.array_equal(part[name], theirs[name][start:stop], dtype_exact=True), name
    assert edges is not None
    assert edges[0] == 0
    assert edges[-1] == n


def test_a_bank_of_the_event_holds_one_number_an_entry_and_none_where_it_has_no_row(tmp_path: Path) -> None:
    random_file(tmp_path / "a.hipo", 3, 200)
    read = oxihipo.open(str(tmp_path / "a.hipo")).arrays("REC::Event")
    there = ak.to_numpy(ak.num(read.t)) == 1
    own = whole(tmp_path / "a.hipo", ["REC::Event.t", "REC::Event.k"], 37)
    assert 0 < (~there).sum() < 200
    assert np.array_equal(np.isnan(own["REC::Event.t"]), ~there)
    assert ak.to_list(own["REC::Event.t"][there]) == ak.to_list(ak.flatten(read.t))
    assert ak.to_list(own["REC::Event.k"]) == ak.to_list(ak.fill_none(ak.firsts(read.k), 0))


def test_several_rows_in_a_bank_of_the_event_are_an_error(tmp_path: Path) -> None:
    with oxihipo.create(str(tmp_path / "a.hipo")) as file:
        file.new_bank("RUN::config", {"run": "I"})
        file.extend({"RUN::config": {"run": ak.values_astype(ak.Array([[1], [2], [3, 4]]), "i4")}})
    with pytest.raises(
        DataError, match="the bank RUN::config has one row an event by its definition, and 2 in entry 2"
    ):
        whole(tmp_path / "a.hipo", ["RUN::config.run"], 10)


def test_names_of_banks_stand_in_expressions_with_backquotes_or_without(folder: Path) -> None:
    with opened(folder / "dst.hipo") as table:
        (chunk,) = table.chunks(["REC::Particle.px", "RUN::config.event"])
    largest = ak.to_numpy(ak.max(chunk.arrays["REC::Particle.px"], axis=1)).astype(np.float64)
    for text in ("Max$(REC::Particle.px) + RUN::config.event", "Max$(`REC::Particle.px`)+`RUN::config.event`"):
        value = evaluate(parse(text), chunk.arrays, chunk.n_rows)
        assert np.array_equal(value, largest + chunk.arrays["RUN::config.event"])


def damaged(folder: Path, path: Path, change: str) -> Path:
    raw = bytearray((folder / "dst.hipo").read_bytes())
    if change == "flipped":
        raw[len(raw) // 2 : len(raw) // 2 + 100] = bytes(100)
    path.write_bytes(
        {"cut": raw[: len(raw) // 2], "empty": b"", "text": b"hello " * 30, "head": raw[:30]}.get(change, raw)
    )
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("cut", "was cut short: its index of records should be at byte [0-9,]+, and it has [0-9,]+ bytes"),
        (
            "flipped",
            "branch 'REC::Particle.px', entries 0 to 3,999 cannot be read; the file is damaged or was cut short",
        ),
        ("empty", "is an empty file"),
        ("text", "is not a HIPO file"),
        ("head", "is damaged or was cut short"),
    ],
)
def test_damage_is_told_with_the_file_and_the_branch(folder: Path, tmp_path: Path, change: str, said: str) -> None:
    path = damaged(folder, tmp_path / "bad.hipo", change)
    with pytest.raises(DataError, match=f"^{path}: .*{said}"):
        whole(path, ["REC::Particle.px"], 10_000)


def test_an_unknown_bank_is_answered_with_the_nearest_one(folder: Path) -> None:
    content = {**CONTENT, "features": ["REC::Particel.chi2pid"]}
    with pytest.raises(ConfigError, match=r"unknown branch 'REC::Particel.chi2pid'[^`]*'REC::Particle.chi2pid'"):
        go(folder, content, "wrong")
    with pytest.raises(UsageError, match=r"did you mean .*'REC::Particle'"):
        opened(folder / "dst.hipo", "REC::Particel").__enter__()


def test_without_oxihipo_the_message_says_what_to_install(folder: Path) -> None:
    code = (
        "import sys; sys.modules['oxihipo'] = None\n"
        "from pidlab.errors import DataError\nfrom pidlab.read import find_one\n"
        f"try: find_one({str(folder / 'dst.hipo')!r})\nexcept DataError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "reading HIPO needs oxihipo, which is not installed: pip install 'pidlab[hipo]'" in done.stdout


# --- joins by pindex


def by_particle(banks: Any, bank: str) -> Any:
    """The rows of a detector bank for each particle, as oxihipo groups them."""
    return oxihipo.group_by_index(banks.arrays(bank), ak.num(banks.arrays("REC::Particle")))


def of_candidates(folder: Path, text: str) -> Any:
    expression = parse(text, ALIASES)
    with opened(folder / "dst.hipo", "REC::Particle") as table:
        chunks: list[Chunk] = list(table.chunks(expression.reads, 900))
    return np.concatenate([evaluate(expression, chunk.arrays, chunk.n_rows) for chunk in chunks])


@pytest.mark.parametrize("layer", [1, 4, 7])
def test_the_energy_of_a_particle_in_a_layer_is_that_of_oxihipos_join(folder: Path, banks: Any, layer: int) -> None:
    rows = by_particle(banks, "REC::Calorimeter")
    energy = ak.sum(ak.values_astype(rows.energy[rows.layer == layer], "f8"), axis=-1)
    own = of_candidates(folder, f"Sum$(REC::Calorimeter.energy[mine && REC::Calorimeter.layer == {layer}])")
    np.testing.assert_allclose(own, ak.flatten(energy), rtol=1e-12, atol=0)
    assert 0 < (own == 0).sum() < len(own) / 4  # no row in this layer: a sum of nothing


def test_the_first_row_of_a_particle_is_missing_where_there_is_none(folder: Path, banks: Any) -> None:
    nphe = ak.flatten(ak.firsts(by_particle(banks, "REC::Cherenkov").nphe, axis=-1))
    own = of_candidates(folder, "nphe")
    assert np.array_equal(own, ak.to_numpy(ak.fill_none(nphe, np.nan)), equal_nan=True)
    assert np.isnan(own).sum() > 100


def test_largest_and_number_of_rows_are_those_of_the_join(folder: Path, banks: Any) -> None:
    rows = by_particle(banks, "REC::Calorimeter")
    assert np.array_equal(
        of_candidates(folder, "Length$(REC::Calorimeter.energy[mine])"), ak.flatten(ak.num(rows.energy, axis=2))
    )
    largest = ak.fill_none(ak.flatten(ak.max(rows.energy, axis=-1)), 0)
    assert np.array_equal(of_candidates(folder, "Max$(REC::Calorimeter.energy[mine])"), largest)


def test_the_truth_is_found_through_two_indices(folder: Path, banks: Any) -> None:
    match, generated = banks.arrays("MC::RecMatch"), banks.arrays("MC::Particle")
    pid = generated.pid[ak.mask(match.mcindex, match.mcindex >= 0)]
    own = of_candidates(folder, "truth")
    assert np.array_equal(own, ak.to_numpy(ak.fill_none(ak.flatten(pid), np.nan)), equal_nan=True)
    assert 0 < np.isnan(own).mean() < 0.05


def test_brackets_behind_a_column_of_the_candidates_choose_among_all_of_the_event(folder: Path, banks: Any) -> None:
    pid = banks.array("REC::Particle", "pid")
    first = np.repeat(ak.to_numpy(pid[:, 0]), ak.num(pid))
    assert np.array_equal(of_candidates(folder, "REC::Particle.pid[0]"), first)
    electrons = np.repeat(ak.to_numpy(ak.sum(pid == 11, axis=1)), ak.num(pid))
    assert np.array_equal(
        of_candidates(folder, "Length$(REC::Particle.pid[`REC::Particle.pid`[0] > -9999])"),
        np.repeat(ak.num(pid), ak.num(pid)),
    )
    assert electrons.max() > 1


# --- from file to friend


def test_the_friend_is_aligned_with_the_events_and_jagged_as_the_particles_are(friend: Any, banks: Any) -> None:
    particles = banks.arrays("REC::Particle")
    assert ak.array_equal(friend["nREC_Particle"], ak.num(particles), dtype_exact=False)
    assert friend["RUN::config.event"].tolist() == ak.flatten(banks.array("RUN::config", "event")).tolist()
    assert friend["RUN::config.run"].tolist() == [5032] * len(friend)
    assert ak.all(friend["pid_selected"] == (particles.charge < 0))
    assert ak.all(np.isnan(friend["pid_bdt"]) == (particles.charge >= 0))


def test_hand_cuts_on_joined_banks_are_those_of_awkward(friend: Any, banks: Any) -> None:
    particles, rows = banks.arrays("REC::Particle"), by_particle(banks, "REC::Calorimeter")
    p = np.sqrt(sum(ak.values_astype(particles[c], "f8") ** 2 for c in ("px", "py", "pz")))
    wanted = (
        (ak.sum(ak.values_astype(rows.energy, "f8"), axis=-1) / p > 0.2)
        & (particles.pid == 11)
        & (particles.charge < 0)
    )
    assert ak.all(friend["pid_hand_hand"] == wanted)


def test_models_learn_from_joined_banks(folder: Path) -> None:
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    assert metrics["models"]["bdt"]["test"]["auc"]["low"] > 0.98
    assert metrics["models"]["hand"]["working_points"][0]["misid"]["pion"]["high"] < 0.05


def test_apply_and_arrays_in_memory_give_the_scores_of_the_run(folder: Path, friend: Any, banks: Any) -> None:
    bundle = load_bundle(folder / "run")
    (summary,) = apply(bundle, [find_one(str(folder / "dst.hipo"))], folder / "applied", Watcher(), jobs=1)
    with uproot.open(summary.target) as file:
        again = file["dst_pid"].arrays()
    assert np.array_equal(ak.flatten(again["pid_bdt"]), ak.flatten(friend["pid_bdt"]), equal_nan=True)
    loaded = pidlab.load(folder / "run")
    arrays = {name: banks.array(*name.split(".", 1)) for name in loaded.branches if not name.startswith("RUN")}
    arrays |= {f"RUN::config.{name}": ak.flatten(banks.array("RUN::config", name)) for name in ("run", "event")}
    scores = loaded.friend(arrays)["pid_bdt"]
    assert np.array_equal(ak.flatten(scores), ak.flatten(friend["pid_bdt"]), equal_nan=True)


def test_a_friend_is_read_beside_its_hipo_file(folder: Path, friend: Any) -> None:
    with Table(find_one(str(folder / "dst.hipo"))) as table:
        n = table.n_entries
    source = find_one(str(folder / "dst.hipo"))
    beside = Source(str(folder / "run" / "friends" / "dst_pid.root"), "dst_pid", n_entries=n)
    joined = Source(source.path, source.tree, friends=(beside,), event_id=("RUN::config.run", "RUN::config.event"))
    with Table(joined) as table:
        (chunk,) = table.chunks(["pid_bdt", "REC::Particle.px"])
    assert ak.num(chunk.arrays["pid_bdt"]).tolist() == ak.num(chunk.arrays["REC::Particle.px"]).tolist()


def test_exports_of_joined_features_are_exact_or_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(folder / "run")
    (done,) = export(bundle, folder / "run", "onnx", ["bdt"], tmp_path / "onnx")
    assert done.largest_difference < 1e-5
    with pytest.raises(UsageError, match=r"sampling_fraction.*cannot be written into a C\+\+ header.*Iteration\$"):
        export(bundle, folder / "run", "header", ["bdt"], tmp_path / "header")
    with pytest.raises(UsageError, match=r"models\.hand: its cut string would hold brackets that choose elements"):
        export(bundle, folder / "run", "cuts", ["hand"], tmp_path / "cuts")


def test_a_starter_for_a_dst_has_the_particles_as_rows_and_fits_the_file(folder: Path, tmp_path: Path) -> None:
    source = find_one(str(folder / "dst.hipo"))
    with Table(source, usual_collection(source)) as table:
        text = starter_configuration(source.path, source.tree, inspect(table))
        assert "  per: REC::Particle " in text
        assert '  event_id: ["RUN::config.run", "RUN::config.event"]' in text
        assert "\n  - REC::Particle.beta\n" in text
        with_joins = text.replace("  # aliases:", "  aliases:").replace("  #   c", "    c")
        assert with_joins.count("Iteration$") == 2
        (tmp_path / "starter.yaml").write_text(with_joins.replace("features:  ", "features:\n  - calorimeter_energy #"))
        recipe = compile_recipe(load_config(tmp_path / "starter.yaml"))
        check_table(recipe, table, recipe.class_rules)


def test_the_number_of_the_candidate_has_no_meaning_without_candidates(folder: Path) -> None:
    content = {**CONTENT, "data": {key: value for key, value in CONTENT["data"].items() if key != "per"}}
    with pytest.raises(ConfigError, match="a row is an event"):
        go(folder, content, "wrong")


@pytest.mark.slow
@needs_root
def test_real_root_finds_events_and_candidates_in_the_friend(folder: Path, friend: Any) -> None:
    code = """
file = ROOT.TFile(given["path"])
tree = file.Get("dst_pid")
answer = [tree.BuildIndex("RUN::config.run", "RUN::config.event"), tree.GetEntryNumberWithIndex(5032, 77),
          tree.Draw("pid_bdt", "pid_selected", "goff")]
"""
    path = folder / "run" / "friends" / "dst_pid.root"
    assert ask_root(code, path=path) == [4000, 76, int(ak.sum(friend["pid_selected"]))]


def test_the_configuration_of_this_file_is_valid(folder: Path) -> None:
    assert check_config(CONTENT, {}, folder / "analysis.yaml").config.data.per == "REC::Particle"


def test_a_header_has_no_place_for_other_candidates_and_says_so(tmp_path: Path) -> None:
    simulate("nano", tmp_path / "nano.root", 3000, 2)
    content = {
        "data": {"files": "nano.root", "per": "Electron"},
        "classes": {"prompt": "Electron_genPartFlav == 1", "fake": "Electron_genPartFlav != 1"},
        "features": ["Electron_hoe", {"name": "first", "expression": "Electron_pt[0]"}],
        "models": {"fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    go(tmp_path, content)
    with pytest.raises(UsageError, match=r"features\.first: 'Electron_pt\[0\]' cannot be .* one candidate and none of"):
        export(load_bundle(tmp_path / "run"), tmp_path / "run", "header", ["fisher"], tmp_path / "header")

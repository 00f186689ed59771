"""The simulated samples are what their docstrings say, and reach the disk as they are."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from deviations import assert_mean, assert_share, simulated
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from gaussian_toy import gaussian_toy
from pidlab.config.load import load_config
from pidlab.errors import OutputError, UsageError
from pidlab.simulate import SAMPLES, log_likelihood_ratio, simulate
from pidlab.simulate.events import BLOCK, SimulatedEvents

DATA = Path(__file__).parents[2] / "data"


# --- every sample


@pytest.mark.parametrize("kind", SAMPLES)
def test_same_seed_same_events_and_other_seed_other_events(kind: str) -> None:
    first, again, other = (simulated(kind, 3000, seed) for seed in (5, 5, 6))
    assert_equal(first, again)
    floats = [name for name, values in first.branches.items() if values.dtype == np.float32]
    assert all(not np.array_equal(first.branches[name], other.branches[name]) for name in floats)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_small_sample_is_the_beginning_of_a_large_one(kind: str) -> None:
    large = simulated(kind, BLOCK + 700, 3)
    assert len(large) == BLOCK + 700
    for n in (1, 700, BLOCK, BLOCK + 1):
        assert_equal(simulated(kind, n, 3), large.head(n))


def test_blocks_do_not_repeat_each_other() -> None:
    x = simulated("workshop", 2 * BLOCK, 3).branches["var1"]
    assert abs(np.corrcoef(x[:BLOCK], x[BLOCK:])[0, 1]) < 5 / np.sqrt(BLOCK)


def assert_equal(a: SimulatedEvents, b: SimulatedEvents) -> None:
    assert a.branches.keys() == b.branches.keys()
    assert a.collections.keys() == b.collections.keys()
    assert all(np.array_equal(a.branches[name], b.branches[name]) for name in a.branches)
    for name, candidates in a.collections.items():
        assert np.array_equal(candidates.counts, b.collections[name].counts)
        assert all(np.array_equal(v, b.collections[name].fields[key]) for key, v in candidates.fields.items())


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind != "clas12"])  # a HIPO file: test_clas12.py
def test_the_file_holds_the_events_in_their_types_as_a_ttree(kind: str, tmp_path: Path) -> None:
    n = BLOCK + 123
    simulate(kind, tmp_path / "sample.root", n, 4)
    events = simulated(kind, n, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["sample.root"]
    with uproot.open(tmp_path / "sample.root") as file:
        assert file.classnames() == {f"{SAMPLES[kind].tree};1": "TTree"}
        tree = file[SAMPLES[kind].tree]
        counters = {f"n{name}" for name in events.collections}
        jagged = {f"{name}_{key}" for name, c in events.collections.items() for key in c.fields}
        assert set(tree.keys()) == events.branches.keys() | counters | jagged
        for name, values in events.branches.items():
            read = tree[name].array(library="np")
            assert read.dtype == values.dtype
            assert np.array_equal(read, values)
        for name, candidates in events.collections.items():
            assert np.array_equal(tree[f"n{name}"].array(library="np"), candidates.counts)
            for key, values in candidates.fields.items():
                read = tree[f"{name}_{key}"].array()
                assert np.array_equal(ak.num(read), candidates.counts)
                flat = ak.to_numpy(ak.flatten(read))
                assert flat.dtype == values.dtype
                assert np.array_equal(flat, values)


@pytest.mark.skipif(importlib.util.find_spec("ROOT") is None, reason="the ROOT wheel is not installed")
def test_root_reads_dotted_and_jagged_branches(tmp_path: Path) -> None:
    simulate("shms", tmp_path / "shms.root", 2000, 1)
    simulate("nano", tmp_path / "nano.root", 2000, 1)
    code = (
        "import ROOT; f = ROOT.TFile('shms.root'); g = ROOT.TFile('nano.root')\n"
        "a = f.Get('T').GetEntries('P.cal.etottracknorm > 0.75 && event > 2147483648 && run == 6002')\n"
        "b = g.Get('Events').GetEntries('nElectron == 2 && Electron_pt[0] >= Electron_pt[1] && event > 4294967296')\n"
        "print('counts', a, b)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    shms, nano = simulated("shms", 2000, 1).branches, simulated("nano", 2000, 1)
    two = int((nano.collections["Electron"].counts == 2).sum())
    third_run = int(((shms["P.cal.etottracknorm"] > 0.75) & (shms["run"] == 6002)).sum())
    assert f"counts {third_run} {two}" in done.stdout, done.stderr


# --- what goes wrong


@pytest.mark.parametrize(
    ("kind", "n_events", "seed", "said"),
    [
        ("shmz", 10, 1, "no sample 'shmz': did you mean 'shms'"),
        ("shms", 0, 1, "at least 1 event, not 0"),
        ("shms", 10, -1, "a seed is 0 or larger, not -1"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_written(
    kind: str, n_events: int, seed: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        simulate(kind, tmp_path / "a.root", n_events, seed)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere/a\.root: cannot be written"):
        simulate("workshop", tmp_path / "nowhere" / "a.root", 10)
    with pytest.raises(OutputError, match="cannot be written"):
        simulate("workshop", tmp_path, 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.root"
    target.write_text("old")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "from pathlib import Path; from pidlab.errors import OutputError; from pidlab.simulate import simulate\n"
        f"try: simulate('shms', Path({str(target)!r}), 60_000)\n"
        "except OutputError as error: print('said', error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"said {target}: cannot be written" in done.stdout
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


# --- workshop


@pytest.fixture(scope="module")
def workshop() -> tuple[NDArray[Any], NDArray[np.bool_]]:
    branches = simulated("workshop", SAMPLES["workshop"].n_events, 1).branches
    return np.stack([branches["var1"], branches["var2"], branches["var3"]], axis=1), branches["species"] == 0


def assert_calibrated(log_odds: NDArray[Any], signal: NDArray[np.bool_]) -> None:
    """In slices of the log odds, the share of signal is what they say: only the true likelihood ratio does that."""
    for slice_ in np.array_split(np.argsort(log_odds), 60):
        expected = expit(log_odds[slice_])
        deviation = signal[slice_].sum() - expected.sum()
        assert abs(deviation) < 5 * np.sqrt(np.sum(expected * (1 - expected))) + 1e-3 * expected.sum() + 1


def test_workshop_has_the_size_and_the_abundances_it_promises(
    workshop: tuple[NDArray[Any], NDArray[np.bool_]],
) -> None:
    x, signal = workshop
    assert x.shape == (288_000, 3)
    assert abs(x).max() < 1
    assert_share(signal, 1 / 11)
    for species in (signal, ~signal):
        correlation = np.corrcoef(x[species].T)[np.triu_indices(3, 1)]
        assert np.sum(abs(correlation) > 0.1) >= 2


def test_workshop_likelihood_ratio_is_the_true_one(workshop: tuple[NDArray[Any], NDArray[np.bool_]]) -> None:
    x, signal = workshop
    log_odds = log_likelihood_ratio(x) - np.log(10)
    assert np.isfinite(log_odds).all()
    assert_calibrated(log_odds, signal)
    for variable in x.T:
        for part in np.array_split(np.argsort(variable), 3):
            assert_calibrated(log_odds[part], signal[part])


MEANS = ([1.5, 1.2, -1.05], [0.0, 0.0, 0.0])
WIDTHS = ([0.69, 0.65, 0.69], [1.00, 1.05, 1.10])
CORRELATIONS = ([0.05, 0.15, 0.25], [-0.20, 0.35, 0.30])


def test_workshop_is_gaussian_behind_the_map_of_the_docstring(
    workshop: tuple[NDArray[Any], NDArray[np.bool_]],
) -> None:
    x, signal = workshop[0].astype(float), workshop[1]
    s = np.array([0.5, 0.8, 0.0]) + np.array([1.6, 1.92, 1.6]) * x / np.sqrt(1 - x**2)
    z2 = s[:, 1] - 0.35 * (s[:, 0] - 0.5) ** 2
    z = np.stack([s[:, 0], z2, s[:, 2] - 0.25 * z2], axis=1)
    densities = []
    for species, mean, width, correlation in zip((signal, ~signal), MEANS, WIDTHS, CORRELATIONS, strict=True):
        g = (z[species] - mean) / width
        for i in range(3):
            assert_mean(g[:, i], 0.0)
            assert_mean(g[:, i] ** 2, 1.0)
        for (i, j), expected in zip(((0, 1), (0, 2), (1, 2)), correlation, strict=True):
            assert_mean(g[:, i] * g[:, j], expected)
        r = np.eye(3)
        r[np.triu_indices(3, 1)] = r.T[np.triu_indices(3, 1)] = correlation
        densities.append(multivariate_normal(mean, r * np.outer(width, width)).logpdf(z))
    np.testing.assert_allclose(log_likelihood_ratio(x), densities[0] - densities[1], rtol=1e-9, atol=1e-9)


def test_workshop_optimum_and_straight_border_are_as_stated(
    workshop: tuple[NDArray[Any], NDArray[np.bool_]],
) -> None:
    x, signal = workshop
    ratio = log_likelihood_ratio(x)
    assert roc_auc_score(signal, ratio) == pytest.approx(0.9937, abs=0.0004)
    assert balanced_accuracy_score(signal, ratio > np.log(10)) == pytest.approx(0.927, abs=0.004)
    straight = LinearDiscriminantAnalysis().fit(x, signal).decision_function(x)
    assert roc_auc_score(signal, straight) == pytest.approx(0.985, abs=0.002)


def test_gaussian_toy_knows_its_likelihood_ratio() -> None:
    x, y, ratio = gaussian_toy(60_000, 2)
    assert x.shape == (60_000, 3)
    assert_share(y == 1, 0.5)
    assert_calibrated(ratio, y == 1)
    assert 0.85 < roc_auc_score(y, ratio) < 0.999
    again = gaussian_toy(60_000, 2)
    assert all(np.array_equal(a, b) for a, b in zip((x, y, ratio), again, strict=True))
    assert not np.array_equal(x, gaussian_toy(60_000, 3)[0])


# --- nano


@pytest.fixture(scope="module")
def nano() -> SimulatedEvents:
    return simulated("nano", 120_000, 9)


def test_nano_counts_candidates_as_stated(nano: SimulatedEvents) -> None:
    candidates = nano.collections["Electron"]
    flavour = candidates.fields["genPartFlav"]
    n = len(nano)
    assert_share(candidates.counts == 0, np.exp(-0.5) * (0.4 + 0.35 * 0.15 + 0.25 * 0.15**2))
    for flavours, mean in (((1,), 0.85 * (0.35 + 2 * 0.25)), ((4, 5), 0.15), ((0,), 0.35)):
        per_event = np.bincount(np.repeat(np.arange(n), candidates.counts)[np.isin(flavour, flavours)], minlength=n)
        assert_mean(per_event, mean)
    assert_share(flavour[np.isin(flavour, (4, 5))] == 4, 0.4)


def test_nano_candidates_fall_in_pt_and_lie_in_the_tracker(nano: SimulatedEvents) -> None:
    fields, counts = nano.collections["Electron"].fields, nano.collections["Electron"].counts
    assert ak.all(fields["pt"] >= 5)
    pt = ak.unflatten(fields["pt"], counts)
    assert ak.all(pt[:, :-1] >= pt[:, 1:])
    assert abs(fields["eta"]).max() <= 2.5
    assert abs(fields["phi"]).max() <= np.float32(np.pi)
    floats = ("pt", "eta", "phi", "mass", "sieie", "hoe", "r9", "eInvMinusPInv", "dxy")
    types = dict.fromkeys(floats, "float32") | {"genPartFlav": "uint8", "charge": "int32"}
    assert {key: values.dtype.name for key, values in fields.items()} == types
    assert set(np.unique(fields["charge"])) == {-1, 1}


def test_nano_event_branches_have_their_types_and_moments(nano: SimulatedEvents) -> None:
    kinds = {name: values.dtype.name for name, values in nano.branches.items()}
    assert kinds["run"] == kinds["luminosityBlock"] == "uint32"
    assert kinds["event"] == "uint64"
    assert nano.branches["event"].min() > 2**32
    assert len(np.unique(nano.branches["event"])) == len(nano)
    assert_share(nano.branches["genWeight"] < 0, 0.12)
    assert_mean(nano.branches["PV_npvs"], 32.0)
    assert_mean(nano.branches["MET_pt"], 16 + 0.35 * 25)


def test_nano_prompt_electrons_differ_from_fakes_by_shape_and_region(nano: SimulatedEvents) -> None:
    fields = nano.collections["Electron"].fields
    prompt, fake = fields["genPartFlav"] == 1, fields["genPartFlav"] == 0
    barrel = abs(fields["eta"]) < 1.479
    assert_mean(fields["sieie"][prompt & barrel], 0.0098)
    assert_mean(fields["sieie"][prompt & ~barrel], 0.0265)
    assert_mean(fields["sieie"][fake & barrel], 0.0098 + 0.0022)
    assert_mean(fields["sieie"][fake & ~barrel], 0.0265 + 0.0055)
    assert_share(fields["hoe"][prompt] == 0, 0.4)
    assert_share(fields["hoe"][fake] == 0, 0.1)
    assert_mean(fields["hoe"][fake], 0.9 * (0.08 + 0.0003 * 32))
    assert_mean(fields["r9"][prompt], 1 - 1.2 / 13.2)
    assert_mean(fields["dxy"][fake] ** 2, 0.02**2)
    assert_mean(fields["dxy"][prompt] ** 2, 0.95 * 0.003**2 + 0.05 * 0.012**2)
    assert_mean((fields["eInvMinusPInv"] * fields["pt"])[fake], -0.4)


# --- the data folder


@pytest.mark.parametrize("name", ["shms", "workshop"])
def test_shipped_files_are_what_the_readme_says_made_them(name: str) -> None:
    line = re.search(rf"pidlab simulate {name} +-o data/{name}\.root +--events (\d+) +--seed (\d+)", readme())
    assert line is not None
    n, seed = int(line[1]), int(line[2])
    with uproot.open(DATA / f"{name}.root") as file:
        tree = file[SAMPLES[name].tree]
        assert tree.num_entries == n
        assert f"{n:,} simulated events" in readme()
        for branch, values in simulated(name, n, seed).branches.items():
            # float32 of sums that another processor or numpy may round otherwise in the last bit
            np.testing.assert_allclose(tree[branch].array(library="np"), values, rtol=1e-5, atol=1e-5)


def readme() -> str:
    return (DATA / "README.md").read_text(encoding="utf-8")


def test_shipped_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.glob("*.root")) < 3_000_000


@pytest.mark.parametrize("name", ["shms", "workshop"])
def test_shipped_configurations_are_valid_and_name_branches_that_exist(name: str) -> None:
    loaded = load_config(DATA / f"{name}.yaml")
    config = loaded.config
    assert isinstance(config.data.files, str)
    with uproot.open(loaded.folder / config.data.files) as file:
        tree = file[config.data.tree]
        assert set(config.data.event_id + config.spectators) <= set(tree.keys())
        assert {feature.expression for feature in config.feature_list} <= set(tree.keys())
    assert {feature.name for feature in config.feature_list}.isdisjoint(config.spectators)
    assert config.output == f"runs/{name}"


def test_the_workshop_configuration_is_the_reference_network() -> None:
    config = load_config(DATA / "workshop.yaml").config
    mlp = config.models["mlp"].model_dump()
    stated = {"hidden": [20, 20], "activation": "tanh", "optimizer": "adam", "learning_rate": 1e-4, "batch_size": 128}
    assert {key: mlp[key] for key in stated} == stated
    assert (mlp["schedule"], mlp["loss"]) == ("constant", "cross_entropy")
    with uproot.open(DATA / "workshop.root") as file:  # as many steps as about 50 epochs of the full sample
        share = file["tree"].num_entries / SAMPLES["workshop"].n_events
    assert 40 <= mlp["epochs"] * share <= 60
    assert (config.scaling, config.balance) == ("minmax", "none")
    assert (config.split.test, config.split.validation) == (0.25, 0)

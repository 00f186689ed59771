"""The whole job, from a ROOT file to ROC curves and scores written back: pidlab, hipe4ml, and a notebook's lines.

    python benchmarks/whole_job.py FOLDER [--events N ...] [--jobs N] [--repeats N] [--json FILE]

The file is `pidlab simulate shms`. Each reads it, selects tracks, trains the same 200 trees of depth 4 on three
quarters of them (xgboost, histograms, learning rate .1), draws the ROC curve and the responses of train and test as
PNG, scores all tracks and writes the scores as a ROOT file:

- pidlab: `pidlab run --figures quick` with one BDT and nothing else said, so that it measures intervals, working points
  and the importance of features too, and writes a report, `results.root`, and friend trees for every entry of the file;
- hipe4ml 0.0.21: `TreeHandler`, `train_test_generator`, `ModelHandler`, `plot_utils` as its tutorial has them, in a
  virtual environment of its own, which is made in FOLDER by pip. It needs xgboost 1.x, whose default is not histograms:
  they are asked for, because it would take several times longer otherwise;
- notebook: uproot, pandas, scikit-learn, xgboost and matplotlib, as such analyses are written.

Each is a process of its own that may use all cores, as it does by itself, or --jobs threads; it is started warm: it was
run once on 2,000 events. Wall time
is that of the clock, so the machine should be quiet; CPU is that of all processes; peak is the resident memory of the
process and of all that it started, summed 20 times a second. Each AUC is that of the tool's own test sample. FOLDER
keeps the samples and the environment. Takes about five minutes on two cores, the first time a minute more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from rows import Row, shown
from scale import resident

HIPE4ML = "hipe4ml==0.0.21"
WARM_UP = 2_000
TREES = {"n_estimators": 200, "max_depth": 4, "learning_rate": 0.1}
FEATURES = ["P.cal.etottracknorm", "P.cal.eprtracknorm", "P.hgcer.npeSum", "P.gtr.beta"]
SELECTION = {
    "acceptance": "P.gtr.dp > -10 && P.gtr.dp < 22",
    "sane_track": "P.gtr.p > 1 && P.gtr.p < 11 && abs(P.gtr.th) < 0.05 && abs(P.gtr.ph) < 0.04",
    "no_pile_up": "P.cal.etottracknorm < 3",
}
READ = ["run", "event", "species", "P.gtr.dp", "P.gtr.p", "P.gtr.th", "P.gtr.ph", *FEATURES]
QUERY = (
    "`P.gtr.dp` > -10 and `P.gtr.dp` < 22 and `P.gtr.p` > 1 and `P.gtr.p` < 11 and abs(`P.gtr.th`) < 0.05 "
    "and abs(`P.gtr.ph`) < 0.04 and `P.cal.etottracknorm` < 3 and (species == 0 or species == 1)"
)

# Each script gets the input, the folder to write into and the number of threads, and prints its AUC last. A detector
# without a signal is -999 in the file: all three take it for missing.
HIPE4ML_SCRIPT = f"""
import sys
import matplotlib
matplotlib.use("Agg")
import numpy as np
import xgboost as xgb
from hipe4ml import plot_utils
from hipe4ml.analysis_utils import train_test_generator
from hipe4ml.model_handler import ModelHandler
from hipe4ml.tree_handler import TreeHandler
from sklearn.metrics import roc_auc_score

file, folder, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3] or 0) or None
features = {FEATURES!r}
tracks = TreeHandler(file, "T", {READ!r})
tracks.apply_preselections({QUERY!r})
data = tracks.get_data_frame()
data[features] = data[features].replace(-999, np.nan)
tracks.set_data_frame(data)
electrons, pions = tracks.get_subset("species == 0"), tracks.get_subset("species == 1")

train_test_data = train_test_generator([electrons, pions], [1, 0], test_size=0.25, random_state=42)
model = ModelHandler(xgb.XGBClassifier(tree_method="hist", n_jobs=jobs, **{TREES!r}), features)
model.train_test_model(train_test_data)
y_pred_train = model.predict(train_test_data[0], False)
y_pred_test = model.predict(train_test_data[2], False)

figure = plot_utils.plot_output_train_test(model, train_test_data, 100, False, ["pion", "electron"], True)
figure.savefig(folder + "/response.png")
figure = plot_utils.plot_roc_train_test(train_test_data[3], y_pred_test, train_test_data[1], y_pred_train)
figure.savefig(folder + "/roc.png")
tracks.apply_model_handler(model, False)
tracks.write_df_to_root_files("scores", "T", folder)
print(roc_auc_score(train_test_data[3], y_pred_test))
"""

NOTEBOOK_SCRIPT = f"""
import sys
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import uproot
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

file, folder, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3] or 0) or None
features = {FEATURES!r}
df = uproot.open(file)["T"].arrays({READ!r}, library="pd")
df = df.query({QUERY!r}).copy()
df[features] = df[features].replace(-999, np.nan)
X, y = df[features], (df["species"] == 0).astype(int)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=42, stratify=y)
model = XGBClassifier(tree_method="hist", n_jobs=jobs, **{TREES!r})
model.fit(X_train, y_train)
p_train, p_test = model.predict_proba(X_train)[:, 1], model.predict_proba(X_test)[:, 1]

plt.figure()
for name, truth, p in (("train", y_train, p_train), ("test", y_test, p_test)):
    fpr, tpr, _ = roc_curve(truth, p)
    plt.plot(fpr, tpr, label=f"{{name}}, AUC {{roc_auc_score(truth, p):.4f}}")
plt.xlabel("pion efficiency")
plt.ylabel("electron efficiency")
plt.legend()
plt.savefig(folder + "/roc.png")
plt.figure()
for name, truth, p in (("train", y_train, p_train), ("test", y_test, p_test)):
    for label, species in ((1, "electron"), (0, "pion")):
        plt.hist(p[truth == label], 100, range=(0, 1), density=True, histtype="step", label=f"{{species}} {{name}}")
plt.yscale("log")
plt.legend()
plt.savefig(folder + "/response.png")

df["score"] = model.predict_proba(X)[:, 1]
with uproot.recreate(folder + "/scores.root") as out:
    out["T"] = {{name: df[name].to_numpy() for name in ("run", "event", "score")}}
print(roc_auc_score(y_test, p_test))
"""


class Measured(NamedTuple):
    """What a tool took, in seconds and megabytes, and what it found."""

    wall: float
    cpu: float
    peak: float
    area: float


class Job:
    """The folder, and what is run in it."""

    def __init__(self, folder: Path, jobs: int | None) -> None:
        self.folder, self.jobs = folder, jobs

    def sample(self, n: int) -> Path:
        """Returns the file of n events, which is made if it is not there."""
        path = self.folder / f"shms{n}.root"
        if not path.exists():
            command = [sys.executable, "-m", "pidlab.cli", "simulate", "shms", "-o", str(path), "--events", str(n)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return path

    def environment(self) -> Path:
        """Returns the Python of hipe4ml's environment, which is made if it is not there."""
        place = self.folder / "hipe4ml"
        python = place / "bin" / "python"
        if not (place / "made").exists():
            venv.create(place, clear=True, with_pip=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", HIPE4ML], check=True)
            (place / "made").touch()
        return python

    def pidlab(self, n: int) -> Measured:
        """Runs `pidlab run`."""
        config, output = self.folder / f"shms{n}.yaml", self.folder / f"pidlab{n}"
        content = {
            "data": {"files": self.sample(n).name, "tree": "T", "event_id": ["run", "event"]},
            "classes": {"electron": "species == 0", "pion": "species == 1"},
            "selection": SELECTION,
            "features": [{"name": name, "expression": name, "missing": [-999]} for name in FEATURES],
            "split": {"test": 0.25, "validation": 0},
            "models": {"bdt": {"type": "bdt", "early_stopping_rounds": None} | TREES},
        }
        config.write_text(yaml.safe_dump(content))
        words = [sys.executable, "-m", "pidlab.cli", "run", str(config), "-o", str(output), "--force", "-q"]
        jobs = [] if self.jobs is None else ["--jobs", str(self.jobs)]
        found = self.measured([*words, "--figures", "quick", *jobs], None)
        metrics = json.loads((output / "metrics.json").read_text())
        return found._replace(area=metrics["models"]["bdt"]["test"]["auc"]["value"])

    def script(self, name: str, text: str, python: Path) -> Callable[[int], Measured]:
        """Returns what runs a script on n events."""
        path = self.folder / f"{name}.py"
        path.write_text(text)

        def run_on(n: int) -> Measured:
            output = self.folder / f"{name}{n}"
            output.mkdir(exist_ok=True)
            words = [str(python), "-W", "ignore", str(path), str(self.sample(n)), str(output), str(self.jobs or "")]
            found = self.measured(words, "out")
            assert (output / "scores.root").stat().st_size > 4 * n * 0.5, f"{name} wrote no scores"
            return found

        return run_on

    def measured(self, words: Sequence[str], area: str | None) -> Measured:
        """Runs a command; with `area` the last word that it prints is the AUC."""
        environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        if self.jobs is not None:
            environment["OMP_NUM_THREADS"] = str(self.jobs)
        before, start, peak = os.times(), time.perf_counter(), 0.0
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        while process.poll() is None:  # what it prints fits into the pipe
            peak = max(peak, resident(process.pid))
            time.sleep(0.05)
        wall, after = time.perf_counter() - start, os.times()
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} failed")
        printed = process.communicate()[0]
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Measured(wall, cpu, peak, float("nan") if area is None else float(printed.split()[-1]))


def rows(tools: Mapping[str, Callable[[int], Measured]], n: int, repeats: int) -> Iterator[Row]:
    """Yields the table for n events, with the others' figures as multiples of pidlab's; the tools take turns."""
    found = [{name: tool(n) for name, tool in tools.items()} for _ in range(repeats)]
    middle = {
        name: Measured(*(statistics.median(each) for each in zip(*(one[name] for one in found), strict=True)))
        for name in tools
    }
    own = middle["pidlab"]
    for name, m in middle.items():
        times = "" if name == "pidlab" else f"{m.wall / own.wall:.2f} × pidlab"
        yield shown(f"{n:,} events, {name}: wall seconds", m.wall, times)
        times = "" if name == "pidlab" else f"{m.cpu / own.cpu:.2f} × pidlab"
        yield shown(f"{n:,} events, {name}: CPU seconds", m.cpu, times)
        times = "" if name == "pidlab" else f"{m.peak / own.peak:.2f} × pidlab"
        yield shown(f"{n:,} events, {name}: peak MB", m.peak, times)
        yield shown(f"{n:,} events, {name}: AUC", m.area)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps samples, hipe4ml's environment and what is written")
    parser.add_argument("--events", type=int, nargs="+", default=[200_000, 2_000_000])
    parser.add_argument("--jobs", type=int, help="threads of each tool; left out: all cores")
    parser.add_argument("--repeats", type=int, default=1, help="the medians of so many runs are printed")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(folder, options.jobs)
    tools = {
        "pidlab": job.pidlab,
        "hipe4ml": job.script("hipe4ml_script", HIPE4ML_SCRIPT, job.environment()),
        "notebook": job.script("notebook_script", NOTEBOOK_SCRIPT, Path(sys.executable)),
    }
    for tool in tools.values():
        tool(WARM_UP)
    print(f"{options.jobs or len(os.sched_getaffinity(0))} threads each; load of the machine {os.getloadavg()[0]:.1f}")
    found: list[Row] = []
    for n in options.events:
        for row in rows(tools, n, options.repeats):
            print(row, flush=True)
            found.append(row)
    if options.json:
        written = [{"name": r.name, "value": r.value, "detail": r.detail} for r in found]
        options.json.write_text(json.dumps(written, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

"""What regressors make of samples with their default settings, beside scikit-learn's histogram boosting.

`python benchmarks/regression.py [SAMPLE ...] [--seeds N]` prints for each sample the RMS of the residual on a quarter
of the events, and for models with a width the RMS and σ68 of the pulls and minus the log-likelihood an event, each as
the mean over splits. A model has 85 % of the other events to train on and 15 % to validate; scikit-learn
has all of them, and its default settings.

Samples: `tmva` is TMVA's regression example, tmva_reg_example.root of ROOT's tutorials, which comes with the ROOT wheel
(or at --tmva FILE); `waves` a smooth function with a width that depends on a feature; `shower` the energy over the
measured one in a toy of a calorimeter with leakage; `line` a linear function with a constant width.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pidlab.models.base import ValidationSet
from pidlab.models.regressors.bdt import BDTRegressor
from pidlab.models.regressors.constant import Constant
from pidlab.models.regressors.linear import LinearRegression
from pidlab.models.regressors.network import MLPRegressor
from pidlab.preprocess.scaling import fit_scaler

Array = NDArray[np.float64]
Table = tuple[NDArray[np.float32], Array]
LOSSES = ("squared", "absolute", "quantile", "gaussian")


def tmva(path: Path | None) -> Table:
    """Returns var1 and var2, and fvalue, of TMVA's regression example."""
    import uproot

    if path is None:
        spec = importlib.util.find_spec("ROOT")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("tmva_reg_example.root comes with the ROOT wheel, which is not installed; say --tmva FILE")
        path = Path(next(iter(spec.submodule_search_locations)))
        path = path / "tutorials" / "machine_learning" / "data" / "tmva_reg_example.root"
    with uproot.open(path) as file:
        columns = file["TreeR"].arrays(["var1", "var2", "fvalue"], library="np")
    return np.column_stack([columns["var1"], columns["var2"]]), columns["fvalue"].astype(np.float64)


def waves(n: int = 20_000) -> Table:
    """Returns three features, and sin 3a + b c with a width exponential in b."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (n, 3)).astype(np.float32)
    mean = np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]
    return x, 1e3 * (5 + mean + 0.1 * np.exp(1.2 * x[:, 1]) * rng.normal(size=n))


def shower(n: int = 30_000) -> Table:
    """Returns the measured energy, the leakage, the angle and noise, and the energy over the measured one."""
    rng = np.random.default_rng(5)
    energy, angle = rng.uniform(1, 11, n), rng.uniform(-1, 1, n)
    share = 1 - 0.12 * angle**2 - 0.3 * np.exp(-energy)
    leakage = rng.exponential(0.3, n)
    measured = rng.normal(energy * share, 0.06 * np.sqrt(energy) * (1 + 0.5 * np.abs(angle))) - 0.3 * leakage
    x = np.column_stack([measured, leakage, angle, rng.normal(size=n)]).astype(np.float32)
    return x, energy / np.maximum(measured, 0.1)


def line(n: int = 6000) -> Table:
    """Returns four features, and a linear function of three of them with a width of one."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return x, x @ [1, 0.5, -1, 0] + rng.normal(size=n)


def measured(table: Table, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yields the name of each model and what it makes of one split."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = table
    order = np.random.default_rng(seed).permutation(len(y))
    train, stop, test = np.split(order, [int(0.6375 * len(y)), int(0.75 * len(y))])
    both = np.concatenate([train, stop])
    scaler = fit_scaler(x[train], "standard", np.ones(len(train)))
    scaled = scaler.transform(x)
    models: dict[str, tuple[Any, NDArray[np.float32]]] = {
        "constant": (Constant("gaussian"), x),
        **{f"linear {loss}": (LinearRegression(loss), scaled) for loss in ("squared", "huber", "absolute")},
        **{f"bdt {loss}": (BDTRegressor(loss, n_jobs=1), x) for loss in LOSSES},
        **{f"mlp {loss}": (MLPRegressor(loss, device="cpu"), scaled) for loss in LOSSES},
    }
    begin = time.process_time()
    theirs = HistGradientBoostingRegressor(random_state=0).fit(x[both], y[both])
    yield "scikit-learn", {"seconds": time.process_time() - begin, **numbers(theirs, x[test], y[test])}
    for name, (model, columns) in models.items():
        begin = time.process_time()
        model.fit(columns[train], y[train], validation=ValidationSet(columns[stop], y[stop], np.ones(len(stop))))
        yield name, {"seconds": time.process_time() - begin, **numbers(model, columns[test], y[test])}


def numbers(model: Any, x: NDArray[np.float32], y: Array) -> dict[str, float]:
    """Returns what is printed of a model."""
    residual = model.predict(x) - y
    found = {"rms": float(np.sqrt(np.mean(residual**2)))}
    names = getattr(model, "output_names", ())
    if names == ("sigma",):
        sigma = model.outputs(x)[:, 0].astype(np.float64)
        pulls = residual / sigma
        low, high = np.quantile(pulls, [0.1587, 0.8413])
        found |= {"pulls": float(np.sqrt(np.mean(pulls**2))), "pulls68": float(high - low) / 2}
        found["loss"] = float(np.mean(np.log(sigma) + pulls**2 / 2) + 0.5 * np.log(2 * np.pi))
    elif names:
        outputs = model.outputs(x)
        found["covered"] = float(((outputs[:, 0] <= y) & (y < outputs[:, -1])).mean())
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("samples", nargs="*", default=["tmva", "waves", "shower", "line"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tmva", type=Path)
    options = parser.parse_args()
    made = {"tmva": lambda: tmva(options.tmva), "waves": waves, "shower": shower, "line": line}
    for name in options.samples:
        table = made[name]()
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(options.seeds):
            for model, found in measured(table, seed):
                rows.setdefault(model, []).append(found)
        reference = np.mean([row["rms"] for row in rows["scikit-learn"]])
        print(f"\n{name}: {len(table[1]):,} events, {options.seeds} splits (ranges of the pulls' RMS in brackets)")
        for model, each in rows.items():
            mean = {key: float(np.mean([row[key] for row in each])) for key in each[0]}
            text = f"{model:16s} RMS {mean['rms']:9.4g} ({mean['rms'] / reference:5.3f} of scikit-learn's)"
            if "pulls" in mean:
                low, high = (edge([row["pulls"] for row in each]) for edge in (min, max))
                text += f"  pulls: RMS {mean['pulls']:.3f} ({low:.3f} to {high:.3f}), σ68 {mean['pulls68']:.3f}"
                text += f"; -log L {mean['loss']:.3f}"
            if "covered" in mean:
                text += f"  between q16 and q84: {mean['covered']:.3f}"
            print(f"{text}  {mean['seconds']:.1f} s")


if __name__ == "__main__":
    main()

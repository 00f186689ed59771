"""What the signs of a healthy training are, and what recording them costs.

    python benchmarks/training_health.py [--events N] [--only cost|signs]

*Signs*: networks of every activation, with both presets, two to eight layers, batch norm, and settings that are known
to hurt (a learning rate ten times and more too large, eight layers of sigmoid, features that are not scaled), on the
simulated samples shms, tracks and workshop. Of each the AUC, the largest share of silent units in any layer of any of
its networks, the range of the gradient's flow, and the largest gradient in units of the weights: what the thresholds in
`pidlab.models.mlp.health` stand on. *Cost*: the CPU time of trainings with and without norms and the looking for silent
units, alternately in one process, as the median of ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pidlab.config.load import check_config
from pidlab.models.base import ValidationSet
from pidlab.models.mlp import MLP
from pidlab.models.mlp.engine import trainer, training
from pidlab.models.mlp.health import Health
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse
from pidlab.progress import Watcher
from pidlab.simulate import simulate

SAMPLES: dict[str, tuple[str, int, list[Any]]] = {  # kind to tree, number of classes and features
    "shms": (
        "T", 2,
        [
            "P.gtr.dp", "P.gtr.th", "P.gtr.ph", "P.cal.etottracknorm", "P.cal.eprtracknorm",
            {"name": "beta", "expression": "P.gtr.beta", "missing": [-999]},
            {"name": "npe", "expression": "P.hgcer.npeSum", "missing": [-999]},
        ],
    ),
    "tracks": (
        "tracks", 4,
        [
            "p", "eta", "charge", "tpc_n", "its_n", "tpc_dedx", "its_dedx",
            {"name": "tof", "expression": "tof_beta", "missing": [-999]},
        ],
    ),
    "workshop": ("tree", 2, ["var1", "var2", "var3"]),
}  # fmt: skip
ACTIVATIONS = ("silu", "relu", "tanh", "sigmoid", "elu", "leaky_relu", "gelu", "maxout")
SHORT = {"epochs": 10}
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {  # name to the model's keys and the scaling
    **{f"default, {each}": ({"activation": each}, "quantile") for each in ACTIVATIONS},
    **{f"workshop, {each}": ({"preset": "workshop", "activation": each}, "quantile") for each in ACTIVATIONS},
    "batch norm, relu": ({"batch_norm": True, "activation": "relu"}, "quantile"),
    "128 × 4 relu": ({"hidden": [128] * 4, "activation": "relu", **SHORT}, "quantile"),
    "32 × 8 relu": ({"hidden": [32] * 8, "activation": "relu", **SHORT}, "quantile"),
    "32 × 6 tanh": ({"hidden": [32] * 6, "activation": "tanh", **SHORT}, "quantile"),
    "32 × 4 sigmoid": ({"hidden": [32] * 4, "activation": "sigmoid", **SHORT}, "quantile"),
    "standard, relu": ({"activation": "relu"}, "standard"),
    "32 × 8 sigmoid": ({"hidden": [32] * 8, "activation": "sigmoid", **SHORT}, "quantile"),
    "32 × 8 sigmoid, slow": ({"hidden": [32] * 8, "activation": "sigmoid", "learning_rate": 1e-3, **SHORT}, "quantile"),
    "relu, rate .1": ({"activation": "relu", "learning_rate": 0.1, **SHORT}, "quantile"),
    "relu, rate .3": ({"activation": "relu", "learning_rate": 0.3, **SHORT}, "quantile"),
    "tanh, rate .3": ({"activation": "tanh", "learning_rate": 0.3, **SHORT}, "quantile"),
    "not scaled, relu": ({"activation": "relu", **SHORT}, "none"),
    "not scaled, tanh": ({"activation": "tanh", **SHORT}, "none"),
}


def content_of(kind: str, file: Path, model: Mapping[str, Any], scaling: str) -> dict[str, Any]:
    common = {
        "scaling": scaling,
        "models": {"mlp": {"type": "mlp", **model}},
        "evaluate": {"robustness": None, "importance": False},
    }
    tree, n_classes, features = SAMPLES[kind]
    return common | {
        "data": {"files": str(file), "tree": tree, "event_id": ["event"] if kind == "workshop" else ["run", "event"]},
        "classes": {f"species_{i}": f"species == {i}" for i in range(n_classes)},
        "features": features,
    }


def signs(n: int) -> None:
    """Print a line for each sample and setting."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in SAMPLES:
            file = Path(folder) / f"{kind}.root"
            simulate(kind, file, n, 1)
            for name, (model, scaling) in SETTINGS.items():
                loaded = check_config(content_of(kind, file, model, scaling), {}, Path(folder) / "analysis.yaml")
                done = analyse(loaded, Resources("cpu", 1), Watcher())
                (fitted,) = done.models["mlp"].fitted
                health: tuple[Health, ...] = fitted.estimator.health_  # type: ignore[union-attr]
                result = done.results.models["mlp"]
                flows = [each.flow for each in health]
                assert result.training is not None
                print(
                    f"{kind:7s} {name:22s} AUC {result.auc.value:.4f}  silent "
                    f"{max(max(each.silent) for each in health):5.3f}  flow {min(flows):8.2g} to {max(flows):8.2g}  "
                    f"largest {max(each.largest for each in health):7.2g}  {'FAULT' * bool(result.training.warnings)}",
                    flush=True,
                )


def trainings() -> Iterator[tuple[str, int, dict[str, Any]]]:
    yield "default, 200,000 events", 200_000, {"epochs": 4}
    yield "default, 20,000 events", 20_000, {"epochs": 30, "members": 1}
    yield "workshop, 20,000 events", 20_000, {"preset": "workshop", "epochs": 20}
    yield "default, 2,000 events", 2_000, {"epochs": 100, "members": 1}


def cost(repeats: int = 8) -> None:
    """Print the ratios of CPU times: norms alone, and norms and silent units, to neither."""
    measure, health = trainer.Trainer._measure, training.health_of
    rng = np.random.default_rng(1)
    for name, n, keys in trainings():
        y = rng.integers(0, 2, n)
        x = (rng.normal(size=(n, 8)) + 0.6 * y[:, None]).astype(np.float32)
        validation = ValidationSet(x[: n // 5], y[: n // 5], np.ones(n // 5))
        seconds: dict[str, list[float]] = {"neither": [], "norms": [], "both": []}
        for repeat in range(repeats + 1):
            for what, taken in seconds.items():
                trainer.Trainer._measure = measure if what != "neither" else _unmeasured  # type: ignore[method-assign]
                training.health_of = health if what == "both" else _unlooked  # type: ignore[assignment]
                start = time.process_time()
                MLP(seed=1, patience=1000, swap_noise=0.0, **keys).fit(x, y, validation=validation)
                if repeat:  # the first of each is warmer or colder than the others
                    taken.append(time.process_time() - start)
        ratios = {w: float(np.median(np.divide(s, seconds["neither"]))) for w, s in seconds.items()}
        print(f"{name:24s} {min(seconds['neither']):.3f} s  norms {ratios['norms']:.4f}  both {ratios['both']:.4f}")
    trainer.Trainer._measure, training.health_of = measure, health  # type: ignore[method-assign]


def _unmeasured(trainer: Any) -> Any:
    return trainer._norms


def _unlooked(*_: Any) -> Health:
    return Health("silu", (), float("nan"), 0.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--only", choices=["cost", "signs"])
    arguments = parser.parse_args()
    if arguments.only != "signs":
        cost()
    if arguments.only != "cost":
        signs(arguments.events)

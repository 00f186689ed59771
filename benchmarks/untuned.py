"""Public tables by the defaults of the BDT and the network, over several splits: nothing is tuned.

    python benchmarks/untuned.py FOLDER [--splits N] [--json FILE]

FOLDER holds the tables of TMVA's examples: `tmva_class_example/inputdata_regression.root` and
`tmva_higgs/Higgs_data.root`. On 5,000 test events of the Higgs table the AUC of one split is uncertain by .006, so that
only the mean over splits says something.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import uproot
from rows import Row, at_least

import pidlab

TABLES = {
    "tmva_class_example/inputdata_regression.root": ("TreeS", "TreeB", 0.924),
    "tmva_higgs/Higgs_data.root": ("sig_tree", "bkg_tree", 0.795),
}
"""Trees of signal and background, and what the better of both models is to reach in the mean."""


def areas(file: Path, signal: str, background: str, seed: int) -> dict[str, float]:
    """Returns the AUC on test of each model for one split."""
    with uproot.open(file) as opened:
        features = opened[signal].keys()
    result = pidlab.run(
        {
            "data": {"files": str(file)},
            "classes": {"signal": {"tree": signal}, "background": {"tree": background}},
            "features": features,
            "split": {"seed": seed},
            "models": {"bdt": {"type": "bdt"}, "mlp": {"type": "mlp"}},
            "evaluate": {"robustness": None, "importance": False},
        }
    )
    return {name: result[name].auc.value for name in ("bdt", "mlp")}


def rows(folder: Path, splits: int) -> Iterator[Row]:
    """Yields a row for each table."""
    for name, (signal, background, least) in TABLES.items():
        found = [areas(folder / name, signal, background, seed) for seed in range(1, splits + 1)]
        means = {model: float(np.mean([each[model] for each in found])) for model in found[0]}
        best = float(np.mean([max(each.values()) for each in found]))
        detail = ", ".join(f"{model} {mean:.4f}" for model, mean in means.items())
        yield at_least(f"{Path(name).name}: mean AUC of the better model", best, least, detail)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=8)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for row in rows(options.folder, options.splits):
        print(row, flush=True)
        found.append({"name": row.name, "value": row.value, "bar": row.bar, "holds": row.holds})
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

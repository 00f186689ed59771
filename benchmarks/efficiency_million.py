"""Time of a measurement: a million probes in 20 bins, two working points, with alternatives for systematics.

    python benchmarks/efficiency_million.py [--probes 1000000]

Makes the sample, a run with a BDT, and measures. CPU seconds are those of reading and scoring, and of the fits.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from pidlab.config.load import check_config
from pidlab.datadriven.efficiency.binning import parse_bins
from pidlab.datadriven.efficiency.estimate import Shapes
from pidlab.datadriven.efficiency.measure import EfficiencyRequest, default_alternatives, measure
from pidlab.datadriven.efficiency.output import write_efficiencies
from pidlab.datadriven.efficiency.probes import ProbeExpressions
from pidlab.models.registry import Resources
from pidlab.pipeline import run
from pidlab.progress import Watcher
from pidlab.simulate import simulate

CONTENT = {
    "data": {"files": "train.root", "event_id": ["event"]},
    "classes": {"electron": "species == 0", "background": "species == 1"},
    "features": ["eop", "shower_width", "hoe", "isolation"],
    "models": {"bdt": {"type": "bdt", "n_estimators": 100}},
    "evaluate": {"working_points": [0.8, 0.9], "robustness": None, "importance": False},
}


class Stages(Watcher):
    """Keeps when each stage began, in seconds of the clock and of the processor."""

    def __init__(self) -> None:
        self.began: list[tuple[str, float, float]] = []

    def stage(self, name: str) -> None:
        self.began.append((name, time.monotonic(), time.process_time()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=1_000_000)
    n = parser.parse_args().probes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate("simulated_probes", folder / "train.root", 20_000, 1)
        simulate("probes", folder / "data.root", n, 2)
        run(
            check_config(CONTENT, {}, folder / "analysis.yaml"),
            folder / "run",
            Resources("cpu", 1),
            Watcher(),
            figures="none",
        )
        shapes = Shapes("crystal_ball", "exponential")
        signals, backgrounds = default_alternatives(shapes)
        binning = parse_bins("p: [10, 15, 20, 35, 60, 100]; eta: [-2.4, -1.6, 0, 1.6, 2.4]")
        request = EfficiencyRequest(
            folder / "run", (str(folder / "data.root"),), ProbeExpressions("mass", binning.names), 60, 120, 60, binning,
            shapes, signals, backgrounds,
        )  # fmt: skip
        stages = Stages()
        result, probes = measure(request, stages)
        stages.stage("write")
        write_efficiencies(folder / "efficiency", result, probes, stages)
        stages.stage("end")
        for (stage, wall, cpu), (_, wall_after, cpu_after) in zip(stages.began, stages.began[1:], strict=False):
            print(f"{stage:10s} {wall_after - wall:6.1f} s, {cpu_after - cpu:6.1f} CPU s")
        print(f"{n:,} probes, {binning.n_bins} bins, {len(result.points)} working points")
        print("\n".join(result.notes), *result.failures(), sep="\n")


if __name__ == "__main__":
    main()

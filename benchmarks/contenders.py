"""Cuts, BDT and network against TMVA, scikit-learn, scipy, xgboost and the tutorial's loop: every ratio in one run.

    python benchmarks/contenders.py [--only NAME] [--json FILE]

Prints each row as it is measured, with the bar that it is held against; FILE gets a list of {name, value, bar, holds}.
How each part measures is told in the head of `cuts.py`, `trees.py` and `network.py`; a GPU has `gpu.py`. Rates on the
CPU are per CPU second of one thread, measured in turns, so that a busy machine changes their ratios little. All parts
take about a quarter of an hour on two cores.
"""

from __future__ import annotations

import cuts
import network
import trees
from rows import measure

PARTS = {**cuts.parts(), **trees.PARTS, **network.PARTS}

if __name__ == "__main__":
    measure(__doc__, PARTS)

"""Run the tutorial: rewrite its figures, and print what its commands print.

    python docs/make_figures.py FOLDER

works in FOLDER (the samples and the runs stay there) and rewrites docs/images/tutorial_*.png, in some minutes. The
configurations are those of the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
FIGURES = {
    "by_hand": ("efficiency_P_cal_xtrack_hand",),
    "tutorial": ("inputs", "response_fisher", "learning_mlp", "roc", "efficiency_P_gtr_p_mlp", "robustness_smear"),
}
STEPS = (
    "simulate shms -o shms.root --events 100000",
    "inspect shms.root --ranges",
    "run by_hand.yaml -o runs/by_hand --quiet",
    "run tutorial.yaml -o runs/tutorial --quiet",
    "run tutorial.yaml -o runs/folds --set folds=5 --quiet",
    "compare runs/tutorial runs/folds",
    "simulate shms -o new.root --events 20000 --seed 2",
    "apply runs/tutorial new.root -o friends --quiet",
    "export runs/tutorial --format cuts -o cuts",
    "domain runs/tutorial new.root -o domain --quiet",
)


def main(folder: Path) -> None:
    """Run the steps of the tutorial in `folder` and take its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in configurations((DOCS / "tutorial.md").read_text(encoding="utf-8")).items():
        (folder / name).write_text(text, encoding="utf-8")
    for step in STEPS:
        pidlab(step, folder)
    for run, names in FIGURES.items():
        pidlab(f"plot runs/{run} {' '.join(names)} -o figures --format png", folder)
        for name in names:
            shutil.copy(folder / "figures" / f"{name}.png", DOCS / "images" / f"tutorial_{name}.png")


def configurations(page: str) -> dict[str, str]:
    """File name to text of the configurations that stand on a page under a title."""
    return dict(re.findall(r'```yaml title="(.+?)"\n(.*?)```', page, re.DOTALL))


def pidlab(words: str, folder: Path) -> None:
    """Show a command, and run it."""
    print(f"\n$ pidlab {words}", flush=True)
    subprocess.run([sys.executable, "-m", "pidlab.cli", *words.split()], cwd=folder, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What the documentation says is so: configurations, commands and code of its pages are checked or run."""

from __future__ import annotations

import gc
import html
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import click
import nbformat
import pytest
import uproot
from matplotlib import pyplot
from nbclient import NotebookClient

from pidlab.apply import apply
from pidlab.cli import cli
from pidlab.config.load import load_config
from pidlab.config.schema import json_schema
from pidlab.export import export
from pidlab.models.registry import Resources
from pidlab.pipeline import analyse, run
from pidlab.preprocess.events import check_table
from pidlab.preprocess.recipe import compile_recipe
from pidlab.progress import Watcher
from pidlab.read import Table
from pidlab.runs.bundle import load_bundle, save_bundle
from pidlab.runs.scored_events import write_events
from pidlab.simulate import simulate
from real_root import needs_root

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SAMPLES = {
    "shms.root": ("shms", 4000),
    "new.root": ("shms", 2000),
    "nano.root": ("nano", 6000),
    "tracks.root": ("tracks", 4000),
    "labelled.root": ("simulated_probes", 4000),
    "probes.root": ("probes", 6000),
    "simulated.root": ("simulated_probes", 3000),
    "dst.hipo": ("clas12", 4000),
}
GIVEN = {
    "README.md": "import numpy\ny = numpy.random.default_rng(1).integers(0, 2, 300)\n"
    "X = numpy.random.default_rng(2).normal(y[:, None], 1, (300, 2))\n"
}
BRIEF = ("evaluate.robustness=null", "evaluate.importance=false")
QUICK = {"{type: bdt}": "{type: bdt, n_estimators: 30}", "{type: mlp}": "{type: mlp, epochs: 2}"}
"""The models of a page, and what is trained in their place: the code of the pages is what is tested, not they."""
QUICK_TREES = {"{type: bdt}": QUICK["{type: bdt}"]}
QUICK_CODE = {
    "pidlab.BDT()": "pidlab.BDT(n_estimators=30)", "pidlab.MLP()": "pidlab.MLP(epochs=2)",
    'save("runs/first")': 'save("runs/first", figures="quick")',
}  # fmt: skip
"""The same for the code of the front page."""
SMALLER = {
    "12_000": "3_000", "5_000": "1_000", "n_estimators=150": "n_estimators=20", "epochs=20": "epochs=2",
    "n_estimators: 150": "n_estimators: 20", "epochs: 20": "epochs: 2",
}  # fmt: skip
"""The sizes in the notebook, and those with which it is run."""
FENCE = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A piece of code on a page."""

    page: str
    line: int
    language: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*languages: str) -> Iterator[Block]:
    """All blocks in these languages, page by page."""
    for path in [*sorted(DOCS.glob("*.md")), ROOT / "README.md"]:
        page = path.read_text(encoding="utf-8")
        for found in FENCE.finditer(page):
            if found[1] in languages:
                yield Block(path.name, page.count("\n", 0, found.start()) + 1, found[1], found[2] or "", found[3])


CONFIGURATIONS = [block for block in blocks("yaml") if re.search(r"^models:", block.text, re.MULTILINE)]
COMMANDS = [
    pytest.param(line.removeprefix("$ "), id=f"{block}: {line.removeprefix('$ ')}")
    for block in blocks("console", "bash")
    for line in block.text.splitlines()
    if line.removeprefix("$ ").startswith("pidlab ")
]
PAGES = sorted({block.page for block in blocks("python")})


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name, smaller."""
    folder = tmp_path_factory.mktemp("docs")
    for seed, (name, (sample, n)) in enumerate(SAMPLES.items(), 1):
        simulate(sample, folder / name, n, seed)
    return folder


@pytest.fixture(scope="session")
def finished(samples: Path) -> Path:
    """The folder of a reader who did what the pages say: `runs/shms`, `runs/electrons` and `friends`."""
    pages = {block.page: block for block in CONFIGURATIONS}
    (samples / "analysis.yaml").write_text(replaced(pages["start.md"].text, QUICK))
    loaded = load_config(samples / "analysis.yaml", BRIEF)
    run(loaded, samples / "runs" / "shms", Resources("cpu", 1), Watcher(), figures="none")
    bundle = load_bundle(samples / "runs" / "shms")
    apply(bundle, bundle.recipe.inputs([str(samples / "new.root")], None), samples / "friends", Watcher())
    (samples / "electrons.yaml").write_text(replaced(pages["nanoaod.md"].text, QUICK))
    keep(samples / "electrons.yaml", samples / "runs" / "electrons")
    (samples / "probes.yaml").write_text(replaced(pages["efficiency.md"].text, QUICK_TREES))
    keep(samples / "probes.yaml", samples / "runs" / "probes")
    measure_efficiencies(samples)
    return samples


def measure_efficiencies(folder: Path) -> None:
    """What the page on efficiencies measures, in one bin."""
    options = {"--mass": "mass", "--range": "60:120", "--bins": "p: [10, 100]", "--model": "bdt", "--point": "eff90"}
    options |= {
        "--simulation": str(folder / "simulated.root"),
        "--truth": "species == 0",
        "-o": str(folder / "efficiency"),
    }
    words = [str(folder / "runs" / "probes"), str(folder / "probes.root"), "-q", "--no-fit-figures"]
    cli.commands["efficiency"].main(words + [w for pair in options.items() for w in pair], standalone_mode=False)


def replaced(text: str, others: Mapping[str, str]) -> str:
    """The text with others in place of what it must hold."""
    for one, other in others.items():
        assert one in text
        text = text.replace(one, other)
    return text


def keep(config: Path, folder: Path) -> None:
    """A run without report and figures: what `pidlab.load` needs."""
    done = analyse(load_config(config, BRIEF), Resources("cpu", 1), Watcher())
    folder.mkdir()
    save_bundle(folder, done.recipe, done.models, done.results.models)
    write_events(folder, done.scored)


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=str)
def test_a_configuration_fits_the_sample_that_it_names(block: Block, samples: Path) -> None:
    path = samples / f"{Path(block.page).stem}_{block.line}.yaml"
    path.write_text(block.text)
    loaded = load_config(path)
    if loaded.config.data.files in SAMPLES:
        recipe = compile_recipe(loaded)
        for source in recipe.inputs([str(samples / str(loaded.config.data.files))], None):
            with Table(source, recipe.per) as table:
                check_table(recipe, table)


RECIPES = [block for block in CONFIGURATIONS if block.page == "experiments.md"]


@pytest.fixture(scope="module")
def all_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the samples of the recipes, large enough for all five settings of the spectrometer."""
    folder = tmp_path_factory.mktemp("recipes")
    simulate("shms", folder / "shms.root", 12_000, 1)
    simulate("tracks", folder / "tracks.root", 5_000, 1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda block: block.title)
def test_a_recipe_of_an_experiment_runs_and_its_table_shows_its_models(recipe: Block, all_settings: Path) -> None:
    path = all_settings / recipe.title
    path.write_text(replaced(recipe.text, {one: other for one, other in QUICK.items() if one in recipe.text}))
    loaded = load_config(path, BRIEF)
    trained = {name: model.type for name, model in loaded.config.models.items()}
    done = analyse(loaded, Resources("cpu", 1), Watcher())
    assert set(done.results.models) == set(trained)
    for name, model in done.results.models.items():
        assert trained[name] == "expression" or model.samples["test"].auc.value > 0.5, name
    after = (DOCS / recipe.page).read_text(encoding="utf-8").partition(recipe.text)[2]
    shown = re.findall(r"^\| `(\w+)` \|", after.partition("\n## ")[0], re.MULTILINE)
    assert list(dict.fromkeys(shown)) == list(trained)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_has_the_arguments_and_options_that_it_is_given(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    cli.commands[name].make_context(name, words)


def test_options_named_in_the_text_exist() -> None:
    known = {option for c in cli.commands.values() for p in c.params for option in p.opts} | {"--debug", "--help"}
    for path in DOCS.glob("*.md"):
        for words in re.findall(r"`pidlab ([^`]+)`", path.read_text(encoding="utf-8")):
            name, *rest = words.split()
            assert name in cli.commands or name.startswith("-") or name == "COMMAND", f"{path.name}: pidlab {words}"
            assert {w for w in rest if w.startswith("--")} <= known, f"{path.name}: pidlab {words}"


def test_every_page_is_reached_from_the_index_and_the_readme_reaches_the_index() -> None:
    linked = set(re.findall(r"\]\((\w+\.(?:md|ipynb))", (DOCS / "index.md").read_text(encoding="utf-8")))
    assert linked == {path.name for path in (*DOCS.glob("*.md"), *DOCS.glob("*.ipynb"))} - {"index.md"}
    assert "](docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_wrong_option_would_be_found() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        cli.commands["apply"].make_context("apply", ["runs/shms", "new.root", "-o", "x", "--job", "2"])


def code_of(page: str) -> str:
    code = GIVEN.get(page, "") + "\n".join(block.text for block in blocks("python") if block.page == page)
    return replaced(code, QUICK_CODE) if page == "README.md" else code


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Missing cross-reference index for:RuntimeWarning")  # coffea's, of a small NanoAOD
@pytest.mark.parametrize("page", [page for page in PAGES if page != "rdataframe.md"])
def test_the_code_of_a_page_runs(page: str, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    monkeypatch.setattr(sys, "path", [*sys.path])
    exec(compile(code_of(page), page, "exec"), {"__name__": "__main__"})
    pyplot.close("all")
    gc.collect()  # a page may leave files open, which would be told in another test otherwise
    sys.modules.pop("attach", None)  # which the page on Python imports from a folder of its own


@needs_root
def test_the_code_of_the_page_on_root_runs(finished: Path) -> None:
    """In a process of its own, since ROOT may crash at the end of Python."""
    bundle = load_bundle(finished / "runs" / "shms", ["bdt"])
    export(bundle, finished / "runs" / "shms", "header", ["bdt"], finished / "header")
    code = f"import os\n{code_of('rdataframe.md')}\nos._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=finished, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"^(Error|Warning) in|Traceback|DeprecationWarning", done.stderr, re.MULTILINE), done.stderr


@pytest.mark.slow
def test_every_key_that_a_run_writes_is_told(finished: Path) -> None:
    page = (DOCS / "files.md").read_text(encoding="utf-8")
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", page))))
    metrics = json.loads((finished / "runs" / "shms" / "metrics.json").read_text())
    model = metrics["models"]["bdt"]
    for keys in (metrics, model, model["test"], model["working_points"][0], metrics["comparisons"][0]):
        assert set(keys) <= told
    for name in (path.name for path in (finished / "runs" / "shms").iterdir()):
        assert f"`{name}`" in page or f"`{name}/" in page, name
    with uproot.open(finished / "runs" / "shms" / "results.root") as file:
        tops = {key.split("/")[0] for key in file.keys(cycle=False)}
    assert tops - set(metrics["models"]) <= told


def test_every_key_of_the_configuration_is_described() -> None:
    schema = json_schema()
    sections: dict[str, Any] = {"Config": schema, **schema["$defs"]}
    silent = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, value in section["properties"].items()
        if "const" not in value and not value.get("description")
    ]
    assert silent == []


def script(name: str) -> ModuleType:
    """A program of the documentation, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["configuration.md", "commands.md"])
def test_the_reference_is_what_the_code_says(page: str) -> None:
    made: str = script("make_reference").PAGES[page]()
    assert (DOCS / page).read_text(encoding="utf-8") == made, "stale: run python docs/make_reference.py"
    names = json_schema()["$defs"] if page == "configuration.md" else cli.commands
    assert made.count("\n## ") >= len(names)


def test_what_a_command_says_below_its_options_stands_in_the_reference_line_by_line_and_in_order() -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    below = {name: command.epilog for name, command in cli.commands.items() if command.epilog}
    assert {"sweights", "tune"} <= set(below)
    for name, said in below.items():
        assert said.replace("\b", "").strip() in page.partition(f"## pidlab {name}\n")[2].partition("\n## ")[0], name


def test_the_tutorial_shows_the_figures_that_are_made_for_it() -> None:
    made = {f"tutorial_{name}.png" for names in script("make_figures").FIGURES.values() for name in names}
    shown = re.findall(r"!\[.+?\]\(images/(\w+\.png)\)", (DOCS / "tutorial.md").read_text(encoding="utf-8"))
    assert made == set(shown) == {path.name for path in (DOCS / "images").glob("tutorial_*")}
    assert set(script("make_figures").configurations((DOCS / "tutorial.md").read_text())) == {
        "by_hand.yaml",
        "tutorial.yaml",
    }


@pytest.mark.slow
def test_the_pages_build_without_a_warning_and_ask_nobody_for_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {"NO_MKDOCS_2_WARNING": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = list((tmp_path / "site").glob("*.html"))
    assert {page.stem for page in pages} == {path.stem for path in DOCS.glob("*.md")} | {"404"}
    fetched = re.compile(
        r"<(?:script|img|iframe|source)[^>]+src=\"?(https?:[^\s\">]+)|<link[^>]+href=\"?(https?:[^\s\">]+)"
    )
    for page in pages:
        assert fetched.findall(page.read_text(encoding="utf-8")) == [], page.name
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import", sheet.read_text(encoding="utf-8")), sheet.name
    told = html.unescape((tmp_path / "site" / "api.html").read_text(encoding="utf-8"))
    for name in (
        "pidlab.pipeline.loaded.LoadedRun",
        "pidlab.models.cuts.estimator.Cuts",
        "pidlab.rootio.efficiency.tefficiency",
    ):
        assert name.rpartition(".")[2] in told


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    notebook = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
    kept = [len(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    smaller = iter(replaced(code, SMALLER).split("\0"))
    for cell in notebook.cells:
        cell.source = next(smaller) if cell.cell_type == "code" else cell.source
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(map(bool, outputs)) == sum(map(bool, kept)) > 8
    assert not [o for cell in outputs for o in cell if o.output_type == "error" or "Warning" in o.get("text", "")]

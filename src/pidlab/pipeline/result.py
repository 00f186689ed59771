"""Result: what a run found, for a notebook: tables, figures, histograms, and the ways to write it."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from pidlab.config.load import load_config
from pidlab.config.schema import Style
from pidlab.errors import UsageError, nearest
from pidlab.evaluate.results import (
    AnyResults,
    Comparison,
    ModelResult,
    RegressionComparison,
    RegressionModel,
    RegressionResults,
    Results,
    WorkingPoint,
    read_any_results,
)
from pidlab.measured import Measured
from pidlab.pipeline.analysis import Analysis
from pidlab.pipeline.histograms import HistogramsByName
from pidlab.pipeline.run import save_run
from pidlab.plots.on_request import Plots
from pidlab.progress import Watcher
from pidlab.report.headline import headline
from pidlab.report.page import write_report
from pidlab.report.regression import regression_headline, regression_table
from pidlab.report.tables import TextTable, as_html, as_text, models_table
from pidlab.runs.manifest import from_run, read_manifest, refuse_other_folder, verify
from pidlab.runs.record import draw_report

if TYPE_CHECKING:
    import pandas as pd

    from pidlab.apply import Summary
    from pidlab.export import Exported
    from pidlab.plots.gallery import Figures

ResultsT = TypeVar("ResultsT", bound=AnyResults)
"""What the run found: of classes, or of a target."""
ModelT = TypeVar("ModelT")
"""What it found of one model."""


class RunResult(Generic[ResultsT, ModelT]):
    """What a run found.

    It shows itself as a table with intervals, in a terminal and in a notebook. All numbers are measured on the test
    sample and have 68.3 % intervals.

    Attributes:
        results: every value that was measured.
        name: the name of the configuration.
        folder: the folder of the run; None if it was not saved.
    """

    def __init__(
        self,
        results: ResultsT,
        name: str,
        style: Style,
        config_yaml: str,
        manifest: Mapping[str, Any],
        *,
        analysis: Analysis | None = None,
        folder: Path | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """Holds the results of an analysis in memory, or those of the run in `folder`."""
        self.results: ResultsT = results
        self.name, self.folder = name, folder
        self._style, self._config_yaml, self._manifest = style, config_yaml, manifest
        self._analysis, self._watcher = analysis, watcher or Watcher()

    def _summary(self) -> tuple[str, TextTable]:
        """Returns the sentence and the table of models by which the object shows itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        sentence, table = self._summary()
        return f"{sentence}\n{as_text(table)}"

    def _repr_html_(self) -> str:
        """Returns the headline and the table of models for a notebook."""
        sentence, table = self._summary()
        return f"<p>{escape(sentence)}</p>{as_html(table)}"

    def __getitem__(self, model: str) -> ModelT:
        """Returns everything measured of one model.

        Raises:
            UsageError: there is no such model.
        """
        models: Mapping[str, Any] = self.results.models
        if model not in models:
            raise UsageError(f"there is no model {model!r}; {nearest(model, models)}")
        found: ModelT = models[model]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.results.models)

    def __len__(self) -> int:
        return len(self.results.models)

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(self.results.models)

    @property
    def notes(self) -> tuple[str, ...]:
        """What every reader of the numbers must know, in sentences."""
        return tuple(self.results.notes)

    def report(self, path: str | Path, *, figures: Figures = "all") -> Path:
        """Writes the report, one HTML file that opens offline, and returns its path.

        Raises:
            OutputError: the file cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="pidlab-") as temporary:
            page = draw_report(
                Path(temporary), self.results, self.name, self._style, self._config_yaml, self._manifest, figures
            )
        write_report(Path(path), page)
        return Path(path)

    def save(self, folder: str | Path, *, figures: Figures = "all", tensorboard: bool = False) -> Path:
        """Leaves the run behind in a folder, as `pidlab run` does, and returns the folder.

        A comparison of arrays leaves them behind too, as a tree in `arrays.root`, so that the run can be made again.
        With `tensorboard` the histories of the trainings are written as event files of TensorBoard, too.

        Raises:
            UsageError: the result was read from a folder, which holds the run already; or tensorboard is not installed.
            PidlabError: the folder cannot be written, or a model cannot be saved.
        """
        if self._analysis is None:
            raise UsageError(f"the run is in {self.folder} already; copy that folder")
        target = Path(folder).absolute()
        save_run(self._analysis, target, self._manifest, self._watcher, figures=figures, tensorboard=tensorboard)
        self.folder = target
        return target

    def export(self, format: str, output: str | Path, models: str | Sequence[str] = ()) -> list[Exported]:
        """Writes models for other programs: header, onnx, xgboost, cuts or correctionlib.

        Returns:
            What was written, each with its largest difference from pidlab on the events of the run.

        Raises:
            UsageError: there is no such format or model, or the format cannot hold a model.
            ModelError: an exported model disagrees with pidlab.
            OutputError: the files cannot be written.
        """
        from pidlab.export import export
        from pidlab.runs.bundle import load_bundle

        names = [models] if isinstance(models, str) else list(models)
        run = self._saved()
        return export(load_bundle(run, names), run, format, names, Path(output))

    def apply(
        self,
        files: str | Sequence[str],
        output: str | Path = "friends",
        *,
        models: str | Sequence[str] = (),
        tree: str | None = None,
        jobs: int | None = None,
        force: bool = False,
        report: bool = False,
    ) -> list[Summary]:
        """Scores files and writes a friend tree for each into the folder `output`.

        With `report`, also report.html, report.root and report.json: what is accepted and rejected, beside what the
        test sample of the run lets expect.

        Returns:
            A summary of each input; `target` is the friend file.

        Raises:
            DataError: an input cannot be read.
            OutputError: a friend file cannot be written.
        """
        from pidlab.apply import apply, find_inputs
        from pidlab.apply.report import ApplyReport
        from pidlab.errors import DataError
        from pidlab.runs.bundle import load_bundle

        bundle = load_bundle(self._saved(), [models] if isinstance(models, str) else models)
        made = ApplyReport.of(bundle) if report else None
        sources, unreadable = find_inputs(bundle.recipe, [files] if isinstance(files, str) else files, tree)
        tallies = None if made is None else made.tallies
        done = apply(bundle, sources, Path(output), self._watcher, jobs=jobs, force=force, tallies=tallies)
        if made is not None:
            made.unreadable = unreadable
            made.write(Path(output), done, self._watcher, n_jobs=jobs)
        failed = [*(each.reason for each in unreadable), *(s.failure for s in done if s.failure)]
        if failed:
            raise DataError("\n".join(failed))
        return done

    def _saved(self) -> Path:
        """Returns the folder of the run; a result that was not saved is written to a temporary one."""
        if self.folder is not None:
            return self.folder
        return self._temporary

    @cached_property
    def _temporary(self) -> Path:
        """The folder of a run that is removed with this object."""
        folder = Path(tempfile.mkdtemp(prefix="pidlab-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        assert self._analysis is not None
        save_run(self._analysis, folder / "run", self._manifest, self._watcher, figures="none")
        return folder / "run"


class Result(RunResult[Results, ModelResult]):
    """What a run of classes found.

    It shows itself as a table with intervals, in a terminal and in a notebook. All rates and areas are measured on the
    test sample and have 68.3 % intervals.
    """

    def _summary(self) -> tuple[str, TextTable]:
        return headline(self.results), models_table(self.results)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The comparison of each pair of models on the same events."""
        return self.results.comparisons

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each pair of models and working point that says which is better, or that none is."""
        return [point.verdict for pair in self.comparisons for point in pair.working_points if point.verdict]

    def table(self) -> pd.DataFrame:
        """Returns a row for each model: its AUC, and misidentification at each working point, with intervals."""
        rows: dict[str, dict[str, float]] = {}
        for name, model in self.results.models.items():
            rows[name] = _columns("auc", model.auc)
            for point in model.working_points:
                if model.fixed_cut:
                    rows[name] |= _columns("efficiency", point.efficiency)
                for particle, rate in point.misid.items():
                    what = "misid" if len(point.misid) == 1 else f"misid_{particle}"
                    rows[name] |= _columns(f"{what}_{point.name}", rate)
        return _by_model(rows)

    @property
    def points(self) -> dict[str, pd.DataFrame]:
        """Name of a working point to a table of what each model does there, a row for each model.

        A name that no model has raises UsageError.
        """
        found: dict[str, dict[str, dict[str, float]]] = {}
        for name, model in self.results.models.items():
            for point in model.working_points:
                found.setdefault(point.name, {})[name] = _rates(point)
        return _PointTables({point: _by_model(rows) for point, rows in found.items()})

    def comparison_table(self) -> pd.DataFrame:
        """Returns a row for each pair of models (a, b) and quantity: the difference b - a with its interval and p."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for pair in self.comparisons:
            if not math.isnan(pair.delta_auc.value):
                rows.append(_difference(pair, "auc", pair.delta_auc, pair.auc_p, pair.auc_p_adjusted))
            for point in pair.working_points:
                quantity = f"misid of {point.particle} at {point.name}"
                tests = point.p, point.p_adjusted
                rows.append(_difference(pair, quantity, point.delta_misid, *tests, verdict=point.verdict))
        return pd.DataFrame(rows)

    @cached_property
    def hist(self) -> HistogramsByName:
        """The histograms by name, as objects of the hist package: `result.hist["bdt/response"]`."""
        return HistogramsByName(self.results)

    @cached_property
    def plot(self) -> Plots:
        """The figures, on axes of one's own: `result.plot.roc(models=["bdt"])`, `result.plot("roc_pairs_bdt")`."""
        return Plots(self.results, self._style)


class RegressionResult(RunResult[RegressionResults, RegressionModel]):
    """What a run with a target found.

    It shows itself as a table with intervals, in a terminal and in a notebook. All numbers are measured on the test
    sample and have 68.3 % intervals.
    """

    def _summary(self) -> tuple[str, TextTable]:
        return regression_headline(self.results), regression_table(self.results)

    @property
    def comparisons(self) -> tuple[RegressionComparison, ...]:
        """The comparison of each pair of models on the same events."""
        return self.results.comparisons

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each pair of models and quantity that says which is better, or that none is."""
        return [quantity.verdict for pair in self.comparisons for quantity in pair.quantities]

    def table(self) -> pd.DataFrame:
        """Returns a row for each model: bias, RMS, σ68 and the like of the residuals, with intervals."""
        rows: dict[str, dict[str, float]] = {}
        for name, model in self.results.models.items():
            residuals, pulls = model.test, model.test.pulls
            rows[name] = {}
            for each in ("bias", "rms", "sigma68", "effective", "mae", "r2"):
                rows[name] |= _columns(each, getattr(residuals, each))
            for each in ("mean", "width", "sigma68", "log_likelihood") if pulls is not None else ():
                rows[name] |= _columns(f"pull_{each}", getattr(pulls, each))
        return _by_model(rows)

    def comparison_table(self) -> pd.DataFrame:
        """Returns a row for each pair of models (a, b) and quantity: the difference b - a with its interval and p."""
        import pandas as pd

        return pd.DataFrame(
            _difference(pair, each.name, each.difference, each.p, each.p_adjusted, verdict=each.verdict)
            for pair in self.comparisons
            for each in pair.quantities
        )


def result_of(results: AnyResults, *arguments: Any, **further: Any) -> Result | RegressionResult:
    """Returns what a run found as what a notebook gets; the arguments are those of `RunResult`."""
    if isinstance(results, RegressionResults):
        return RegressionResult(results, *arguments, **further)
    return Result(results, *arguments, **further)


def _by_model(rows: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Returns a table with a row for each model."""
    import pandas as pd

    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _columns(name: str, number: Measured) -> dict[str, float]:
    """Returns the three columns of a number with its interval."""
    return {name: number.value, f"{name}_low": number.low, f"{name}_high": number.high}


def _difference(
    pair: Comparison | RegressionComparison, quantity: str, number: Measured, p: float, p_adjusted: float, **more: str
) -> dict[str, Any]:
    """Returns the row of a pair of models and one quantity: the difference with its interval and p-values."""
    names = {"a": pair.a, "b": pair.b, "quantity": quantity}
    return {**names, **_columns("difference", number), "p": p, "p_adjusted": p_adjusted, **more}


def _rates(point: WorkingPoint) -> dict[str, float]:
    """Returns the columns of a working point; misidentification and rejection for each other class."""
    columns = {"threshold": point.threshold, **_columns("efficiency", point.efficiency)}
    for particle, rate in point.misid.items():
        columns |= _columns(f"misid_{particle}", rate)
    for particle, rate in point.rejection.items():
        columns |= _columns(f"rejection_{particle}", rate)
    return columns | _columns("purity", point.purity)


def read_result(run: Path) -> Result | RegressionResult:
    """Returns what a finished run found, from its folder.

    Raises:
        UsageError: `run` is not the folder of a run.
        ModelError: a file of the run is damaged.
    """
    refuse_other_folder(run, "config.yaml", "results.json")
    verify(run, "config.yaml", "results.json")
    loaded = load_config(run / "config.yaml")
    with from_run(run):
        results = replace(read_any_results(run / "results.json"), labels=loaded.config.axis_labels)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    return result_of(results, run.name, loaded.config.style, config, read_manifest(run), folder=run)


class _PointTables(dict[str, Any]):
    """The tables of working points by name; a name that is missing is answered by those that there are."""

    def __missing__(self, name: str) -> NoReturn:
        raise UsageError(f"there is no working point {name!r}; {nearest(name, list(self))}")

"""The study behind a tuning: optuna's, in a database that processes share and that outlives them."""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab.errors import UsageError
from pidlab.evaluate.results import State, Tried

if TYPE_CHECKING:
    import optuna

PRUNERS = ("median", "halving", "none")
_ALIVE, _PLACE, _REASON, _SECONDS, _TRIED = "alive", "place", "reason", "seconds", "tried"
_STARTUP = 10  # trials at random before the sampler learns from them
_BEAT, _SILENCE = 20.0, 180.0  # seconds: how often a trial says that it lives, and how long it may keep silent


def optuna_module() -> Any:
    """Optuna, which keeps silent.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError as error:
        raise UsageError("tuning needs optuna: pip install 'pidlab[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_database(storage: str) -> Any:
    """The database at an address, or in a file, which is then of SQLite.

    Raises:
        UsageError: it cannot be opened, or holds something else.
    """
    url = storage if "://" in storage else f"sqlite:///{Path(storage).resolve()}"
    # processes that share a file wait for each other
    patience = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    try:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return _opened(url, patience)
    except UsageError:
        raise
    except Exception as error:  # whatever the database's own library raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--storage {storage}: cannot be used to keep trials in ({reason})") from error


def _opened(url: str, options: Mapping[str, Any]) -> Any:
    """The database; where another process makes the same tables at this moment, those that it has made."""
    optuna = optuna_module()
    for seconds in (0.5, 1.0, 2.0):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=dict(options))
        except Exception as error:
            if type(error).__name__ not in ("OperationalError", "IntegrityError"):
                raise
            time.sleep(seconds)
    return optuna.storages.RDBStorage(url, engine_kwargs=dict(options))


class Study:
    """Trials of one model on one sample, asked for and told one by one.

    A trial draws by the seed and its number, so that neither a resumed study nor a second process repeats draws.
    While it runs it says so every 20 s; one that kept silent for three minutes, or whose process on this machine is
    gone, is failed by whoever looks next.

    Args:
        database: as `open_database` opens it.
        name: of the study; a new one begins where there is none of this name.
        maximise: whether a larger objective is better.
        seed: of the draws.
        pruner: median, halving or none.
    """

    def __init__(self, database: Any, name: str, *, maximise: bool, seed: int, pruner: str) -> None:
        self._optuna, self._seed = optuna_module(), seed
        self._running: dict[int, optuna.Trial] = {}
        self._study: optuna.Study = self._optuna.create_study(
            storage=database,
            study_name=name,
            direction="maximize" if maximise else "minimize",
            pruner=self._pruner(pruner),
            load_if_exists=True,
        )
        self.n_others = len(self._optuna.get_all_study_names(database)) - 1

    def _pruner(self, name: str) -> Any:
        pruners = self._optuna.pruners
        if name == "median":
            return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3)
        return pruners.SuccessiveHalvingPruner() if name == "halving" else pruners.NopPruner()

    def ask(self, suggest: Any, fixed: Mapping[str, Any] | None = None) -> tuple[optuna.Trial, dict[str, Any]]:
        """A new trial and its parameters; `fixed` are values that it takes, in optuna's own terms."""
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        trial = self._study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=(self._seed + trial.number) % 2**32, n_startup_trials=_STARTUP, constant_liar=True
            )
        trial.set_user_attr(_PLACE, f"{socket.gethostname()}:{os.getpid()}")
        trial.set_user_attr(_ALIVE, time.time())
        self._running[trial.number] = trial
        parameters = suggest(trial)
        trial.set_user_attr(_TRIED, parameters)
        return trial, parameters

    def complete(self, trial: optuna.Trial, value: float, seconds: float) -> None:
        """The trial's objective on validation."""
        trial.set_user_attr(_SECONDS, seconds)
        self._tell(trial, value)

    def pruned(self, trial: optuna.Trial, seconds: float, reason: str = "") -> None:
        """The trial was given up early, or its model could not be trained, for this reason."""
        trial.set_user_attr(_SECONDS, seconds)
        trial.set_user_attr(_REASON, reason)
        self._tell(trial, None, self._optuna.trial.TrialState.PRUNED)

    def _tell(self, trial: optuna.Trial, value: float | None, state: Any = None) -> None:
        self._study.tell(trial, value, state, skip_if_finished=True)
        self._running.pop(trial.number, None)

    def give_up(self) -> None:
        """Fail the trials that this process still runs."""
        for trial in list(self._running.values()):
            self._tell(trial, None, self._optuna.trial.TrialState.FAIL)

    def free_stale(self) -> None:
        """Fail the trials of processes that are gone."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            if trial.number not in self._running and _is_stale(trial.user_attrs, time.time()):
                with suppress(ValueError):  # somebody else was faster
                    self._study.tell(trial.number, None, states.FAIL, skip_if_finished=True)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While the block lasts the running trials say that they live."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(_BEAT):
                for trial in list(self._running.values()):
                    with suppress(Exception):  # a trial that ended meanwhile, or a database that is busy
                        trial.set_user_attr(_ALIVE, time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def trials(self) -> tuple[Tried, ...]:
        """All trials that were begun, in the order of their numbers."""
        waiting = self._optuna.trial.TrialState.WAITING
        return tuple(_tried(t) for t in self._study.get_trials(deepcopy=False) if t.state != waiting)

    def importance(self) -> dict[str, float]:
        """Parameter to its share of the objective's variance (functional ANOVA of a forest; Hutter et al., ICML 2014).

        Empty with fewer than four complete trials, or where all came out alike.
        """
        complete = [t.value for t in self.trials() if t.state == "complete"]
        if len(complete) < 4 or min(complete) == max(complete):
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=0)
            found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {str(name): float(share) for name, share in found.items()}


def _is_stale(attributes: Mapping[str, Any], now: float) -> bool:
    host, _, process = str(attributes.get(_PLACE, "")).rpartition(":")
    if host == socket.gethostname() and process.isdigit() and not _lives(int(process)):
        return True
    return now - float(attributes.get(_ALIVE, now)) > _SILENCE


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _tried(trial: optuna.trial.FrozenTrial) -> Tried:
    attributes = trial.user_attrs
    reason = str(attributes.get(_REASON, ""))
    states: dict[str, State] = {"COMPLETE": "complete", "FAIL": "failed", "RUNNING": "running"}
    state: State = states.get(trial.state.name, "refused" if reason else "pruned")
    value = trial.value if trial.value is not None and not reason else float("nan")
    return Tried(trial.number, state, value, attributes.get(_TRIED, {}), float(attributes.get(_SECONDS, 0.0)), reason)


def fixed_parameters(trial: optuna.Trial, names: Sequence[str]) -> dict[str, Any]:
    """Those parameters of a trial, as optuna keeps them, so that another takes the same."""
    return {name: trial.params[name] for name in names if name in trial.params}

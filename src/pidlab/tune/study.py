"""The optuna study of a tuning, in a database that several processes can share and that can be resumed."""

from __future__ import annotations

import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pidlab.errors import UsageError
from pidlab.evaluate.results import State, Tried

if TYPE_CHECKING:
    import optuna

PRUNERS: Mapping[str, Callable[[Any], Any]] = {
    "median": lambda pruners: pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
    "halving": lambda pruners: pruners.SuccessiveHalvingPruner(),
    "none": lambda pruners: pruners.NopPruner(),
}
"""The pruner of each name, made from the module `optuna.pruners`."""
# Attributes of a trial in the database.
_HEARTBEAT, _PROCESS, _REASON, _SECONDS, _TRIED = "alive", "place", "reason", "seconds", "tried"
_STARTUP = 10  # random trials before the sampler learns from them
_INTERVAL, _TIMEOUT = 20.0, 180.0  # seconds between heartbeats of a trial, and without one until it counts as dead


def optuna_module() -> Any:
    """Returns the package optuna, with its log switched off.

    Raises:
        UsageError: optuna is not installed.
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
    """Opens the database at an address, or the SQLite database in a file.

    Raises:
        UsageError: the database cannot be opened, or holds something else.
    """
    url = storage if "://" in storage else f"sqlite:///{Path(storage).resolve()}"
    # Processes that share a file wait for each other's locks, at most for 100 seconds.
    options = {"connect_args": {"timeout": 100}} if url.startswith("sqlite") else {}
    try:
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return _opened(url, options)
    except UsageError:
        raise
    except Exception as error:  # each database has its own library with its own errors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--storage {storage}: cannot be used to keep trials in ({reason})") from error


def _opened(url: str, options: Mapping[str, Any]) -> Any:
    """Opens the database, again if another process was making the same tables at that moment."""
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
    """The trials of one model on one sample.

    The random numbers of a trial depend on the seed and its number, so that a resumed study and a second process do not
    repeat them. A running trial writes a heartbeat every 20 s. A trial without one for three minutes, or whose process
    on this machine has ended, is failed by the next process that looks.

    Args:
        database: an open database, from `open_database`.
        name: the name of the study, which is created if the database does not hold it.
        maximise: whether a larger objective is better.
        seed: the seed of the random numbers.
        pruner: a key of `PRUNERS`.
    """

    def __init__(self, database: Any, name: str, *, maximise: bool, seed: int, pruner: str) -> None:
        self._optuna, self._seed = optuna_module(), seed
        self._running: dict[int, optuna.Trial] = {}
        self._study: optuna.Study = self._optuna.create_study(
            storage=database,
            study_name=name,
            direction="maximize" if maximise else "minimize",
            pruner=PRUNERS[pruner](self._optuna.pruners),
            load_if_exists=True,
        )
        self.n_others = len(self._optuna.get_all_study_names(database)) - 1

    def ask(self, suggest: Any, fixed: Mapping[str, Any] | None = None) -> tuple[optuna.Trial, dict[str, Any]]:
        """Begins a trial and returns it with its parameters; `fixed` are values that it must take, in optuna's form."""
        if fixed:
            self._study.enqueue_trial(dict(fixed))
        trial = self._study.ask()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=(self._seed + trial.number) % 2**32, n_startup_trials=_STARTUP, constant_liar=True
            )
        trial.set_user_attr(_PROCESS, f"{socket.gethostname()}:{os.getpid()}")
        trial.set_user_attr(_HEARTBEAT, time.time())
        self._running[trial.number] = trial
        parameters = suggest(trial)
        trial.set_user_attr(_TRIED, parameters)
        return trial, parameters

    def record(self, trial: optuna.Trial, seconds: float, value: float | None, reason: str = "") -> None:
        """Ends a trial; `value` is None if it was stopped early or, for this `reason`, could not be trained."""
        trial.set_user_attr(_SECONDS, seconds)
        if value is None:
            trial.set_user_attr(_REASON, reason)
        self._tell(trial, value, None if value is not None else self._optuna.trial.TrialState.PRUNED)

    def _tell(self, trial: optuna.Trial, value: float | None, state: Any) -> None:
        self._study.tell(trial, value, state, skip_if_finished=True)
        self._running.pop(trial.number, None)

    def give_up(self) -> None:
        """Fails the trials that this process still runs."""
        for trial in list(self._running.values()):
            self._tell(trial, None, self._optuna.trial.TrialState.FAIL)

    def free_stale(self) -> None:
        """Fails the trials of processes that have ended."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            if trial.number not in self._running and _is_stale(trial.user_attrs, time.time()):
                with suppress(ValueError):  # another process was faster
                    self._study.tell(trial.number, None, states.FAIL, skip_if_finished=True)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Writes heartbeats of the running trials during the block."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(_INTERVAL):
                for trial in list(self._running.values()):
                    with suppress(Exception):  # the trial has just ended, or the database is busy
                        trial.set_user_attr(_HEARTBEAT, time.time())

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def trials(self) -> tuple[Tried, ...]:
        """Returns all trials that were begun, in the order of their numbers."""
        waiting = self._optuna.trial.TrialState.WAITING
        return tuple(_tried(t) for t in self._study.get_trials(deepcopy=False) if t.state != waiting)

    def importance(self) -> dict[str, float]:
        """Returns the share of each parameter in the objective's variance (functional ANOVA; Hutter et al., ICML 2014).

        It is empty with fewer than four complete trials, or if all have the same value.
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
    host, _, process = str(attributes.get(_PROCESS, "")).rpartition(":")
    if host == socket.gethostname() and process.isdigit() and not _is_running(int(process)):
        return True
    return now - float(attributes.get(_HEARTBEAT, now)) > _TIMEOUT


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        pass
    return True


def _tried(trial: optuna.trial.FrozenTrial) -> Tried:
    attributes = trial.user_attrs
    reason = str(attributes.get(_REASON, ""))
    states: dict[str, State] = {"COMPLETE": "complete", "FAIL": "failed", "RUNNING": "running"}
    state: State = states.get(trial.state.name, "refused" if reason else "pruned")
    value = trial.value if trial.value is not None and not reason else float("nan")
    return Tried(trial.number, state, value, attributes.get(_TRIED, {}), float(attributes.get(_SECONDS, 0.0)), reason)

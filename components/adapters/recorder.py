"""`lode.Run`: the few lines by which a Python script is told of its run and says how it goes.

Nothing but the standard library, and torch once a scheduler is asked for. What is read and written
is the contract of `components/runs/contract.py`, which other languages keep by themselves.
"""

from __future__ import annotations

import atexit
import csv
import json
import math
import os
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from components.adapters.rate_scheduler import RateScheduler

VARIABLE = "LODE_RUN"
COLUMNS = (
    "step",
    "train_loss",
    "val_metric",
    "val_loss",
    "lr",
    "elapsed_s",
    "epoch",
    "test_metric",
)
FOLDER = "lode-runs"
_FORMAT = 1


class RunError(ValueError):
    """A run that cannot be, or is told something impossible; the message says what to change."""


class Run:
    """One training run: what it is told, and what it logs.

    Under the pipeline `Run.from_env()` has all of it; by hand `Run("my-task", updates=N)` writes
    to a folder of its own, and its schedule is that of the task's champion unless one is given.

        with lode.Run.from_env() as run:
            scheduler = run.scheduler(optimizer)
            for step in range(run.updates):
                ...; optimizer.step(); scheduler.step()
                run.log(step, train_loss=loss)
                if run.at_log_point(step):
                    run.log(step, val_metric=evaluate())
            run.finish(test_metric=test())

    Attributes:
        task, seed: seed every random generator with it, so that runs can be repeated.
        metric_goal: `maximize` or `minimize`: which way `val_metric` is better.
        device: what params.yaml asks for: auto, cpu, cuda, cuda:1, …
        history: the file that is written.

    Args:
        schedule: N rates; or what `LODEScheduler.load` takes: `models:/…`, a folder, a plan.json.
            None: the champion of the task.
        folder: where a run's files go; None: `lode-runs/<task>/<time>-seed-<seed>`.

    Raises:
        RunError: an impossible length or seed.
    """

    def __init__(
        self,
        task: str,
        *,
        updates: int,
        points: int = 100,
        seed: int = 0,
        schedule: str | Path | Sequence[float] | None = None,
        metric_goal: str = "maximize",
        folder: str | Path | None = None,
    ) -> None:
        if updates < 1 or points < 1 or seed < 0 or metric_goal not in ("maximize", "minimize"):
            raise RunError(
                f"updates = {updates}, points = {points}, seed = {seed}, metric_goal = "
                f"{metric_goal!r}: at least one update and point, a seed >= 0, maximize or minimize"
            )
        points = min(points, updates)
        stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-seed-{seed}"
        where = Path(FOLDER, task, stamp) if folder is None else Path(folder)
        self._begin(
            {
                "format": _FORMAT,
                "task": task,
                "seed": seed,
                "updates": updates,
                "points": points,
                "device": "auto",
                "metric": {"goal": metric_goal},
                "log_steps": [round(p * updates / points) for p in range(1, points + 1)],
                "history": str(where / "history.csv"),
                "decisions": str(where / "decisions.json"),
            },
            f"models:/lode-{task}@champion" if schedule is None else schedule,
        )
        if self._writes:
            where.mkdir(parents=True, exist_ok=True)
            (where / "run.json").write_text(json.dumps(self._told), encoding="utf-8")

    @classmethod
    def from_env(cls, **by_hand: Any) -> Run:
        """The run that the pipeline, `lode check` or a file of `lode ask` asks for.

        Args:
            by_hand: of `Run`, for when the script is started without them.

        Raises:
            RunError: `LODE_RUN` is not set and nothing is said by hand, or it names no run.
        """
        path = os.environ.get(VARIABLE)
        if path:
            return cls.from_file(path)
        if by_hand:
            return cls(by_hand.pop("task", Path.cwd().name), **by_hand)
        raise RunError(
            f"{VARIABLE} is not set: start the script by `lode check` or the pipeline, or say what "
            "holds without them: Run.from_env(task=…, updates=…, seed=…)"
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Run:
        """The run that a JSON file describes.

        Raises:
            RunError: it cannot be read, or is none.
        """
        try:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{VARIABLE} = {path}: no run can be read ({error})") from None
        if not isinstance(told, dict) or told.get("format") != _FORMAT:
            raise RunError(f"{VARIABLE} = {path}: not a run of this version of lode-pipeline")
        run = cls.__new__(cls)
        run._begin(told, told["lr"])
        run._asked = True
        return run

    def _begin(self, told: dict[str, Any], schedule: str | Path | Sequence[float]) -> None:
        self._told, self._schedule = told, schedule
        self.task: str = told["task"]
        self.seed: int = told["seed"]
        self.device: str = told["device"]
        self.metric_goal: str = told["metric"]["goal"]
        self.history = Path(told["history"])
        self._points_of = 0, frozenset[int]()  # N, and the log points of so many updates
        self._asked = False  # by the pipeline
        # Of several processes, as torchrun starts them, the first writes.
        self._writes = int(os.environ.get("RANK", "0")) == 0
        self._file: TextIO | None = None
        self._row: dict[str, Any] = {}
        self._loss: Any = 0.0  # the sum since the last row that had one
        self._losses = 0
        self._began = time.perf_counter()
        self._scheduler: RateScheduler | None = None
        atexit.register(_finish, weakref.ref(self))

    @property
    def updates(self) -> int:
        """N, updates of the run: as `set_total_steps` was told last."""
        told: int = self._told["updates"]
        return told if self._scheduler is None else self._scheduler.total_steps

    @property
    def log_steps(self) -> list[int]:
        """Updates done at each log point, evenly spread; the last is N."""
        told: list[int] = self._told["log_steps"]
        return told if self._scheduler is None else self._scheduler.log_steps or told

    @property
    def points(self) -> int:
        """T, log points of the run."""
        return len(self.log_steps)

    def set_total_steps(self, steps: int) -> None:
        """Change the budget of a run under a LODE, which plans the rest anew.

        Args:
            steps: N updates in all, those done included: more than these.

        Raises:
            RunError: no `scheduler` yet, or it is the pipeline that asked for N updates.
            LODEError: an impossible number, or a schedule that is a fixed plan.
        """
        if self._asked:
            raise RunError(
                f"this run was asked for with {self.updates} updates, and is compared with others "
                "of as many: change training.updates in the settings instead"
            )
        if self._scheduler is None:
            raise RunError("call run.scheduler(optimizer) first: it is what plans the rest anew")
        self._scheduler.set_total_steps(steps)
        self._points_of = 0, frozenset()

    @property
    def lr(self) -> list[float]:
        """(N,) the rate of each update; under a LODE, those that the run begins with.

        Raises:
            RunError: the schedule is only known to `scheduler`.
        """
        if isinstance(self._schedule, str | Path):
            raise RunError(f"the rates of {self._schedule} are known to run.scheduler(optimizer)")
        return [float(rate) for rate in self._schedule]

    def scheduler(self, optimizer: Optimizer) -> RateScheduler:
        """The run's schedule for an optimizer, a torch LRScheduler; `step()` it once per update.

        Under a LODE `log` tells it how the training goes, and it may change the rates that follow.

        Args:
            optimizer: any; the rates it was built with only say its groups' ratios.
        """
        from components.adapters.rate_scheduler import Fixed, RateScheduler  # torch
        from components.adapters.torch_scheduler import LODEScheduler

        lode = dict(self._told.get("lode") or {})
        updates, points = self._told["updates"], self._told["points"]
        length: dict[str, Any] = {"total_steps": updates, "goal": self.metric_goal}
        if lode:
            folder = lode.pop("folder")
            made: RateScheduler = LODEScheduler.load(
                folder, optimizer, points=points, seed=self.seed, **length, **lode
            )
        elif isinstance(self._schedule, str | Path):
            made = LODEScheduler.load(
                self._schedule, optimizer, points=points, seed=self.seed, **length
            )
        else:
            made = RateScheduler(optimizer, Fixed(self._schedule), **length)
        self._scheduler = made
        return made

    def at_log_point(self, step: int) -> bool:
        """Whether a log point is reached by the update of index `step`: the time to evaluate."""
        return self._is_point(step + 1)

    def log(
        self,
        step: int,
        *,
        train_loss: Any = None,
        val_metric: Any = None,
        val_loss: Any = None,
        lr: float | None = None,
        epoch: float | None = None,
    ) -> None:
        """Say what is known after the update of index `step` (from 0), and after scheduler.step().

        Args:
            train_loss: of this update; its mean is written at log points. A tensor is added up
                where it lies, so that nothing waits for a GPU.
            val_metric, val_loss: best at log points (`at_log_point`).
            lr: only of a script that does not use `scheduler`: the rate of this update.
            epoch: passes over the data so far.

        Raises:
            RunError: a step that is none of the run's, or before one that was logged.
        """
        done = self._done(step)
        if self._row and self._row["step"] != done:
            self._write()
        if train_loss is not None:
            self._add(train_loss)
        given = {"val_metric": val_metric, "val_loss": val_loss, "lr": lr, "epoch": epoch}
        known = {name: float(value) for name, value in given.items() if value is not None}
        if not self._is_point(done) and not known.keys() & {"val_metric", "val_loss"}:
            return
        first = not self._row
        self._row |= {"step": done, "elapsed_s": time.perf_counter() - self._began, **known}
        if self._losses and (first or "train_loss" not in self._row):
            self._row["train_loss"] = float(self._loss) / self._losses
        self._row.setdefault("lr", self._rate(step))
        self._tell(train_loss is not None, known.get("val_metric"))

    def _is_point(self, done: int) -> bool:
        """Asked of the scheduler, whose budget a state that it was given may have changed."""
        updates, points = self._points_of
        if updates != self.updates:
            points = frozenset(self.log_steps)
            self._points_of = self.updates, points
        return done in points

    def _done(self, step: int) -> int:
        done = int(step) + 1
        if not 1 <= done <= self.updates:
            raise RunError(
                f"step {step} of a run of {self.updates} updates: the indices are 0 to "
                f"{self.updates - 1}; train for run.updates updates"
            )
        if self._row and done < self._row["step"]:
            raise RunError(f"step {step} is logged after step {self._row['step'] - 1}")
        return done

    def _add(self, loss: Any) -> None:
        detached = loss.detach() if hasattr(loss, "detach") else float(loss)
        self._loss, self._losses = self._loss + detached, self._losses + 1

    def _rate(self, step: int) -> float | None:
        """That the update of index `step` had."""
        if self._scheduler is not None:
            return self._scheduler.rate_of(step)
        return None

    def _tell(self, has_loss: bool, metric: float | None) -> None:
        """The scheduler decides on what is known at a log point."""
        done = self._row["step"]
        if self._scheduler is None or not self._is_point(done):
            return
        stepped = self._scheduler.last_epoch
        if stepped != done:
            raise RunError(
                f"step {done - 1} is logged when the scheduler has done {stepped} steps: call "
                "scheduler.step() once per update, before run.log"
            )
        loss = self._row.get("train_loss") if has_loss else None
        if loss is not None or metric is not None:
            self._scheduler.observe(train_loss=loss, val_metric=metric)

    def finish(self, test_metric: Any = None) -> None:
        """The end of the run; without it, that of the process.

        Args:
            test_metric: of the weights of the best validation point, if there is a test set; the
                comparison shows it. None: the last `val_metric` stands in.
        """
        if test_metric is not None:
            self._row = {"step": self.updates, **self._row, "test_metric": float(test_metric)}
        self._write()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        row, self._row = self._row, {}
        if not row:
            return
        if "train_loss" in row:
            self._loss, self._losses = 0.0, 0
        if self._writes:
            if self._file is None:
                self._file = self._opened()
            cells = [_cell(row.get(name)) for name in COLUMNS]
            csv.writer(self._file, lineterminator="\n").writerow(cells)
            self._file.flush()
            self._write_decisions()

    def _opened(self) -> TextIO:
        """A run that is resumed adds to what it had logged."""
        new = not self.history.exists() or not self.history.stat().st_size
        file = self.history.open("a", encoding="utf-8", newline="")
        if new:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)
        return file

    def _write_decisions(self) -> None:
        found = [] if self._scheduler is None else self._scheduler.decided
        if found:
            path = Path(self._told["decisions"])
            temporary = path.with_suffix(".tmp")
            temporary.write_text(json.dumps(found), encoding="utf-8")
            temporary.replace(path)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()


def _finish(run: weakref.ref[Run]) -> None:
    """What a script that just ends has not written yet."""
    found = run()
    if found is not None:
        found.finish()


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, int) or math.isfinite(value) else "nan"

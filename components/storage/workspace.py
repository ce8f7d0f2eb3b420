"""Where things lie: every path of the pipeline, relative to one root."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TRIALS = "trials"
EXPERIMENTS = Path(".dvc/tmp/exps")  # below it `dvc exp run --temp` and `--queue` copy the folder
MIN_FREE_BYTES = 200 * 2**20  # a demo's histories, reports and databases take well under this


class WorkspaceError(RuntimeError):
    """The workspace cannot be written to, or is in use; the message says where and what to do."""


@dataclass(frozen=True)
class Workspace:
    """A folder with params.yaml, and below it all that the pipeline reads and writes.

    Attributes:
        home: of a trial, the workspace that it is a trial in; it has the data sets, the registry,
            and what people have put into data/imported.
    """

    root: Path
    home: Path | None = None

    @classmethod
    def of(cls, params: Path) -> Workspace:
        """The workspace of a settings file: its folder; one that DVC has copied for an experiment
        is a trial in the folder that it was copied from."""
        root = params.resolve().parent
        for home in root.parents:
            if root.is_relative_to(home / EXPERIMENTS):
                return cls(root, home)
        return cls(root)

    @property
    def main(self) -> Workspace:
        """The workspace itself, or the one that this is a trial in."""
        return self if self.home is None else Workspace(self.home)

    @property
    def name(self) -> str:
        """Of a trial; empty for the workspace itself."""
        if self.home is None:
            return ""
        if self.root.is_relative_to(self.home / EXPERIMENTS):  # whose folder has a random name
            return os.environ.get("DVC_EXP_NAME", self.root.name)
        return self.root.name

    def trial(self, name: str) -> Workspace:
        """A workspace of its own below this one."""
        return Workspace(self.main.root / TRIALS / name, self.main.root)

    def siblings(self) -> list[Workspace]:
        """The workspace and all trials in it."""
        folders = sorted((self.main.root / TRIALS).glob("*/"))
        return [self.main, *(self.trial(folder.name) for folder in folders)]

    @property
    def data(self) -> Path:
        """Data sets as downloaded or generated."""
        return self.main.root / "data" / "datasets"

    def histories(self, task: str) -> Path:
        """The sweep's histories."""
        return self.root / "data" / "histories" / task

    def scheduled(self, task: str) -> Path:
        """Histories of the LODE-scheduled runs and of the baselines they are compared with."""
        return self.root / "data" / "scheduled" / task

    def baselines(self, task: str) -> Path:
        """Histories of the runs that tuned baselines beyond the sweep's schedules."""
        return self.root / "data" / "baselines" / task

    def law(self, task: str) -> Path:
        """The schedule that the Multi-Power Law calls best for the sweep."""
        return self.baselines(task) / "multi-power-law.json"

    def pilots(self, task: str) -> Path:
        """Histories of the runs that tried schedules before the LODE was fitted."""
        return self.root / "data" / "pilots" / task

    def pool(self, task: str) -> Path:
        """Histories of schedules that ways of choosing one are replayed on."""
        return self.root / "data" / "pool" / task

    def changed_budget(self, task: str) -> Path:
        """Histories of the runs whose budget was changed on the way."""
        return self.root / "data" / "changed-budget" / task

    def nightly(self, task: str) -> Path:
        """Histories of the runs in which challengers and champions were compared."""
        return self.root / "data" / "nightly" / task

    def imported(self, task: str) -> Path:
        """Histories from elsewhere, to learn from: whoever has some puts them here."""
        return self.main.root / "data" / "imported" / task

    def pilot_summary(self, task: str) -> Path:
        return self.reports(task) / "pilots.json"

    def lode(self, task: str) -> Path:
        return self.root / "models" / "lode" / task

    def policy(self, scheduler: str, task: str) -> Path:
        """What `lode learn` has learned."""
        return self.root / "models" / scheduler / task

    def policy_checkpoint(self, scheduler: str, task: str) -> Path:
        """What a killed `lode learn` goes on with."""
        return self.state / "learn" / scheduler / f"{task}.safetensors"

    def challenger(self, task: str) -> Path:
        """The LODE that the last night fitted."""
        return self.root / "models" / "challenger" / task

    def night(self, task: str) -> Path:
        """What an unfinished night goes on with."""
        return self.state / "retraining" / task

    def nightly_report(self, task: str) -> Path:
        return self.reports(task) / "nightly.json"

    def fit_checkpoint(self, task: str) -> Path:
        """Not beside the LODE: DVC empties a stage's outputs before it runs."""
        return self.state / "fit" / task

    def reports(self, task: str) -> Path:
        return self.root / "reports" / task

    def validation(self, task: str) -> Path:
        return self.reports(task) / "validation.json"

    def accepted(self, task: str) -> Path:
        """Of the validation, what later steps depend on."""
        return self.reports(task) / "accepted.json"

    def registration(self, task: str) -> Path:
        return self.reports(task) / "registration.json"

    def evaluation(self, task: str) -> Path:
        return self.reports(task) / "evaluation.json"

    def metrics(self, task: str) -> Path:
        """Of the evaluation, the few numbers that `dvc metrics` compares."""
        return self.reports(task) / "metrics.json"

    def page(self, task: str) -> Path:
        return self.reports(task) / "index.html"

    def run_table(self, task: str) -> Path:
        """One row per run of sweep and evaluation."""
        return self.reports(task) / "runs.parquet"

    def figures(self, task: str) -> Path:
        return self.reports(task) / "figures"

    def downloads(self, task: str) -> Path:
        """What readers of the page take away: schedules, figures as PNG, tables."""
        return self.reports(task) / "downloads"

    def overview(self) -> Path:
        """The page over all tasks."""
        return self.root / "reports" / "index.html"

    def data_docs(self, task: str) -> Path:
        """Great Expectations' pages."""
        return self.reports(task) / "data_docs"

    def database(self, uri: str) -> str:
        """A database's or server's address; a relative SQLite path is meant from the root."""
        prefix = "sqlite:///"
        if uri.startswith(prefix):
            return prefix + str(self.main.root / uri.removeprefix(prefix))
        return uri

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps artifacts when it writes to a local database."""
        return self.main.root / "mlartifacts"

    @property
    def state(self) -> Path:
        """Locks, stamps and the servers' own files; deleting it costs nothing but time."""
        return self.root / ".lode"

    def check_writable(self, needed: int = MIN_FREE_BYTES) -> None:
        """Fail before hours of work where the disk is full or a folder read-only.

        Raises:
            WorkspaceError: naming the folder and the remedy.
        """
        for folder in (self.root / "data", self.root / "models", self.root / "reports", self.state):
            probe = folder / f".write-test-{os.getpid()}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe.write_bytes(b"x")
                probe.unlink()
            except OSError as error:
                raise WorkspaceError(
                    f"{folder}: cannot be written to ({error.strerror}); "
                    "free space or change its owner, then start again"
                ) from None
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise WorkspaceError(
                f"{self.root}: only {free >> 20} MiB free, {needed >> 20} MiB needed; "
                "free space, then start again (nothing was started)"
            )


def git_revision(root: Path) -> str:
    """The commit checked out at `root`, `-dirty` with uncommitted changes; `none` without git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return described.stdout.strip()

"""What ablations found, typed, and the files they leave: JSON, CSV, and what reads them back.

Plain types only, so that `dataclasses.asdict` gives the JSON. Metrics are as histories have them
(of a loss the negative), times in seconds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from components.evaluation.metric import Metric
from components.evaluation.statistics import (
    PairedDifference,
    Summary,
    holm,
    paired_difference,
    summarize,
)
from components.evaluation.walltime import decision_shares, seconds_per_epoch
from components.experiments.ablations import Ablation
from components.storage.files import write_text
from components.storage.typed import DamagedError, check_seal, parsed, typed, write_sealed
from components.storage.workspace import WorkspaceError
from components.training.history import History

VERSION = 1
COLUMNS = (
    "ablation",
    "controller",
    "variant",
    "seed",
    "run_id",
    "status",
    "test_metric",
    "best_val_metric",
    "seconds_per_epoch",
    "decision_seconds",
)


@dataclass(frozen=True)
class VariantResult:
    """One row.

    Attributes:
        test_by_seed: test metric at the best validation point; None where the run diverged.
        test, validation: mean ± std over the completed runs, at the best validation point.
        difference: test metric minus the full setting's, paired by seed; None of that itself.
        adjusted: the difference's p-value, adjusted for the ablation's comparisons (Holm), of which
            the sweep's best schedule is none.
        seconds_per_epoch, decision_share: as `components.evaluation.walltime` has them.
        diverged: runs without a result. run_ids: by seed.
    """

    name: str
    full: bool
    test_by_seed: dict[str, float | None]
    test: Summary
    validation: Summary
    difference: PairedDifference | None
    adjusted: float | None
    seconds_per_epoch: Summary
    decision_share: Summary
    diverged: int
    run_ids: dict[str, str]


@dataclass(frozen=True)
class AblationResult:
    """One ablation of one controller.

    Attributes:
        name, title, paper, controller: as of `Ablation`.
        variants: the full setting first. reference: the sweep's best schedule on the same seeds.
        updates, points, seeds: of every run. swept: runs that the full setting's LODE learned from,
            without pilots.
        devices, versions: what the runs ran on and with.
    """

    version: int
    name: str
    title: str
    paper: str
    controller: str
    task: str
    metric: str
    percent: bool
    lower: bool
    variants: list[VariantResult]
    reference: VariantResult
    updates: int
    points: int
    seeds: list[int]
    swept: int
    devices: list[str]
    versions: dict[str, list[str]]

    @property
    def key(self) -> str:
        """`paper-horizon`: of its files."""
        return f"{self.controller}-{self.name}"

    @property
    def shown(self) -> Metric:
        """How the metric is called and written."""
        return Metric(self.metric, self.percent, self.lower)


Runs = Mapping[str, Sequence[History]]  # by variant


def result(
    ablation: Ablation, runs: Runs, reference: tuple[str, Sequence[History]], swept: int
) -> AblationResult:
    """What the runs of an ablation come to.

    Args:
        runs: by the variants' names. reference: what the sweep's best schedule is called, and its
            runs. swept: how many runs the full setting's LODE learned from.
    """
    named, best = reference
    every = [one for found in (*runs.values(), best) for one in found]
    beside = paired_difference(_tests(best), _tests(runs[ablation.variants[0].name]))
    metric, meta = Metric.of(every), every[0].meta
    return AblationResult(
        VERSION,
        ablation.name,
        ablation.title,
        ablation.paper,
        ablation.controller,
        task=str(meta["task"]),
        metric=metric.name,
        percent=metric.percent,
        lower=metric.lower,
        variants=_variants(runs),
        reference=replace(_row(named, best), difference=beside),
        updates=int(meta["updates"]),
        points=int(meta["points"]),
        seeds=sorted({int(one.meta["seed"]) for one in every}),
        swept=swept,
        devices=sorted({str(one.meta.get("device")) for one in every}),
        versions=_versions(every),
    )


def _variants(runs: Runs) -> list[VariantResult]:
    """A row each, the first of which is the full setting that the others are held against."""
    full, *others = runs
    start = _tests(runs[full])
    pairs = [paired_difference(_tests(runs[name]), start) for name in others]
    adjusted = holm([pair.p_value for pair in pairs])
    rows = zip(others, pairs, adjusted, strict=True)
    return [
        replace(_row(full, runs[full]), full=True),
        *(replace(_row(name, runs[name]), difference=d, adjusted=p) for name, d, p in rows),
    ]


def _row(name: str, runs: Sequence[History]) -> VariantResult:
    tests = _tests(runs)
    return VariantResult(
        name=name,
        full=False,
        test_by_seed=tests,
        test=summarize(tests.values()),
        validation=summarize(one.meta.get("best_val_metric") for one in runs if one.completed),
        difference=None,
        adjusted=None,
        seconds_per_epoch=seconds_per_epoch(runs),
        decision_share=decision_shares(runs),
        diverged=sum(not one.completed for one in runs),
        run_ids={str(one.meta["seed"]): one.run_id for one in runs},
    )


def _tests(runs: Sequence[History]) -> dict[str, float | None]:
    return {str(one.meta["seed"]): one.meta.get("test_metric") for one in runs}


def _versions(runs: Sequence[History]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for one in runs:
        for name, version in (one.meta.get("versions") or {}).items():
            found.setdefault(name, set()).add(str(version))
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def write_result(found: AblationResult, runs: Runs, folder: Path) -> None:
    """`<key>.csv`, a row per run, and `<key>.json`, all of it; the JSON last, so that its presence
    says that the rest is there."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for variant, own in runs.items():
        for one in own:
            about = {"ablation": found.name, "controller": found.controller, "variant": variant}
            table.writerow(one.meta | about)
    write_text(folder / f"{found.key}.csv", text.getvalue())
    write_sealed(folder / f"{found.key}.json", asdict(found))


def read_results(folder: Path) -> list[AblationResult]:
    """Every ablation in a folder, by name of its file.

    Raises:
        WorkspaceError: one is damaged or of another version; names the file and the remedy.
    """
    return [_read(path) for path in sorted(folder.glob("*.json"))]


def _read(path: Path) -> AblationResult:
    try:
        found = parsed(path.read_bytes())
        if found.get("version") != VERSION:
            raise DamagedError("written by another version")
        check_seal(found)
        made: AblationResult = typed(AblationResult, found)
        return made
    except DamagedError as error:
        raise WorkspaceError(f"{path}: {error}; remove it, and run `lode ablate` again") from None

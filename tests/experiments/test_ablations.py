"""Ablations: what is varied, what the runs come to, and that nothing finished is done again."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from components.cli.ablate import ablate_command
from components.evaluation.statistics import holm, paired_difference
from components.experiments.ablate import Base, ablate
from components.experiments.ablation_page import answer, page, table
from components.experiments.ablation_results import (
    AblationResult,
    read_results,
    result,
    write_result,
)
from components.experiments.ablations import NAMES, ablations
from components.experiments.command import ExperimentError
from components.runs.job import Job
from components.settings import SettingsError, load
from components.storage.workspace import WorkspaceError
from components.training.history import History
from tests.evaluation import synthetic
from tests.tiny import ROOT, TASK, in_this_process, tiny, write_params


def variants(name: str, controller: str, **changes: Any) -> list[str]:
    (one,) = ablations(tiny(**changes), [name], [controller])
    assert [variant.full for variant in one.variants].index(True) == 0
    assert sum(variant.full for variant in one.variants) == 1
    return [variant.name for variant in one.variants]


def test_the_papers_tables_are_all_there() -> None:
    paper = load(ROOT / "params.yaml")
    found = {one.key: one for one in ablations(paper)}
    assert list(found) == [
        *(f"default-{name}" for name in ("ensemble", "window", "caution", "sweep", "walltime")),
        *(f"paper-{name}" for name in ("ensemble", "window", "horizon", "sweep", "walltime")),
    ]
    assert {one.paper for one in found.values()} == {
        "Table 3",
        "Table 4",
        "Table 5",
        "Figure 6",
        "",
    }
    table3 = [v.controller for v in found["paper-ensemble"].variants]
    assert {(c["n"], c["sigma"]) for c in table3} == {
        (n, sigma) for n in (10, 30, 60) for sigma in (0.15, 0.3)
    }
    table4 = {v.name: v.learned for v in found["paper-sweep"].variants}
    assert table4["10 seeds"] == {"sweep.seeds": list(range(10))}
    assert table4["1 seed"] == {"sweep.seeds": [0], "lode.fit.held_out_seeds": 0}
    assert table4["only OneCycle"] == {"sweep.schedulers": ["onecycle"]}
    assert "onecycle" not in table4["no OneCycle"]["sweep.schedulers"]
    assert next(v.controller["horizon"] for v in found["paper-horizon"].variants) is None
    assert {v.pilots for v in found["default-caution"].variants} == {True}
    assert not any(v.pilots for one in ablations(paper, [], ["paper"]) for v in one.variants)


def test_what_is_set_is_the_full_setting_also_where_no_table_has_it() -> None:
    assert variants("window", "paper")[0] == "μ = 5 %"
    assert variants("window", "paper", lode__scheduler__mu=0.3)[0] == "as set"
    assert variants("horizon", "paper", lode__scheduler__horizon=0.1)[0] == "Δt = 10 % of the run"


def test_a_sweep_that_leaves_nothing_to_vary_has_no_ablation() -> None:
    alone = {"sweep__seeds": [0], "lode__fit__held_out_seeds": 0, "sweep__schedulers": ["cosine"]}
    names = variants("sweep", "paper", **alone, baselines__schedulers=[])
    assert names == ["1 seed, 1 scheduler", "2 seeds"]


@given(
    swept=st.sets(st.integers(0, 12), min_size=2, max_size=6),
    fresh=st.sets(st.integers(0, 30), min_size=2, max_size=8),
)
def test_twice_the_seeds_are_none_that_is_evaluated_on(swept: set[int], fresh: set[int]) -> None:
    fresh -= swept
    if len(fresh) < 2:
        return
    settings = tiny(sweep__seeds=sorted(swept), evaluation__seeds=sorted(fresh))
    (one,) = ablations(settings, ["sweep"], ["paper"])
    doubled = f"{2 * len(swept)} seeds"
    twice = next(v.learned["sweep.seeds"] for v in one.variants if v.name == doubled)
    assert len(set(twice)) == 2 * len(swept) and not fresh & set(twice)
    assert twice[: len(swept)] == sorted(swept)


@pytest.mark.parametrize("one", ablations(load(ROOT / "params.yaml")), ids=lambda one: one.key)
def test_every_variant_is_one_that_can_be_set(one: Any) -> None:
    for variant in one.variants:
        controller = {
            f"lode.scheduler.{key}": value
            for key, value in variant.controller.items()
            if key != "controller"
        }
        load(ROOT / "params.yaml", {**variant.learned, **controller})


def made(tests: dict[str, list[float | None]], name: str = "horizon") -> AblationResult:
    """A result of variants with these test metrics by seed; None: diverged."""
    (one,) = ablations(tiny(), [name], ["paper"])
    chosen = tuple(replace(one.variants[0], name=key) for key in tests)
    runs = {key: [run(seed, test) for seed, test in enumerate(own)] for key, own in tests.items()}
    best = [run(seed, 0.9) for seed in range(len(next(iter(tests.values()))))]
    return result(replace(one, variants=chosen), runs, ("OneCycle 0.05", best), 100)


def run(seed: int, test: float | None) -> History:
    found = synthetic.history("lode", None, seed, diverged=test is None)
    found.meta |= {"test_metric": test, "decision_seconds": 0.01}
    return found


def test_differences_are_paired_to_the_full_setting_and_adjusted_for_their_number() -> None:
    full = [0.90, 0.91, 0.93, 0.92]
    near = [0.91, 0.91, 0.92, 0.93]
    worse = [0.80, 0.80, 0.83, 0.81]
    found = made({"full": full, "near": near, "worse": worse})
    pairs = [
        paired_difference(dict(enumerate(own)), dict(enumerate(full))) for own in (near, worse)
    ]
    rows = {row.name: row for row in found.variants}
    assert rows["full"].difference is None and rows["full"].full
    assert [rows[name].difference for name in ("near", "worse")] == pairs
    assert [row.adjusted for row in found.variants[1:]] == holm([one.p_value for one in pairs])
    assert "worse, −10" in answer(found) and "near" not in answer(found)
    assert answer(made({"full": full, "near": near})).startswith("None of 1 variant can be told")


def test_variants_that_changed_nothing_are_said_to_have() -> None:
    same = answer(made({"full": [0.9, 0.91], "one": [0.9, 0.91], "two": [0.9, 0.91]}))
    assert same == "Every variant has the full setting's results, on every seed."


def test_a_run_that_diverged_is_counted_and_its_seed_left_out() -> None:
    found = made({"full": [0.9, 0.91, 0.92], "lost": [0.8, None, 0.81]})
    (lost,) = found.variants[1:]
    assert (lost.diverged, lost.test.n) == (1, 2)
    assert lost.difference is not None and lost.difference.n == 2
    assert "2 (+ 1 diverged)" in table(found).markdown()


def test_one_seed_has_no_interval_and_the_page_says_so() -> None:
    found = made({"full": [0.9], "other": [0.8]})
    assert "One seed" in answer(found) and " – " in table(found).markdown()


def test_names_of_markup_stay_what_they_are() -> None:
    assert r"a \| b" in page([made({"full": [0.9, 0.91], "a | b": [0.8, 0.82]})])


# ------------------------------------------------------------- run, on a finished workspace


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """LODE and judge one after the other: to start a process takes longer than fits so small."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


def base_of(folder: Path) -> Base:
    return Base.of(folder / "params.yaml", {})


def files(folder: Path) -> dict[str, int]:
    """When every history and LODE below a folder was written."""
    found = [*folder.rglob("*.parquet"), *folder.rglob("*.safetensors")]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


class Counting:
    """As `in_this_process`, and how many runs were not there."""

    def __init__(self) -> None:
        self.trained = 0

    def __call__(self, jobs: Iterable[Job], **options: Any) -> list[History]:
        jobs = list(jobs)
        self.trained += sum(not job.path.exists() for job in jobs)
        return in_this_process(jobs, **options)


def ablated(folder: Path, names: list[str], counting: Counting) -> list[AblationResult]:
    base = base_of(folder)
    return list(ablate(base, ablations(base.settings, names), [100, 101], run_all=counting))


@pytest.mark.usefixtures("one_core")
def test_ablations_share_what_they_have_in_common_and_do_nothing_twice(finished_copy: Path) -> None:
    first = Counting()
    found = ablated(finished_copy, ["horizon", "caution", "window"], first)
    assert [one.key for one in found] == [
        "default-window",
        "default-caution",
        "paper-window",
        "paper-horizon",
    ]
    # Two seeds of: our full setting, two other μ, three other κ; the paper's, two μ and four Δt;
    # the sweep's best. Sweep and pilots are the pipeline's.
    assert first.trained == 2 * (6 + 7 + 1)
    before, again = files(finished_copy), Counting()
    assert ablated(finished_copy, ["horizon", "caution", "window"], again) == found
    assert again.trained == 0 and files(finished_copy) == before

    folder = finished_copy / "reports" / TASK / "ablations"
    assert read_results(folder) == sorted(found, key=lambda one: one.key)
    for one in found:
        rows = list(csv.DictReader((folder / f"{one.key}.csv").open(encoding="utf-8")))
        assert len(rows) == 2 * len(one.variants)
        assert {row["run_id"] for row in rows} == {
            run_id for variant in one.variants for run_id in variant.run_ids.values()
        }
        text = (folder / "index.md").read_text(encoding="utf-8")
        for picture in (f"{one.key}.svg", f"{one.key}-runs.svg"):
            assert (folder / picture).exists() and f"({picture})" in text
        shares = [variant.decision_share.mean for variant in one.variants]
        assert all(share and 0 < share < 1 for share in shares)


@pytest.mark.usefixtures("one_core")
def test_the_sweeps_ablation_fits_a_lode_for_each_of_its_sweeps(finished_copy: Path) -> None:
    counting = Counting()
    base = base_of(finished_copy)
    (one,) = ablations(base.settings, ["sweep"], ["paper"])
    (found,) = ablate(base, [one], [100, 101], run_all=counting)
    assert [row.name for row in found.variants] == [
        "2 seeds, 2 schedulers",
        "1 seed",
        "4 seeds",
        "no OneCycle",
        "only OneCycle",
    ]
    compared, swept = 2 * (5 + 1), 8  # those of two more seeds, of which pilots may have done some
    assert compared < counting.trained <= compared + swept
    assert len({tuple(row.run_ids.values()) for row in found.variants}) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from components.experiments.ablate import Base, ablate
from components.experiments.ablations import ablations
from components.runs.execute import execute

trained = 0

def dies(jobs, **options):
    global trained
    found = []
    for job in jobs:
        trained += not job.path.exists()
        if trained > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        found.append(execute(job))
    return found

base = Base.of(Path(sys.argv[1]), {})
list(ablate(base, ablations(base.settings, ["horizon"]), [100, 101], run_all=dies))
"""


@pytest.mark.usefixtures("one_core")
def test_after_a_kill_no_finished_run_is_repeated(finished_copy: Path) -> None:
    scheduled = finished_copy / "data" / "scheduled" / TASK
    there = set(files(scheduled))
    command = [sys.executable, "-c", KILLED, str(finished_copy / "params.yaml")]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before, counting = files(finished_copy), Counting()
    assert len(set(files(scheduled)) - there) == 3
    (found,) = ablated(finished_copy, ["horizon"], counting)
    assert counting.trained == 2 * (len(found.variants) + 1) - 3
    after = files(finished_copy)
    assert {name: after[name] for name in before} == before


def test_a_damaged_result_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_result(made({"full": [0.9, 0.91], "other": [0.8, 0.82]}), {}, tmp_path)
    assert len(read_results(tmp_path)) == 1
    path = tmp_path / "paper-horizon.json"
    path.write_text(path.read_text().replace('"paper"', '"poper"'), encoding="utf-8")
    with pytest.raises(WorkspaceError, match=r"horizon\.json: .*remove it, and run `lode ablate`"):
        read_results(path.parent)
    path.write_text(json.dumps({"version": 0}), encoding="utf-8")
    with pytest.raises(WorkspaceError, match="another version"):
        read_results(path.parent)


# ------------------------------------------------------------- the command


def asked(folder: Path, *arguments: str) -> Any:
    params = write_params(folder)
    return CliRunner().invoke(ablate_command, ["--params", str(params), *arguments])


def test_the_help_names_every_ablation() -> None:
    text = CliRunner().invoke(ablate_command, ["--help"]).output
    assert all(f"  {name}" in text for name in NAMES)


def test_what_cannot_be_ablated_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    assert "evaluation.seeds has 2" in str(asked(tmp_path, "--seeds", "3").exception)
    assert "is not one of 'ensemble'" in asked(tmp_path, "--only", "sigma").output
    wrong = asked(tmp_path, "--seeds", "2", "--set", "lode.scheduler.mu=5").exception
    assert isinstance(wrong, SettingsError) and "5 of 100 log points is 0.05" in str(wrong)
    imported = "tasks={old: {imported: true, metric: {name: loss, goal: minimize}}}"
    options = ["--set", imported, "--set", "task=old", "--set", "baselines.schedulers=[]"]
    refused = asked(tmp_path, "--seeds", "2", *options).exception
    assert isinstance(refused, ExperimentError) and "histories only" in str(refused)
    assert not (tmp_path / "data").exists()

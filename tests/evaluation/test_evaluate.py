import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from pydantic import TypeAdapter

from components.evaluation.errors import EvaluationError
from components.evaluation.evaluate import Made, evaluate, write_evaluation
from components.evaluation.figures import FIGURES, figure_path
from components.evaluation.key_metrics import key_metrics
from components.evaluation.order import ranked
from components.evaluation.page import write_page
from components.evaluation.result_tables import result_table
from components.evaluation.results import (
    SCHEMA_VERSION,
    Evaluation,
    FitSummary,
    PilotResult,
    Quarantined,
    TrajectoryEntry,
    ValidationSummary,
)
from components.evaluation.shared import named, together
from components.storage.typed import SEAL, read_sealed, write_sealed

SEEDS = range(100, 106)
MADE = Made("lode evaluate", "2026-11-28 09:12", "381cd83", {"sweep.seeds": "[0, 1]"})


def written(given, folder):
    """Evaluate and write everything to a folder."""
    found = evaluate(**given)
    write_evaluation(found, given["sweep"], given["runs"], given["trajectories"], folder)
    return found


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def replaced(runs, by):
    """The runs, with others in the place of those of their configuration and seed."""
    new = {(h.configuration, h.meta["seed"]): h for h in by}
    return [new.pop((h.configuration, h.meta["seed"]), h) for h in runs]


def test_compares_every_scheduler(given):
    found = evaluate(**given, made=MADE)
    assert found.schema == SCHEMA_VERSION
    assert found.best_baseline == "onecycle"
    assert list(found.schedulers) == ["constant", "cosine", "exp-decay", "onecycle", "lode"]
    assert all(entry.scheduler == row for row, entry in found.schedulers.items())
    lode = found.schedulers["lode"]
    assert list(lode.test_by_seed) == [str(seed) for seed in SEEDS]
    assert lode.test.n == 6
    pair = found.comparisons["lode"]["onecycle"]
    assert pair.mean == pytest.approx(lode.test.mean - found.schedulers["onecycle"].test.mean)
    assert pair.low < pair.mean < pair.high and 0 < pair.p_value < 0.05
    raw = [other.p_value for other in found.comparisons["lode"].values()]
    assert pair.p_value <= pair.p_adjusted < 0.05 and len(raw) == 4
    assert min(other.p_adjusted for other in found.comparisons["lode"].values()) == 4 * min(raw)
    assert (found.provenance.command, found.provenance.date) == ("lode evaluate", MADE.date)
    assert (found.provenance.commit, found.provenance.settings) == (MADE.commit, MADE.settings)
    assert found.provenance.devices == ["Synthetic CPU"]
    assert found.setup.seeds == list(SEEDS)
    assert [c.peak_lr for c in found.sweep.configurations if c.chosen] == [0.01, 0.01, 0.01, 0.05]


def test_writes_everything(given, tmp_path):
    found = written(given, tmp_path)
    read = read_sealed(tmp_path / "evaluation.json")
    assert read == json.loads(json.dumps(asdict(found))) | {SEAL: read[SEAL]}
    drawn = sorted((tmp_path / "figures").glob("*.svg"))
    assert drawn == [figure_path(tmp_path / "figures", entry.name) for entry in FIGURES]
    taken = {path.name for path in (tmp_path / "downloads").iterdir()}
    assert {"results.csv", "results.tex", "comparisons.csv", "errors.tex"} <= taken
    assert {path.with_suffix(".png").name for path in drawn} <= taken
    assert (tmp_path / "index.html").exists()
    assert json.loads((tmp_path / "metrics.json").read_text()) == key_metrics(found)


def test_the_key_metrics_are_few_and_flat(given):
    found = evaluate(**{**given, "fit": FitSummary(best_error=0.25)})
    numbers, pair = key_metrics(found), found.comparisons["lode"]["onecycle"]
    assert len(numbers) <= 10 and all(isinstance(n, int | float) for n in numbers.values())
    assert numbers["gain"] == pair.mean and numbers["gain_low"] == pair.low
    assert numbers["gain"] == pytest.approx(numbers["lode"] - numbers["baseline"])
    bare = key_metrics(evaluate(**{**given, "fit": None, "pilots": None}))
    assert numbers.keys() - bare.keys() == {"fit_error", "pilot_gain"}, "what is not there"


@pytest.mark.parametrize("which", ["given", "given_finer"])
def test_what_was_written_is_read_back_equal(which, request, tmp_path):
    given = request.getfixturevalue(which)
    bad = [Quarantined("constant 0.1 seed 2 (bad1)", ["did not complete"])]
    found = evaluate(**{**given, "validation": ValidationSummary(35, bad, 1)})
    write_sealed(tmp_path / "evaluation.json", asdict(found))
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert TypeAdapter(Evaluation).validate_json(text) == found


def test_the_least_there_can_be_is_read_back_equal(given, tmp_path):
    bare = {**given, "fit": None, "pilots": None, "trajectories": None}
    found = evaluate(**bare)
    write_sealed(tmp_path / "evaluation.json", asdict(found))
    assert found.validation is found.pilots is found.trajectories is found.lode.fit is None
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert TypeAdapter(Evaluation).validate_json(text) == found


@pytest.mark.parametrize("nothing", [{}, {"runs": 0, "run_ids": [], "plan": [], "adopted": False}])
def test_no_pilots_and_an_older_fit_are_read(nothing):
    assert TypeAdapter(PilotResult).validate_python(nothing) == PilotResult()
    older = TypeAdapter(FitSummary).validate_python({"settings": {"held_out_seeds": 1}})
    assert older.histories is None and older.table_a1 == {} and older.rank.all is None


def test_every_scheduler_has_its_price(synthetic, given):
    """Tuned beside the sweep: at its best rate, and with what its policy took to learn."""
    levels = {0.01: 0.7, 0.05: 0.8}
    own = [
        synthetic.history("linear", peak, seed, level=level)
        for peak, level in levels.items()
        for seed in range(3)
    ]
    fresh = [synthetic.history("linear", 0.05, seed, level=0.8) for seed in SEEDS]
    price = {"learning_updates": 3 * fresh[0].meta["updates"], "run_factor": 8.0, "note": "x"}
    fresh = [replace(h, meta=h.meta | {"price": price}) for h in fresh]
    chosen = {**given["chosen"], "linear": ("linear", 0.05)}
    found = evaluate(**{**given, "tuned": own, "chosen": chosen, "runs": [*given["runs"], *fresh]})
    entries = found.schedulers
    assert entries["linear"].peak_lr == 0.05
    assert asdict(entries["linear"].price) == {
        "search": 6,
        "learning": 3.0,
        "factor": 8.0,
        "note": "x",
    }
    assert entries["onecycle"].price.search == 9
    assert entries["lode"].price.search == 36 + synthetic.pilots().runs
    assert found.sweep.runs == 36, "what tunes a baseline is not of the sweep"
    row = next(row for row in result_table(found).records() if row["Scheduler"] == "Linear")
    assert row["Cost (trainings)"] == "6 + 3 learning, 8 a run"


def test_without_pilots_the_lode_costs_the_sweep(given):
    for none in (None, PilotResult()):
        found = evaluate(**{**given, "pilots": none})
        assert found.pilots is None and found.schedulers["lode"].price.search == 36


def test_a_tuned_baseline_may_be_the_best(synthetic, given):
    own = [synthetic.history("linear", 0.05, seed, level=0.97) for seed in range(3)]
    fresh = [synthetic.history("linear", 0.05, seed, level=0.9) for seed in SEEDS]
    chosen = {**given["chosen"], "linear": ("linear", 0.05)}
    found = evaluate(**{**given, "tuned": own, "chosen": chosen, "runs": [*given["runs"], *fresh]})
    assert found.best_baseline == "linear"


def test_a_finer_search_has_runs_and_a_price_of_its_own(synthetic, given_finer):
    found = evaluate(**given_finer)
    finer = found.schedulers["finer-search"]
    assert list(found.schedulers)[-1] == "lode"
    assert (finer.scheduler, finer.peak_lr) == ("onecycle", 0.07)
    assert finer.price.search == 36 + len(synthetic.finer())
    assert finer.test.mean > found.schedulers["onecycle"].test.mean
    assert found.schedulers["onecycle"].peak_lr == 0.05
    assert found.schedulers["onecycle"].price.search == 9
    assert found.best_baseline == "onecycle", "the finer search is an opponent of its own"
    assert (
        found.comparisons["lode"]["finer-search"].mean < found.comparisons["lode"]["onecycle"].mean
    )
    assert [c.peak_lr for c in found.sweep.configurations if c.chosen] == [0.01, 0.01, 0.01, 0.05]
    assert not any("finer search" in note for note in found.notes)


def test_a_finer_search_that_chose_the_sweeps_best_shares_its_runs(synthetic, given, tmp_path):
    chosen = {**given["chosen"], "finer-search": ("onecycle", 0.05)}
    given = {**given, "chosen": chosen, "finer": synthetic.finer(level=0.9)}
    found = written(given, tmp_path)
    finer, same = found.schedulers["finer-search"], found.schedulers["onecycle"]
    assert finer.test_by_seed == same.test_by_seed
    order = ranked(found)
    assert order.index("onecycle") < order.index("finer-search"), "what it found before it"
    assert named(together(found)["onecycle"]) == "OneCycle = Finer search"
    assert finer.price.search == 36 + 9 and same.price.search == 9
    assert found.comparisons["finer-search"]["onecycle"].p_value == 1.0
    notes = [note for note in found.notes if "finer search" in note]
    assert len(notes) == 1 and "nothing better than OneCycle 0.05 of the sweep" in notes[0]
    table = pd.read_parquet(tmp_path / "runs.parquet")
    assert table["run_id"].is_unique and len(table) == 36 + 30


def test_runs_that_two_rows_share_are_spoken_of_once(synthetic, given):
    broken = synthetic.history("onecycle", 0.05, 101, diverged=True)
    chosen = {**given["chosen"], "finer-search": ("onecycle", 0.05)}
    found = evaluate(**{**given, "chosen": chosen, "runs": replaced(given["runs"], [broken])})
    assert found.schedulers["finer-search"].diverged == 1
    assert sum("diverged" in note for note in found.notes) == 1


def test_runs_table_has_a_row_per_run(finished):
    table = pd.read_parquet(finished[1] / "runs.parquet")
    assert table["stage"].value_counts().to_dict() == {"sweep": 36, "evaluation": 30}
    assert table["run_id"].is_unique
    assert table[table["scheduler"] == "lode"]["peak_lr"].isna().all()
    assert table["lambda_max"].dtype == "float64"


def test_same_input_same_bytes(given, tmp_path):
    written(given, tmp_path / "once")
    written({**given, "runs": given["runs"][::-1]}, tmp_path / "again")
    assert files(tmp_path / "once") == files(tmp_path / "again")


def test_diverged_runs_are_reported(synthetic, given):
    broken = synthetic.history("cosine", 0.01, 101, diverged=True)
    found = evaluate(**{**given, "runs": replaced(given["runs"], [broken])})
    assert found.schedulers["cosine"].test.n == 5
    assert any("1 of 6 Cosine runs diverged or have" in note for note in found.notes)
    assert found.comparisons["lode"]["cosine"].n == 5


def test_runs_that_collapse_after_their_best_point_are_pointed_out(synthetic, given):
    fallen = [synthetic.history("lode", None, s, digest="0123456789abcdef") for s in SEEDS]
    for run in fallen:
        run.points.loc[30:, "val_metric"] = 0.2
    found = evaluate(**{**given, "runs": replaced(given["runs"], fallen)})
    assert any("LODE runs end at 20.0 %" in note for note in found.notes)
    assert not any("Cosine" in note for note in found.notes)


def kept(synthetic, theirs):
    """LODE runs that end as others do."""
    runs = []
    for other in theirs:
        run = synthetic.history("lode", None, other.meta["seed"], digest="0123456789abcdef")
        for column in ("train_loss", "val_metric", "lr"):
            run.points[column] = other.points[column].to_numpy()
        for key in ("best_val_metric", "test_metric"):
            run.meta[key] = other.meta[key]
        runs.append(run)
    return runs


def test_a_lode_that_kept_the_sweeps_schedule_is_pointed_out(synthetic, given):
    assert not any("ends as" in note for note in evaluate(**given).notes)
    theirs = [h for h in given["runs"] if h.configuration == ("onecycle", 0.05)]
    own = kept(synthetic, theirs)
    note = evaluate(**{**given, "runs": replaced(given["runs"], own)}).notes[0]
    assert "Every LODE run ends as OneCycle's (peak lr 0.05)" in note
    assert "kept the best schedule of its sweep" in note


def test_a_lode_that_ends_as_the_finer_search_is_pointed_out(synthetic, given_finer):
    theirs = [h for h in given_finer["runs"] if h.configuration == ("onecycle", 0.07)]
    own = kept(synthetic, theirs)
    notes = evaluate(**{**given_finer, "runs": replaced(given_finer["runs"], own)}).notes
    assert "ends as the finer search's OneCycle (peak lr 0.07) of that seed" in notes[0]
    assert not any("of its sweep" in note for note in notes)


def test_runs_of_former_settings_are_left_out(synthetic, given):
    old = [synthetic.history("cosine", 0.05, seed) for seed in SEEDS]
    old += [synthetic.history("onecycle", 0.05, seed) for seed in (7, 8)]
    assert evaluate(**{**given, "runs": [*old, *given["runs"]]}) == evaluate(**given)


def test_two_lodes_among_the_runs(synthetic, given):
    other = [synthetic.history("lode", None, seed, digest="f" * 16, level=0.5) for seed in SEEDS]
    with pytest.raises(EvaluationError, match=r"lode seed 10. is there twice .*lode train"):
        evaluate(**{**given, "runs": [*given["runs"], *other]})
    half = replaced(given["runs"], other[:3])
    with pytest.raises(EvaluationError, match=r"by 2 different LODEs.*lode train"):
        evaluate(**{**given, "runs": half})


def test_schedulers_that_were_not_trained_are_named(given):
    there = [h for h in given["runs"] if h.meta["scheduler"] not in ("lode", "onecycle")]
    with pytest.raises(EvaluationError) as error:
        evaluate(**{**given, "runs": there})
    message = str(error.value)
    assert "onecycle 0.05 seeds 100, 101, 102, 103, 104, 105;" in message
    assert "lode seeds 100, 101, 102, 103, 104, 105" in message
    assert "`lode train`" in message


def test_schedulers_with_different_seeds_pair_what_pairs(given):
    absent = {("onecycle", 100), ("onecycle", 101), ("lode", 105)}
    there = [h for h in given["runs"] if (h.meta["scheduler"], h.meta["seed"]) not in absent]
    found = evaluate(**{**given, "runs": there})
    assert found.comparisons["lode"]["onecycle"].n == 3
    assert found.comparisons["lode"]["cosine"].n == 5
    notes = " ".join(found.notes)
    assert "OneCycle was trained on 4 of the 6 seeds" in notes
    assert "LODE was trained on 5 of the 6 seeds" in notes and "Cosine was" not in notes


def test_a_missing_run_of_the_finer_search_is_named(given_finer):
    runs = [h for h in given_finer["runs"] if h.configuration != ("onecycle", 0.07)]
    with pytest.raises(EvaluationError, match=r"lacks onecycle 0\.07 seeds 100, .* 105; run"):
        evaluate(**{**given_finer, "runs": runs})


def test_a_baseline_trained_at_another_peak_is_explained(synthetic, given):
    runs = [h for h in given["runs"] if h.meta["scheduler"] != "cosine"]
    runs += [synthetic.history("cosine", 0.05, seed) for seed in SEEDS]
    with pytest.raises(EvaluationError, match=r"trained at 0\.05, but 0\.01 was chosen"):
        evaluate(**{**given, "runs": runs})


def test_no_runs_and_no_sweep(given):
    with pytest.raises(EvaluationError, match="no runs on the fresh seeds; run `lode train`"):
        evaluate(**{**given, "runs": []})
    with pytest.raises(EvaluationError, match="no run; run `lode sweep` first"):
        evaluate(**{**given, "sweep": []})


def test_a_best_configuration_that_nobody_trained(given):
    chosen = {row: one for row, one in given["chosen"].items() if row != "onecycle"}
    with pytest.raises(EvaluationError, match=r"onecycle 0\.05, is not among those compared"):
        evaluate(**{**given, "chosen": chosen})


@pytest.mark.parametrize("which", ["sweep", "runs", "tuned", "finer"])
def test_histories_of_another_task(synthetic, given, which):
    alien = synthetic.history("cosine", 0.01, 0, task="fashion-mnist-cnn")
    with pytest.raises(EvaluationError, match="is of fashion-mnist-cnn, expected mnist1d-cnn"):
        evaluate(**{**given, which: [*given.get(which, []), alien]})


@pytest.mark.parametrize("key, value", [("updates", 200), ("points", 20)])
def test_runs_of_different_lengths(given, key, value):
    first, *others = given["sweep"]
    short = replace(first, meta=first.meta | {key: value})
    with pytest.raises(EvaluationError, match=r"different lengths.*400 updates and 40 points"):
        evaluate(**{**given, "sweep": [short, *others]})


def test_the_run_that_is_predicted_is_named(given, finished):
    drawn = finished[0].trajectories
    run = given["trajectories"].history.run_id
    assert drawn == TrajectoryEntry(run, "onecycle", 0.05, 2, True, {"5": 2, "50": 20})
    page = (finished[1] / "index.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "OneCycle (peak lr 0.05), seed 2, held out of the fit" in page


def test_without_weights_nothing_is_predicted_and_that_is_said(given, tmp_path):
    found = written({**given, "trajectories": None}, tmp_path)
    assert found.trajectories is None
    assert any("No prediction is drawn" in note for note in found.notes)
    assert not list((tmp_path / "figures").glob("trajectories*"))


def test_a_fit_without_summary_is_said(given):
    found = evaluate(**{**given, "fit": None})
    assert found.lode.fit is None
    assert any("no `fit` summary" in note for note in found.notes)


def test_validation_summary_is_taken_over(given, tmp_path):
    bad = [Quarantined("constant 0.1 seed 2 (bad1)", ["did not complete"])]
    summary = ValidationSummary(accepted=35, quarantined=bad, outside=2)
    found = evaluate(**{**given, "validation": summary})
    assert asdict(found.validation) == {
        "accepted": 35,
        "quarantined": [{"run": "constant 0.1 seed 2 (bad1)", "reasons": ["did not complete"]}],
        "outside": 2,
    }
    page = write_page(found, tmp_path).read_text()
    assert "constant 0.1 seed 2 (bad1)" in page and "did not complete" in page
    assert "2 runs in the folder belong to no declared sweep" in page

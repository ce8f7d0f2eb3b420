import json
from dataclasses import replace

import pandas as pd
import pytest

from components.evaluation.errors import EvaluationError
from components.evaluation.evaluate import SCHEMA_VERSION, evaluate
from components.evaluation.report import table_rows
from components.training.history import HistoryError, history_path, read_histories

SEEDS = range(100, 106)


def run(synthetic, folders, **options):
    return evaluate(synthetic.TASK, **folders, **{"seeds": SEEDS, **options})


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_writes_everything_and_returns_what_it_wrote(synthetic, folders):
    evaluation = run(synthetic, folders, command="lode evaluate")
    report = folders["report_dir"]
    assert json.loads((report / "evaluation.json").read_text()) == evaluation
    assert evaluation["schema"] == SCHEMA_VERSION
    assert evaluation["best_baseline"] == "onecycle"
    assert list(evaluation["schedulers"]) == ["constant", "cosine", "exp-decay", "onecycle", "lode"]
    lode = evaluation["schedulers"]["lode"]
    assert list(lode["test_by_seed"]) == [str(seed) for seed in SEEDS]
    assert lode["test"]["n"] == 6 and lode["relative_cost"] > 1.1
    pair = evaluation["comparisons"]["lode"]["onecycle"]
    assert pair["mean"] == pytest.approx(
        lode["test"]["mean"] - evaluation["schedulers"]["onecycle"]["test"]["mean"]
    )
    assert pair["low"] < pair["mean"] < pair["high"] and 0 < pair["p_value"] < 0.05
    assert evaluation["provenance"]["command"] == "lode evaluate"
    assert evaluation["provenance"]["devices"] == ["Synthetic CPU"]
    names = {path.stem for path in (report / "figures").glob("*.svg")}
    assert names == {
        "learning_rates",
        "train_loss",
        "val_metric",
        "test",
        "sharpness",
        "sweep",
        "plans",
        "expectations",
        "trajectories_5",
        "trajectories_50",
    }
    assert (report / "index.html").exists()


def test_every_scheduler_has_its_price(synthetic, folders):
    """Tuned beside the sweep: at its best rate, and with what its policy took to learn."""
    levels = {0.01: 0.7, 0.05: 0.8}
    own = [
        synthetic.history("linear", peak, seed, level=level)
        for peak, level in levels.items()
        for seed in range(3)
    ]
    baselines = synthetic.write(own, folders["sweep_dir"].with_name("baselines"))
    fresh = [synthetic.history("linear", 0.05, seed, level=0.8) for seed in SEEDS]
    price = {"learning_updates": 3 * fresh[0].meta["updates"], "run_factor": 8.0, "note": "x"}
    synthetic.write(
        [replace(h, meta=h.meta | {"price": price}) for h in fresh], folders["scheduled_dir"]
    )
    ids = [h.run_id for h in own]
    evaluation = run(synthetic, folders, baseline_dir=baselines, baseline_runs=ids)
    found = evaluation["schedulers"]
    assert found["linear"]["peak_lr"] == 0.05
    assert found["linear"]["price"] == {"search": 6, "learning": 3.0, "factor": 8.0, "note": "x"}
    assert found["onecycle"]["price"]["search"] == 9
    assert found["lode"]["price"]["search"] == 36 + synthetic.pilots()["runs"]
    assert evaluation["sweep"]["runs"] == 36, "what tunes a baseline is not of the sweep"
    cell = next(row for row in table_rows(evaluation) if row["Scheduler"] == "Linear")
    assert cell["Search (runs)"] == "6 + 3 learning, 8 a run"


def test_runs_table_has_a_row_per_run(synthetic, folders):
    run(synthetic, folders)
    table = pd.read_parquet(folders["report_dir"] / "runs.parquet")
    assert table["stage"].value_counts().to_dict() == {"sweep": 36, "evaluation": 30}
    assert table["run_id"].is_unique
    assert table[table["scheduler"] == "lode"]["peak_lr"].isna().all()
    assert table["lambda_max"].dtype == "float64"


def test_same_input_same_bytes(synthetic, folders, tmp_path):
    run(synthetic, folders)
    again = {**folders, "report_dir": tmp_path / "again"}
    again["report_dir"].mkdir()
    (again["report_dir"] / "pilots.json").write_text(json.dumps(synthetic.pilots()))
    run(synthetic, again)
    assert files(folders["report_dir"]) == files(tmp_path / "again")


def test_diverged_runs_are_reported(synthetic, folders):
    path = history_path(folders["scheduled_dir"], synthetic.history("cosine", 0.01, 101).run_id)
    path.unlink()
    broken = synthetic.history("cosine", 0.01, 101, diverged=True)
    synthetic.write([broken], folders["scheduled_dir"])
    evaluation = run(synthetic, folders)
    assert evaluation["schedulers"]["cosine"]["test"]["n"] == 5
    assert any("1 of 6 Cosine runs diverged" in note for note in evaluation["notes"])
    assert evaluation["comparisons"]["lode"]["cosine"]["n"] == 5


def test_runs_that_collapse_after_their_best_point_are_pointed_out(synthetic, folders):
    for seed in SEEDS:
        fallen = synthetic.history("lode", None, seed, digest="0123456789abcdef")
        fallen.points.loc[30:, "val_metric"] = 0.2
        synthetic.write([fallen], folders["scheduled_dir"])
    evaluation = run(synthetic, folders)
    assert any("LODE runs end at 20.0 %" in note for note in evaluation["notes"])
    assert not any("Cosine" in note for note in evaluation["notes"])


def test_a_lode_that_kept_the_sweeps_schedule_is_pointed_out(synthetic, folders):
    evaluation = run(synthetic, folders)
    assert not any("ends as" in note for note in evaluation["notes"])
    best = evaluation["best_baseline"]
    peak = evaluation["schedulers"][best]["peak_lr"]
    theirs = {
        h.meta["seed"]: h
        for h in read_histories(folders["scheduled_dir"])
        if h.configuration == (best, peak)
    }
    for seed in SEEDS:
        kept = synthetic.history("lode", None, seed, digest="0123456789abcdef")
        for column in ("train_loss", "val_metric", "lr"):
            kept.points[column] = theirs[seed].points[column].to_numpy()
        for key in ("best_val_metric", "test_metric"):
            kept.meta[key] = theirs[seed].meta[key]
        synthetic.write([kept], folders["scheduled_dir"])
    note = run(synthetic, folders)["notes"][0]
    assert "Every LODE run ends as" in note and f"(peak lr {peak:g})" in note


def test_runs_of_former_settings_are_left_out(synthetic, folders):
    old = [synthetic.history("cosine", 0.05, seed) for seed in SEEDS]
    old += [synthetic.history("onecycle", 0.05, seed) for seed in (7, 8)]
    synthetic.write(old, folders["scheduled_dir"])
    before = {path.name for path in folders["scheduled_dir"].glob("*.parquet")}
    evaluation = run(synthetic, folders)
    assert evaluation["schedulers"]["cosine"]["peak_lr"] == 0.01
    assert evaluation["schedulers"]["onecycle"]["test"]["n"] == 6
    assert {path.name for path in folders["scheduled_dir"].glob("*.parquet")} == before


def test_two_lodes_in_one_folder(synthetic, folders):
    ids = [h.run_id for h in read_histories(folders["scheduled_dir"])]
    other = [synthetic.history("lode", None, seed, digest="f" * 16, level=0.5) for seed in SEEDS]
    synthetic.write(other, folders["scheduled_dir"])
    with pytest.raises(EvaluationError, match=r"lode seed 10. is there twice .*lode train"):
        run(synthetic, folders)
    evaluation = run(synthetic, folders, scheduled_runs=ids)
    assert evaluation["schedulers"]["lode"]["test"]["mean"] > 0.9
    assert evaluation["lode"]["digest"] == "0123456789abcdef"


def test_missing_seeds_and_schedulers_are_named(synthetic, folders):
    for run_ in (synthetic.history("onecycle", 0.05, 102),):
        history_path(folders["scheduled_dir"], run_.run_id).unlink()
    for seed in SEEDS:
        run_id = synthetic.history("lode", None, seed, digest="0123456789abcdef").run_id
        history_path(folders["scheduled_dir"], run_id).unlink()
    with pytest.raises(EvaluationError) as error:
        run(synthetic, folders)
    message = str(error.value)
    assert "onecycle 0.05 seeds 102;" in message
    assert "lode seeds 100, 101, 102, 103, 104, 105" in message
    assert "`lode train`" in message
    assert {path.name for path in folders["report_dir"].iterdir()} == {"pilots.json"}


def test_a_baseline_trained_at_another_peak_is_explained(synthetic, folders):
    for seed in SEEDS:
        own = synthetic.history("cosine", 0.01, seed)
        history_path(folders["scheduled_dir"], own.run_id).unlink()
    synthetic.write(
        [synthetic.history("cosine", 0.05, seed) for seed in SEEDS], folders["scheduled_dir"]
    )
    with pytest.raises(EvaluationError, match=r"trained at 0\.05, but the sweep's best is 0\.01"):
        run(synthetic, folders)


@pytest.mark.parametrize("which, command", [("sweep_dir", "sweep"), ("scheduled_dir", "train")])
def test_empty_folders(synthetic, folders, tmp_path, which, command):
    for empty in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(EvaluationError, match=f"no histories; run `lode {command}` first"):
            run(synthetic, {**folders, which: empty})


def test_wanted_run_that_is_not_there(synthetic, folders):
    with pytest.raises(EvaluationError, match=r"1 of 1 runs are missing, e\.g\. abc; run `lode sw"):
        run(synthetic, folders, sweep_runs=["abc"])


def test_histories_of_another_task(synthetic, folders):
    alien = synthetic.history("cosine", 0.01, 0, task="fashion-mnist-cnn")
    synthetic.write([alien], folders["sweep_dir"])
    with pytest.raises(EvaluationError, match="fashion-mnist-cnn, expected mnist1d-cnn"):
        run(synthetic, folders)


def test_truncated_history(synthetic, folders):
    path = sorted(folders["scheduled_dir"].glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(HistoryError, match=path.name):
        run(synthetic, folders)


def test_lode_missing_or_broken(synthetic, folders):
    config = folders["lode_dir"] / "config.json"
    config.write_text("{")
    with pytest.raises(EvaluationError, match="not JSON"):
        run(synthetic, folders)
    config.unlink()
    with pytest.raises(EvaluationError, match="no LODE; run `lode fit` first"):
        run(synthetic, folders)


def test_a_held_out_run_of_the_best_baseline_is_predicted(synthetic, folders):
    drawn = run(synthetic, folders)["trajectories"]
    assert (drawn["scheduler"], drawn["peak_lr"], drawn["seed"]) == ("onecycle", 0.05, 2)
    assert drawn["held_out"] is True
    assert drawn["observed_points"] == {"5": 2, "50": 20}
    page = (folders["report_dir"] / "index.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert "OneCycle (peak lr 0.05), seed 2, held out of the fit" in page


def test_without_weights_nothing_is_predicted_and_that_is_said(synthetic, folders):
    (folders["lode_dir"] / "lode.safetensors").unlink()
    evaluation = run(synthetic, folders)
    assert evaluation["trajectories"] is None
    assert any("No prediction is drawn" in note for note in evaluation["notes"])
    assert not list((folders["report_dir"] / "figures").glob("trajectories*"))


def test_a_fit_without_summary_is_said(synthetic, folders):
    config = folders["lode_dir"] / "config.json"
    content = json.loads(config.read_text())
    del content["fit"]
    config.write_text(json.dumps(content))
    (folders["lode_dir"] / "lode.safetensors").unlink()
    evaluation = run(synthetic, folders)
    assert evaluation["lode"]["fit"] is None
    assert any("no `fit` summary" in note for note in evaluation["notes"])


def test_validation_summary_is_taken_over(synthetic, folders):
    verdict = {
        "accepted": ["a"] * 35,
        "outside": [],
        "quarantined": [
            {
                "run_id": "bad1",
                "run": "constant 0.1 seed 2",
                "reasons": [{"problem": "did not complete", "points": [], "expectation": "x"}],
            },
        ],
    }
    (folders["report_dir"] / "validation.json").write_text(json.dumps(verdict))
    evaluation = run(synthetic, folders)
    assert evaluation["validation"] == {
        "accepted": 35,
        "quarantined": [{"run": "constant 0.1 seed 2 (bad1)", "reasons": ["did not complete"]}],
        "outside": 0,
    }
    page = (folders["report_dir"] / "index.html").read_text()
    assert "constant 0.1 seed 2 (bad1)" in page and "did not complete" in page

"""The report: what evaluation.json says, in sentences, tables and one self-contained page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.evaluation import figures
from components.evaluation.accuracy import LODE
from components.evaluation.ranking import configurations
from components.evaluation.statistics import CONFIDENCE
from components.evaluation.trajectories import Trajectories
from components.schedulers.names import label
from components.storage.files import write_text
from components.training.history import History

TEMPLATES = Path(__file__).with_name("templates")
TEST_COLUMN = "Test accuracy (%)"
TEXT_OMITS = ("Validation (%)", "Search (runs)", "Cost")
MINUS, NONE = "−", "–"
CHANNELS = {
    "train_loss": "Training loss",
    "log_lr": "Learning rate, log",
    "val_metric": "Validation accuracy",
}


def draw(
    evaluation: Mapping[str, Any],
    sweep: Sequence[History],
    runs: Sequence[History],
    trajectories: Trajectories | None,
    folder: Path,
) -> None:
    """Write every figure as `<folder>/<name>.svg`; figures of a former evaluation go."""
    for old in Path(folder).glob("*.svg"):
        old.unlink()
    best = evaluation["best_baseline"]
    entries = evaluation["schedulers"]
    figures.learning_rates(runs, best, folder / "learning_rates.svg")
    for column in ("train_loss", "val_metric"):
        figures.curves(runs, column, best, folder / f"{column}.svg")
    order = [name for name, _ in _ranked(evaluation)]
    tests = {name: entries[name]["test_by_seed"] for name in order}
    figures.test_metrics(tests, best, folder / "test.svg")
    sharpness: dict[str, list[float]] = {name: [] for name in order}
    for run in runs:
        if found := run.meta.get("sharpness"):
            sharpness[run.meta["scheduler"]].append(found["lambda_max"])
    if any(sharpness.values()):
        figures.sharpnesses(sharpness, best, folder / "sharpness.svg")
    if evaluation["pilots"]:
        figures.plans(evaluation["pilots"], folder / "plans.svg")
    figures.expectations(runs, folder / "expectations.svg")
    chosen = {name: e["peak_lr"] for name, e in entries.items() if name != LODE}
    figures.sweep_overview(configurations(sweep), chosen, folder / "sweep.svg")
    if trajectories:
        for share, (observed, predicted) in trajectories.predicted.items():
            path = folder / f"trajectories_{share}.svg"
            figures.trajectories(trajectories.history, predicted, observed, path)


def headline(evaluation: Mapping[str, Any]) -> str:
    """The result in one sentence, no stronger than the numbers."""
    best = evaluation["best_baseline"]
    entry, reference = evaluation["schedulers"][LODE], evaluation["schedulers"][best]
    name = f"{label(best)} (peak lr {reference['peak_lr']:g})"
    difference = evaluation["comparisons"][LODE][best]
    if difference["mean"] is None:
        return f"LODE and {name} have no seed in common that both completed: no comparison."
    means = f"{_percent(entry['test'])} against {_percent(reference['test'])} % test accuracy"
    evidence = f"{_interval(difference)}, {_p_value(difference)}, n = {difference['n']} seeds"
    verdict_ = verdict(evaluation)
    if verdict_ == "undecided":
        return (
            f"LODE and {name}, the best baseline on validation, cannot be told apart: "
            f"{means}; difference {_signed(difference['mean'])} points ({evidence})."
        )
    size, side = 100 * abs(difference["mean"]), "above" if verdict_ == "better" else "below"
    return (
        f"LODE ends {size:.2f} points {side} {name}, the best baseline on validation: "
        f"{means} ({evidence})."
    )


def verdict(evaluation: Mapping[str, Any]) -> str:
    """`better`, `worse` or `undecided`: LODE against the best baseline, at the 5 % level."""
    difference = evaluation["comparisons"][LODE][evaluation["best_baseline"]]
    if not _significant(difference):
        return "undecided"
    return "better" if difference["mean"] > 0 else "worse"


def table_rows(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """The result table, best test mean first: columns to text, for page, terminal and Prefect."""
    rows = []
    for name, entry in _ranked(evaluation):
        row = {
            "Scheduler": label(name),
            "Peak lr": NONE if entry["peak_lr"] is None else f"{entry['peak_lr']:g}",
            TEST_COLUMN: _spread(entry["test"], 100, 2),
            "Validation (%)": _spread(entry["validation"], 100, 2),
            "Runs": f"{entry['test']['n']}"
            + (f" (+ {entry['diverged']} diverged)" if entry["diverged"] else ""),
            "Sharpness λₘₐₓ": _measured(entry["sharpness"]),
            "Seconds per epoch": _measured(entry["seconds_per_epoch"]),
            "Search (runs)": _price(entry["price"]),
            "Cost": NONE if entry["relative_cost"] is None else f"{entry['relative_cost']:.2f}×",
        }
        rows.append(row)
    if not any(entry["sharpness"]["n"] for entry in evaluation["schedulers"].values()):
        for row in rows:
            del row["Sharpness λₘₐₓ"]
    return rows


def _price(price: Mapping[str, Any]) -> str:
    """`25`, `25 + 30 learning`, `0, 8 a run`."""
    text = f"{price['search']}"
    if price["learning"]:
        text += f" + {price['learning']:.3g} learning"
    return text + (f", {price['factor']:g} a run" if price["factor"] != 1 else "")


def comparison_rows(evaluation: Mapping[str, Any]) -> list[dict[str, str]]:
    """LODE minus each baseline, in percentage points; the best baseline first."""
    best, pairs = evaluation["best_baseline"], evaluation["comparisons"][LODE]
    rows = []
    for name in sorted(pairs, key=lambda other: (other != best, other)):
        pair = pairs[name]
        rows.append(
            {
                "LODE minus": label(name) + (" (best on validation)" if name == best else ""),
                "Difference (points)": NONE if pair["mean"] is None else _signed(pair["mean"]),
                "95 % interval": NONE if pair["low"] is None else _range(pair),
                "p": NONE
                if pair["p_value"] is None
                else _p_value(pair).removeprefix("p = ").removeprefix("p "),
                "Seeds": str(pair["n"]),
            }
        )
    return rows


def best_schedulers(evaluation: Mapping[str, Any]) -> list[str]:
    """The best test mean and every scheduler the paired test cannot tell from it.

    Empty where that says nothing: all are alike, the best has diverged runs, or n < 2.
    """
    ranked = _ranked(evaluation)
    first, entry = ranked[0]
    if entry["diverged"] or entry["test"]["n"] < 2:
        return []
    pairs = evaluation["comparisons"][first]
    alike = [first, *(name for name, _ in ranked[1:] if not _significant(pairs[name]))]
    return [] if len(alike) == len(ranked) else alike


def text_table(evaluation: Mapping[str, Any]) -> str:
    """Headline and result table as plain text of 80 columns, for the end of `make demo`."""
    short = {"Sharpness λₘₐₓ": "λₘₐₓ", "Seconds per epoch": "s/epoch"}
    rows = [
        {short.get(name, name): value for name, value in row.items() if name not in TEXT_OMITS}
        for row in table_rows(evaluation)
    ]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}

    def line(cells: Mapping[str, str]) -> str:
        first, *others = widths
        padded = [cells[first].ljust(widths[first])]
        return "  ".join([*padded, *(cells[name].rjust(widths[name]) for name in others)])

    rule = "  ".join("─" * width for width in widths.values())
    header = line({name: name for name in widths})
    sentences = [headline(evaluation), *evaluation["notes"]]
    wrapped = "\n".join(textwrap.fill(sentence, 80) for sentence in sentences)
    return "\n".join([wrapped, "", header, rule, *(line(row) for row in rows)])


def write_page(evaluation: Mapping[str, Any], report_dir: Path) -> Path:
    """Write `<report_dir>/index.html` from the evaluation and `<report_dir>/figures/*.svg`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: _unbroken(value) if type(value) is str else value,
    )
    alike = best_schedulers(evaluation)
    folder = Path(report_dir) / "figures"
    captions = _captions(evaluation)
    page = environment.get_template("report.html").render(
        e=evaluation,
        css=_markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        headline=headline(evaluation),
        verdict=verdict(evaluation),
        setup=_setup(evaluation),
        table=table_rows(evaluation),
        test_column=TEST_COLUMN,
        bold=[label(name) for name in alike],
        bold_note=_bold_note(alike),
        comparisons=comparison_rows(evaluation),
        captions=captions,
        figure=lambda name: _figure(folder / f"{name}.svg", captions),
        lode=_lode(evaluation),
        sweep=_sweep(evaluation),
        provenance=_provenance(evaluation),
    )
    path = Path(report_dir) / "index.html"
    write_text(path, page)
    return path


def _figure(path: Path, captions: Mapping[str, Any]) -> Any:
    """An inlined SVG with its caption; nothing where the figure could not be drawn."""
    from markupsafe import Markup, escape

    if not path.exists():
        return Markup("")
    title, text, alternative = captions[path.stem]
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # ids are a page's, not a figure's: the same clip path may be in two figures
    svg = re.sub(r'\bid="', f'id="{path.stem}-', svg)
    svg = re.sub(r"url\(#", f"url(#{path.stem}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{path.stem}-', svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg.partition(">")[0]) + svg[svg.index(">") :]
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(alternative)}"', 1)
    wide = path.stem in ("learning_rates", "sweep", "plans", "expectations")
    return Markup("<figure{}>{}<figcaption><b>{}.</b> {}</figcaption></figure>").format(
        Markup(' class="wide"' if wide else ""), Markup(svg), _unbroken(title), _unbroken(text)
    )


def _captions(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Table captions, and (title, caption, alternative text) of each figure."""
    best = label(evaluation["best_baseline"])
    n = len(evaluation["setup"]["seeds"])
    drawn = evaluation["trajectories"] or {}
    run = "{} (peak lr {:g}), seed {}".format(
        label(drawn.get("scheduler", "")), drawn.get("peak_lr", 0), drawn.get("seed")
    )
    kind = "held out of the fit" if drawn.get("held_out") else "a run of the fit"
    tests = "; ".join(
        f"{label(name)} {_percent(entry['test'])} %" for name, entry in _ranked(evaluation)
    )

    def trajectory(share: str) -> tuple[str, str, str]:
        text = f"{run}, {kind}; the LODE sees the shaded first {share}."
        return (
            f"Predicted from the first {share}",
            text,
            f"Observed and predicted training loss, learning rate and validation accuracy. {text}",
        )

    return {
        "results": f"Mean ± standard deviation over {n} seeds, test accuracy at the best "
        "validation point. Peak learning rates were chosen by validation accuracy on the sweep's "
        "seeds. Search: runs spent before, on choosing a peak learning rate or on what the LODE "
        "learned from. "
        "Seconds per epoch are wall time without validation; cost is relative to "
        f"{best}.",
        "comparisons": "Paired differences of test accuracy on the seeds both completed, in "
        "percentage points, with Student's t interval and two-sided paired t test, not adjusted "
        "for the number of comparisons.",
        "errors": "Error of the LODE's predictions over whole runs after seeing the first 5 % or "
        "50 %: mean squared error relative to the channel's variance (1 is what predicting the "
        "mean would reach), mean ± standard deviation over runs.",
        "learning_rates": (
            "Learning rate over training",
            f"Each LODE run chooses its own, one thin line per seed; {best} is the best baseline "
            "on validation.",
            f"Learning rate of the {n} LODE runs and of {best} over training, log scale.",
        ),
        "train_loss": (
            "Training loss",
            f"Geometric mean of {n} seeds, band ± 1 standard deviation of the logarithm.",
            "Training loss of each scheduler over training, log scale.",
        ),
        "val_metric": (
            "Validation accuracy",
            f"Mean of {n} seeds, band ± 1 standard deviation.",
            "Validation accuracy of each scheduler over training.",
        ),
        "test": (
            "Test accuracy of every run",
            "Diamond and bar: mean and its 95 % interval.",
            f"Test accuracy of every run by scheduler. Means: {tests}.",
        ),
        "sharpness": (
            "Sharpness",
            "Largest eigenvalue of the training loss's Hessian after the "
            "last update; diamond: mean, log axis. Lower is flatter, which alone does "
            "not make a network better.",
            "Sharpness of every run by scheduler.",
        ),
        "sweep": (
            "Validation accuracy of the sweep (%)",
            "Mean over seeds at the best validation "
            "point; framed: the peak learning rate chosen for each scheduler.",
            "Mean validation accuracy by scheduler and peak learning rate.",
        ),
        "plans": (
            "The plan",
            "Finalists of the pilots, the plan that LODE's runs begin with, and "
            "the best schedule of the sweep.",
            "Learning rates of the plan, the other "
            "finalists and the sweep's best schedule over training.",
        ),
        "expectations": (
            "What was expected of the plan in force",
            "Final validation accuracy as "
            "predicted at each decision, one line per seed; a dot where the plan was "
            "changed.",
            "Predicted final validation accuracy at each decision of each LODE run.",
        ),
        "trajectories_5": trajectory("5 %"),
        "trajectories_50": trajectory("50 %"),
    }


def _setup(evaluation: Mapping[str, Any]) -> str:
    setup, sweep = evaluation["setup"], evaluation["sweep"]
    samples = setup["train_samples"]
    return (
        f"{len(setup['seeds'])} fresh seeds per scheduler, {setup['updates']:,} updates and "
        f"{setup['points']} log points per run"
        + (f", {samples:,} training samples" if samples else "")
        + f", on {', '.join(evaluation['provenance']['devices'])}. The LODE learned from a sweep "
        f"of {sweep['runs']} runs."
    )


def _bold_note(alike: Sequence[str]) -> str:
    if not alike:
        return "No row is in bold: the paired test does not single out a best scheduler."
    if len(alike) == 1:
        return "Bold: better than every other scheduler (paired t test, p < 0.05)."
    return "Bold: the best mean and those the paired t test cannot tell from it (p ≥ 0.05)."


def _lode(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Table A1 and the rank of the selected trial, as far as config.json has them."""
    fit = evaluation["lode"]["fit"] or {}
    table, rank = fit.get("table_a1") or {}, (fit.get("rank") or {})
    parts = [
        part for part in ("held_out", "fitted") if any(part in shown for shown in table.values())
    ]
    errors = [
        {
            "channel": f"{name} ({share.replace('%', ' %')})",
            "values": [_error(table[share].get(part, {}).get(channel)) for part in parts],
        }
        for channel, name in CHANNELS.items()
        for share in table
    ]
    columns = {"held_out": "Runs held out of the fit", "fitted": "Runs of the fit"}
    sentences = []
    if "histories" in fit:
        sentences.append(
            f"Fitted on {fit['histories'] - fit['held_out']} histories; "
            f"{_runs(fit['held_out'])} with other seeds held out"
            + (f"; the fit took {_duration(fit['seconds'])}." if "seconds" in fit else ".")
        )
    sentences += _pilots(evaluation)
    for part, among in (("held_out", "held-out runs"), ("all", "runs, fitted ones included")):
        if found := rank.get(part):
            sentences.append(
                f"Shown the first 5 % of each of {found['of']} {among}, it picks "
                f"{_place(found['rank'])}: final validation accuracy "
                f"{100 * found['metric']:.2f} %, the best run's {100 * found['best']:.2f} %."
            )
    decisions = evaluation["lode"]["decisions"]
    if decisions["total"]:
        kept = ", ".join(f"{n} times ({reason})" for reason, n in decisions["kept"].items())
        sentences.append(
            f"Over all scheduled runs it was asked {decisions['total']:,} times for the next "
            "learning rates" + (f" and kept its former plan {kept}." if kept else ".")
        )
    return {"errors": errors, "columns": [columns[part] for part in parts], "sentences": sentences}


def _pilots(evaluation: Mapping[str, Any]) -> list[str]:
    """What the pilots cost and what came of them."""
    pilots = evaluation["pilots"]
    if not pilots:
        return []
    budget, gain = pilots["budget"], pilots["gain"]
    baseline = pilots["baseline"]
    name = f"{label(baseline['scheduler'])} {baseline['peak_lr']:g}"
    cost = (
        f"{pilots['runs']} pilots tried schedules before the fit: {budget.get('finer', 0)} of the "
        f"sweep's at peaks between its grid's, {budget['explore']} of random shape, 2 × "
        f"{budget['propose']} proposed by LODE and judge, the others to choose and confirm a "
        f"finalist. They took {_duration(pilots['seconds'])} of training, the sweep "
        f"{_duration(evaluation['sweep']['seconds'])}."
    )
    if gain["mean"] is None:
        return [cost, f"The finalist diverged, so LODE's runs begin with {name}."]
    result = (
        f"On {gain['n']} seeds of its own the finalist gained {_signed(gain['mean'])} ± "
        f"{100 * gain['error']:.2f} points of validation accuracy over {name} (± one standard "
        "error), "
    )
    return [
        cost,
        result
        + (
            "and became the plan."
            if pilots["adopted"]
            else f"too little to be trusted, so LODE's runs begin with {name}."
        ),
    ]


def _place(rank: int) -> str:
    if rank == 1:
        return "the best"
    teen = 10 <= rank % 100 <= 20
    return f"the {rank}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')} best"


def _error(entry: Mapping[str, Any] | None) -> str:
    return NONE if entry is None else f"{entry['mean']:.3f} ± {entry['std']:.3f}"


def _sweep(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    sweep, validation = evaluation["sweep"], evaluation["validation"]
    diverged = f"{sweep['diverged']} of them diverged" if sweep["diverged"] else "none diverged"
    sentences = [
        f"{sweep['runs']} runs, {len(sweep['configurations'])} configurations with "
        f"{len(sweep['seeds'])} seeds each; {diverged}. They took "
        f"{_duration(sweep['seconds'])} of training, added over all runs."
    ]
    quarantined: list[tuple[str, str]] = []
    if validation:
        bad = validation["quarantined"]
        quarantined = [(entry["run"], "; ".join(entry["reasons"])) for entry in bad]
        text = f"Validation accepted {_runs(validation['accepted'])} for the LODE"
        text += f" and quarantined {len(bad)}" if bad else " and quarantined none"
        if validation["outside"]:
            text += f"; {_runs(validation['outside'])} in the folder belong to no declared sweep"
        sentences.append(text + ".")
    if sweep["diverged"]:
        sentences.append(
            "In the choice of a peak learning rate a diverged run counts as the worst accuracy "
            "any run of the sweep logged."
        )
    return {"sentences": sentences, "quarantined": quarantined}


def _runs(count: int) -> str:
    return f"{count} run" + ("" if count == 1 else "s")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _provenance(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    about, setup = evaluation["provenance"], evaluation["setup"]
    versions = ", ".join(f"{name} {'/'.join(v)}" for name, v in about["versions"].items())
    threads = "/".join(map(str, about["threads"]))
    lines = [
        ("Command", about["command"]),
        (
            "Seeds",
            f"evaluation {_seeds(setup['seeds'])}; sweep {_seeds(evaluation['sweep']['seeds'])}",
        ),
        (
            "Hardware",
            ", ".join(about["devices"]) + (f", threads per run: {threads}" if threads else ""),
        ),
        ("Versions", versions),
        ("Sweep", about["sweep_digest"]),
        ("Runs", about["runs_digest"]),
        ("LODE", evaluation["lode"]["digest"]),
        ("Data", "evaluation.json, runs.parquet and figures/ beside this page"),
    ]
    return [(name, str(value)) for name, value in lines if value]


def _seeds(seeds: Sequence[int]) -> str:
    ordered = sorted(seeds)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))


def _ranked(evaluation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    def key(item: tuple[str, Mapping[str, Any]]) -> tuple[float, str]:
        mean = item[1]["test"]["mean"]
        return (-mean if mean is not None else float("inf"), item[0])

    return sorted(evaluation["schedulers"].items(), key=key)


def _significant(pair: Mapping[str, Any]) -> bool:
    return pair["p_value"] is not None and pair["p_value"] < 1 - CONFIDENCE


def _percent(summary: Mapping[str, Any]) -> str:
    return NONE if summary["mean"] is None else f"{100 * summary['mean']:.2f}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", MINUS)


def _range(pair: Mapping[str, Any]) -> str:
    return f"{_signed(pair['low'])} to {_signed(pair['high'])}"


def _interval(pair: Mapping[str, Any]) -> str:
    return "no interval" if pair["low"] is None else f"95 % interval {_range(pair)}"


def _p_value(pair: Mapping[str, Any]) -> str:
    p = pair["p_value"]
    if p is None:
        return "no p-value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _spread(summary: Mapping[str, Any], factor: float, digits: int) -> str:
    if summary["mean"] is None:
        return NONE
    text = f"{factor * summary['mean']:.{digits}f}"
    return text if summary["std"] is None else f"{text} ± {factor * summary['std']:.{digits}f}"


def _measured(summary: Mapping[str, Any]) -> str:
    """Three significant digits of the mean, the spread to the same place."""
    if summary["mean"] is None:
        return NONE
    import math

    size = abs(summary["mean"])
    digits = max(0, 2 - math.floor(math.log10(size))) if size > 0 else 2
    return _spread(summary, 1, min(digits, 6))


def _unbroken(text: str) -> str:
    """No line ends between a number and its sign."""
    space = "\N{NO-BREAK SPACE}"
    return re.sub(r"(?<=\d) (?=[%×])|(?<=[np]) (?=[=<])|(?<=[=<±]) ", space, text)


def _markup(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)

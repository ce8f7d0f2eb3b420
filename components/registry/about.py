"""What the pages of a registered version say: what it is, what it is worth, how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.evaluation.metric import Metric
from components.lode.judge import Judge
from components.lode.model import LODE
from components.lode.names import JUDGE_CONFIG


@dataclass(frozen=True)
class About:
    """What whoever registers a LODE knows of it beside its files.

    Attributes:
        metric: the task's; None: not known, so that its values are not checked.
        figures: by name, logged as metrics: pilots' gain, price, …
        learned_from: `96 sweep runs and 80 pilots`.
    """

    metric: Metric | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    learned_from: str = ""

    @property
    def scale(self) -> str:
        """How the metric is scaled, in words."""
        if self.metric is None:
            return "as the histories have it; higher is better"
        unit = "a share from 0 to 1, not per cent" if self.metric.percent else "in its own unit"
        return f"{self.metric.name}, {unit}; {self.metric.better}"


def figures_of(lode: LODE, folder: Path) -> dict[str, float]:
    """What its files say: error on the held-out runs, and the highest rate that it begins with."""
    error = lode.config.fit.get("best_error")
    judged = (folder / JUDGE_CONFIG).exists()
    opening = (Judge.load(folder).config.opening if judged else None) or lode.config.opening
    points = lode.config.points
    peak = max(opening.plan(max(lode.config.updates, points), points)) if opening else None
    known = {"held_out_error": error, "peak_lr": peak}
    return {name: float(value) for name, value in known.items() if value is not None}


def tags(lode: LODE, about: About, figures: Mapping[str, float]) -> dict[str, str]:
    """Tags that a person reads, and `lode versions`."""
    config = lode.config
    said = {
        "budget": f"{config.updates} updates, {config.points} log points",
        "metric": about.scale if about.metric else "",
        "learned_from": about.learned_from,
        **{
            name: f"{figures[name]:.4g}"
            for name in ("held_out_error", "peak_lr")
            if name in figures
        },
    }
    if "pilots_gain" in figures:
        gain, error = figures["pilots_gain"], figures["pilots_gain_error"]
        said["pilots_gain"] = f"{gain:+.4f} ± {error:.4f}"
    return {name: value for name, value in said.items() if value}


def of_all_versions(task: str) -> str:
    """Of a registered model, in Markdown."""
    return f"""\
Latent ODEs that set the learning rate of **{task}** as it trains. Each version's page says what \
it was fitted on, what it is worth, and how it is used.

- `@champion` is in use. A night's gate moves it, or `lode promote VERSION`; `lode rollback` goes \
back.
- `@candidate` is the last one fitted that nobody has made the champion, `@challenger` the last \
night's.
"""


def description(name: str, version: int, lode: LODE, about: About) -> str:
    """Of a version, in Markdown: what it is, and fifteen lines that use it. MLflow shows every
    line break, so a paragraph is one line."""
    config = lode.config
    return f"""\
Sets the learning rate of **{config.task or name}** as it trains: a latent ODE, fitted on \
{about.learned_from or "training histories"} of {config.updates} updates and {config.points} log \
points each. Other lengths work: the plan is stretched.

Metric (`val_metric`): {about.scale}. Rates are positive, log points count from 1.

In Python, where `train(lr)` trains to the next log point and returns its mean loss and metric:

```python
import mlflow, pandas as pd

model = mlflow.pyfunc.load_model("models:/{name}/{version}")
T, rows = {config.points}, []  # your run's log points
columns = ["point", "train_loss", "val_metric", "lr"]
while len(rows) < T:
    history = pd.DataFrame(rows, columns=columns)
    lr = model.predict(history, params={{"points": T}})["lr"][0]
    loss, metric = train(lr)
    rows.append((len(rows) + 1, loss, metric, lr))
```

As a service:

```sh
mlflow models serve -m models:/{name}/{version} --env-manager local -p 5001
curl localhost:5001/invocations -H 'Content-Type: application/json' -d '{{
  "dataframe_split": {{"columns": ["point", "train_loss", "val_metric", "lr"], "data": []}},
  "params": {{"points": {config.points}}}}}'
```

`data`: a row per log point so far, none at the start. The answer: the rates for the next log \
points, and the final metric that is expected of them. Ask again with the longer history.
"""

"""What flow runs are called: as their user says, else after what they do differently."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from coolname.data import config
from prefect.runtime import flow_run

from components.evaluation.notation import seeds
from components.settings import SettingsError
from components.storage.shown import cut
from flows.inputs import read
from flows.parameters import AS_IN_PARAMS, KEYS, Changes, RunRequest

_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma"
    "|tau|upsilon|phi|chi|psi|omega"
)
# The form's field begins with a star's name, `xi782-loval-manifold`.
_STAR = re.compile(rf"({_GREEK})\d*(-[a-z]+)+")
_LONGEST = 80  # characters of what is changed


def _words(of: str) -> set[str]:
    entry: Any = config[of]
    if entry["type"] == "nested":
        return set().union(*(_words(one) for one in entry["lists"]))
    return set(entry["words"])


# Prefect's server gives two words, `steadfast-worm`.
_ADJECTIVES, _ANIMALS = _words("adj_any"), _words("subj")


def suggested(name: str) -> bool:
    """Whether a name is one that Prefect made up, its server or its form, and so nobody's."""
    adjective, _, animal = name.partition("-")
    made_up = adjective in _ADJECTIVES and animal in _ANIMALS
    return made_up or _STAR.fullmatch(name) is not None


def _or_typed(made: str) -> str:
    """The name that somebody gave the run, else `made`."""
    given = flow_run.name
    return given if given and not suggested(given) else made


def of_changes(kind: str = "") -> str:
    """`digits-mlp · updates 50`, for flows with the parameters params, task and changes.

    Args:
        kind: stands before it.
    """
    given = flow_run.parameters
    task = task_of(Path(given["params"]), given["task"])
    changes = Changes.model_validate(given["changes"]).overrides()
    said = ", ".join(f"{words(key)} {shown(value)}" for key, value in changes.items())
    return _or_typed(
        " ".join(filter(None, (kind, task))) + (f" · {cut(said, _LONGEST)}" * bool(said))
    )


def task_of(params: Path, task: str) -> str:
    """The task that a run is about; of settings that cannot be read, as it was given."""
    if task != AS_IN_PARAMS:
        return task
    try:
        return read(params)[0].task
    except SettingsError:  # the run itself will say what is wrong
        return f"task {AS_IN_PARAMS}"


def words(key: str) -> str:
    """`pilot runs` of `pilots.runs`, as on the form; `fit held out seeds` of what is not on it."""
    for name, setting in KEYS.items():
        field = Changes.model_fields[name]
        if setting == key and field.default != AS_IN_PARAMS:
            return str(field.title).lower()
    section, _, rest = key.partition(".")
    said = rest if section in ("training", "lode") and rest else key
    return said.replace(".", " ").replace("_", " ")


def shown(value: Any) -> str:
    """A setting's value as people write it: `0.01, 0.05`, `100–109`, `empty`."""
    if isinstance(value, list):
        if value and all(type(one) is int for one in value):
            return seeds(value)
        return ", ".join(map(shown, value)) or "none"
    return "empty" if value is None else str(value)


def of_runs() -> str:
    """For the flows that train runs."""
    return _or_typed(run_name(flow_run.flow_name or "", flow_run.parameters))


def run_name(flow_name: str, given: dict[str, Any]) -> str:
    """`sweep-shard mnist1d-cnn · 5 runs from onecycle 0.05 seed 3`."""
    runs = given.get("runs")
    if not runs:
        task = task_of(Path(given["params"]), given["task"])
        return f"{task} · {given['scheduler']} seeds {shown(given['seeds'])}"
    spec = RunRequest.model_validate(runs[0]).spec
    return f"{flow_name} {spec.task} · {len(runs)} runs from {spec.describe()}"

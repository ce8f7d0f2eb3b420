"""Can tonight's set teach? Asked before it is frozen, as a night with one that cannot is stuck."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from components.lode.errors import LODEError
from components.lode.fit_data import FitData
from components.retraining.errors import RetrainingError
from components.retraining.sources import mismatch
from components.runs.plan import sweep_plan
from components.settings import Settings
from components.steps.fit import pilot_histories
from components.storage.workspace import Workspace
from components.training.history import History
from components.validation.wording import listing


def check_teaches(
    sweep: Sequence[History],
    others: Sequence[History],
    settings: Settings,
    skipped: Sequence[str] = (),
) -> None:
    """Whether a fit would take these histories.

    Args:
        sweep, others: as of `Night`. skipped: why runs were left out, for the message.

    Raises:
        RetrainingError: it would not; says what to run.
    """
    if not sweep:
        why = f" (skipped: {listing(skipped, 3, '; ')})" if skipped else ""
        raise RetrainingError(
            f"no completed run of {settings.task}'s validated sweep is of these settings{why}; run "
            "`lode sweep`, then `lode validate`, with the settings of this night"
        )
    try:
        with warnings.catch_warnings():  # the fit itself will warn
            warnings.simplefilter("ignore")
            FitData.of(sweep, others, settings.lode.fit.held_out_seeds)
    except LODEError as error:
        raise RetrainingError(f"nothing can be fitted on what is there tonight: {error}") from None


def check_pilots(settings: Settings, workspace: Workspace) -> None:
    """The challenger begins its runs with the plan that the pilots found: was it for such runs?

    Raises:
        WorkspaceError: no pilots yet. RetrainingError: they were of other settings.
    """
    asked = sweep_plan(settings, workspace).template.spec
    for history in pilot_histories(settings, workspace)[0]:
        differs = mismatch(history, asked)
        if differs:
            raise RetrainingError(
                f"what `lode pilot` has found is of runs with {differs}; run `lode pilot` first"
            )

"""Nightly retraining: refit the LODE on what has accumulated; a worse one never replaces a better.

`retrain` is a whole night. Its parts, in this order, each going on where a killed one was:
`collect`, `record_version`, `fit_challenger`, `compare`, `decide`.
"""

from components.retraining.challenger import fit_challenger
from components.retraining.collection import collect
from components.retraining.comparison import compare
from components.retraining.decision import decide
from components.retraining.gate import Decision, Figures, Rules, gate
from components.retraining.record import RetrainingError
from components.retraining.retrain import retrain
from components.retraining.version import record_version

__all__ = [
    "Decision",
    "Figures",
    "RetrainingError",
    "Rules",
    "collect",
    "compare",
    "decide",
    "fit_challenger",
    "gate",
    "record_version",
    "retrain",
]

"""The Great Expectations suite over a sweep's histories, and what follows from it."""

from components.validation.imported import Checked, check_runs
from components.validation.validate import ValidationError, accepted_histories, validate
from components.validation.verdict import BadRun, ValidationResult

__all__ = [
    "BadRun",
    "Checked",
    "ValidationError",
    "ValidationResult",
    "accepted_histories",
    "check_runs",
    "validate",
]

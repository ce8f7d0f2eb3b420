"""The Great Expectations suite over a sweep's histories, and what follows from it."""

from components.validation.validate import ValidationError, accepted_histories, validate
from components.validation.verdict import BadRun, ValidationResult

__all__ = ["BadRun", "ValidationError", "ValidationResult", "accepted_histories", "validate"]

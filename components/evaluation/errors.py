"""The error of this package."""


class EvaluationError(ValueError):
    """The comparison cannot be made; the message says what is missing and how to get it."""

"""The errors of this package."""

from __future__ import annotations


class RetrainingError(RuntimeError):
    """A night cannot go on; the message says what to do."""


class VersioningError(RuntimeError):
    """A version of histories cannot be made or brought back; the message says what to do."""

"""The error of this package."""

from __future__ import annotations


class ValidationError(ValueError):
    """The histories cannot be learned from; the message names runs, rows and remedy."""

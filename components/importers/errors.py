"""What an import stops at, and what keeps a single run out of it."""

from __future__ import annotations


class RunsError(ValueError):
    """The runs cannot be imported as asked; the message says why and what to do."""


class LeftOutError(Exception):
    """One run does not come in; the message is the reason, alike for runs with the same fault."""

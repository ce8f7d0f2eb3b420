"""What is wrong with a task or its data; without torch, as `own_data.py` is."""

from __future__ import annotations


class DataError(ValueError):
    """A data set cannot be used; the message names the file and the remedy."""


class TaskError(DataError):
    """A task cannot be trained as it is; the message names the part, shapes and the remedy."""

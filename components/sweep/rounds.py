"""How a sweep asks: a generator that yields what is to be done and is sent the histories of it."""

from __future__ import annotations

from collections.abc import Generator

from components.runs.job import Job
from components.training.history import History

Rounds = Generator[list[Job], list[History], None]

"""The LODE of tests/registry, which wants to leave the rates that it begins with."""

from __future__ import annotations

import pytest

from tests.registry.conftest import POINTS as POINTS
from tests.registry.conftest import empty_database as empty_database
from tests.registry.conftest import histories as histories
from tests.registry.conftest import lode_dir as lode_dir
from tests.registry.conftest import tracking_uri as tracking_uri


@pytest.fixture(autouse=True)
def decisions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

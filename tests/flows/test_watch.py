"""The watch over dead flow runs, on a real server."""

from __future__ import annotations

import pytest
from prefect.automations import Automation
from prefect.testing.utilities import prefect_test_harness

from flows.deploy import DEAD_AFTER, WATCH, watch_heartbeats


@pytest.mark.slow
def test_a_run_is_missed_from_when_it_began_and_an_earlier_watch_is_brought_up_to_date() -> None:
    """One that was killed before its first heartbeat would be waited for for ever."""
    with prefect_test_harness(server_startup_timeout=120):
        watch_heartbeats()
        made = Automation.read(name=WATCH)
        begins = {"prefect.flow-run.heartbeat", "prefect.flow-run.Running"}
        assert made.trigger.after == begins and made.trigger.within == DEAD_AFTER
        assert "prefect.flow-run.Running" not in made.trigger.expect, "it must beat"
        watch_heartbeats()
        assert Automation.read(name=WATCH).id == made.id
        made.trigger.after = {"prefect.flow-run.heartbeat"}
        made.update()
        watch_heartbeats()
        now = Automation.read(name=WATCH)
        assert now.id == made.id and now.trigger.after == begins

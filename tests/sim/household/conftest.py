"""The household games need the extra alfworld."""

from __future__ import annotations

import pytest

from qsft_robot.sim.household import wheel


def pytest_collection_modifyitems(items):
    if not wheel.installed():
        reason = pytest.mark.skip(reason="the extra alfworld is not installed")
        for item in items:
            if "household" in str(item.path) and "without_the_extra" not in item.name:
                item.add_marker(reason)

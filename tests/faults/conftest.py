"""Faults must end soon: each test of this folder has a time limit of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

TIME_LIMIT = 120  # seconds; a hang is a failure
FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the time limit of the tests in this folder that have none."""
    for item in items:
        if FOLDER in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))

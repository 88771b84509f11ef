"""The GPU of these tests. With FITSNAP_NN_GPU_STAND_IN=cpu they run without one, to check the tests themselves."""

from __future__ import annotations

import os

import pytest
from outside import Outside


@pytest.fixture(scope="session")
def device(outside: Outside) -> str:
    """Value of ``[PYTORCH] device`` for the GPU."""
    stand_in = os.environ.get("FITSNAP_NN_GPU_STAND_IN")
    if not stand_in:
        outside.gpu()
    return stand_in or "cuda"

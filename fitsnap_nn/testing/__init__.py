"""Tests that every architecture inherits."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("fitsnap_nn.testing.models")  # so that failures show the values that were compared

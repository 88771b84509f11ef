"""The package of docs/losses.md, its code taken from the page: the loss is found by its name and its slope is right."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from page_package import install
from places import ROOT

from fitsnap_nn.settings.losses import loss_name, loss_names
from fitsnap_nn.training.losses import make_loss

PAGE = ROOT / "docs" / "losses.md"


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The package, as if pip had installed it."""
    install(PAGE, "robust", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    loss_names.cache_clear()
    yield
    loss_names.cache_clear()


@pytest.mark.usefixtures("_installed")
def test_the_loss_of_the_page():
    assert loss_name("logcosh") == "LogCosh"
    delta = 0.2
    residual = torch.linspace(-9.0, 9.0, 19, dtype=torch.float64, requires_grad=True)
    value, slope = make_loss("LogCosh", delta).value_and_slope(residual)
    expected = [delta**2 * math.log(math.cosh(r / delta)) for r in residual.tolist()]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)
    (gradient,) = torch.autograd.grad(value.sum(), residual)
    torch.testing.assert_close(slope, gradient, rtol=1e-12, atol=1e-14)


def test_the_table_of_the_page():
    """Values and slopes of the built-in losses at residuals on both sides of delta."""
    residual = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0], dtype=torch.float64)
    expected = {
        "mse": ([9.0, 0.25, 0.0, 0.25, 9.0], [-6.0, -1.0, 0.0, 1.0, 6.0]),
        "mae": ([3.0, 0.5, 0.0, 0.5, 3.0], [-1.0, -1.0, 0.0, 1.0, 1.0]),
        "huber": ([2.5, 0.125, 0.0, 0.125, 2.5], [-1.0, -0.5, 0.0, 0.5, 1.0]),
    }
    for kind, (values, slopes) in expected.items():
        value, slope = make_loss(kind, 1.0).value_and_slope(residual)
        assert value.tolist() == values
        assert slope.tolist() == slopes

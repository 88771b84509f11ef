"""Capture and replay, with a stand-in for CUDA graphs that records the function and calls it again at each replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fitsnap_nn.errors import FitsnapError
from fitsnap_nn.models.captured import Captured

GPU = SimpleNamespace(type="cuda")  # equal to the device of no tensor, so that all inputs come from the host


class Graph:
    """Stand-in for a CUDA graph: a replay reads the inputs and writes the outputs at their places in memory."""

    captured: Callable[[], Any]

    def replay(self) -> None:
        for place, value in zip(self.outputs, self.captured(), strict=True):
            place.copy_(value)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Events in the order in which they occur."""
    events: list[str] = []
    empty = torch.empty

    @contextmanager
    def graph(one: Graph, **keys: Any) -> Iterator[None]:
        events.append("capture")
        yield

    def event() -> SimpleNamespace:
        return SimpleNamespace(synchronize=lambda: events.append("wait"), record=lambda: events.append("copied"))

    monkeypatch.setattr(torch, "empty", lambda *sizes, dtype, **keys: empty(*sizes, dtype=dtype))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Event", event)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    return events


def test_each_combination_of_shapes_is_captured_once_and_then_replayed(cuda: list[str]):
    calls: list[int] = []

    def function(values: torch.Tensor, flags: torch.Tensor, scale: torch.Tensor) -> list[torch.Tensor]:
        calls.append(len(values))
        result = [values[flags].sum() * scale, values * scale]
        if cuda[-1] == "capture":
            graph = captured._calls[list(captured._calls)[-1]]
            Graph.outputs = result
            Graph.captured = lambda self: [
                graph.inputs[0][graph.inputs[1]].sum() * graph.inputs[2],
                graph.inputs[0] * graph.inputs[2],
            ]
        return result

    captured = Captured(function, GPU)
    random = torch.Generator().manual_seed(0)
    for size in (3, 3, 3, 3):
        values = torch.rand(size, 2, dtype=torch.float64, generator=random)
        flags, scale = torch.tensor([True, False, True]), torch.rand((), generator=random)
        total, scaled = captured(values, flags, scale)
        assert float(total) == pytest.approx(float(values[flags].sum() * scale), rel=1e-15)
        torch.testing.assert_close(scaled, values * scale, rtol=0, atol=0)
    assert calls == [3, 3]  # once as usual, once to capture; then replays
    assert cuda.count("capture") == 1
    captured(torch.rand(5, 2, dtype=torch.float64), torch.ones(5, dtype=torch.bool), torch.ones(()))
    assert calls == [3, 3, 5]
    assert cuda.count("capture") == 1


def test_elsewhere_the_function_is_called():
    captured = Captured(lambda one, other: [one + other], torch.device("cpu"))
    assert captured(torch.ones(2), torch.ones(2))[0].tolist() == [2.0, 2.0]


def test_a_function_that_waits_for_the_device_is_named(cuda: list[str]):
    def function(values: torch.Tensor) -> list[torch.Tensor]:
        if cuda[-1] == "capture":
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")
        return [values]

    captured = Captured(function, GPU)
    captured(torch.ones(2))
    with pytest.raises(FitsnapError, match=r"takes_padding = False in its class. \(CUDA error: .* is capturing\)"):
        captured(torch.ones(2))

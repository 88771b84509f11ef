"""Functions of tensors that a GPU repeats as a whole, without the launch of each operation by the host.

A step of a graph model consists of hundreds of short operations, and a GPU would spend most of the time waiting for the
next one to be launched. A CUDA graph launches all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from fitsnap_nn.errors import FitsnapError

NOT_CAPTURED = (
    "a step of this model cannot be recorded as a CUDA graph: an operation waits for the GPU, or copies from the host. "
    "If the model is your own, see docs/own_models.md, or set takes_padding = False in its class."
)
ALIGNMENT = 256  # bytes; of the arrays within a buffer, as of the allocator of torch


class Captured:
    """A function of tensors, which a GPU captures as a CUDA graph for each combination of shapes that recurs.

    A combination is evaluated as usual when it occurs for the first time, captured the second time, and replayed from
    then on. Elsewhere than on a GPU the function is simply called.

    Args:
        function: returns tensors on the device. It depends on its arguments and on tensors that remain in place, such
            as weights, and never waits for the device: shapes follow from the shapes of its arguments.
        device: on which it is evaluated.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], device: torch.device) -> None:
        self._function = function
        self._device = device
        self._calls: dict[tuple[object, ...], _Call] = {}
        self._pool: Any = None  # of memory, shared by all graphs

    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return the function of the inputs.

        Args:
            inputs: on the host or on the device.

        Returns:
            Its results; valid until the next call.
        """
        if self._device.type != "cuda":
            return self._function(*(one.to(self._device) for one in inputs))
        key = tuple((one.shape, one.dtype, one.device.type) for one in inputs)
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(inputs, self._device)
            call.fill(inputs)
            return self._function(*call.inputs)
        call.fill(inputs)
        if call.graph is None:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            call.capture(self._function, self._pool)
        assert call.graph is not None
        call.graph.replay()
        return call.outputs


class _Call:
    """Inputs, outputs and CUDA graph of one combination of shapes.

    All inputs that come from the host share one buffer, so that they need one transfer. There are two such buffers in
    pinned memory: while the transfer of one call is under way, the host fills the other for the next.

    Attributes:
        inputs: on the device; they remain in place.
        outputs: of the graph; they remain in place.
        graph: ``None`` until it is captured.
    """

    def __init__(self, inputs: Sequence[Tensor], device: torch.device) -> None:
        self.outputs: Sequence[Tensor] = ()
        self.graph: torch.cuda.CUDAGraph | None = None
        self._from_host = [one.device != device for one in inputs]
        hosted = [one for one, from_host in zip(inputs, self._from_host, strict=True) if from_host]
        sizes = [-(-one.nbytes // ALIGNMENT) * ALIGNMENT for one in hosted]
        self._buffer = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        staging = [torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=True) for _ in range(2)]
        starts = list(accumulate(sizes[:-1], initial=0)) if sizes else []
        views = iter(_views(self._buffer, hosted, starts))
        self.inputs = [
            next(views) if from_host else torch.empty_like(one)
            for one, from_host in zip(inputs, self._from_host, strict=True)
        ]
        events = [torch.cuda.Event() for _ in staging]  # type: ignore[no-untyped-call]
        self._staged = [(one, _views(one, hosted, starts), event) for one, event in zip(staging, events, strict=True)]

    def fill(self, inputs: Sequence[Tensor]) -> None:
        """Copy inputs of these shapes to the device."""
        self._staged.reverse()
        staging, views, copied = self._staged[0]
        copied.synchronize()
        places = iter(views)
        for one, own, from_host in zip(inputs, self.inputs, self._from_host, strict=True):
            (next(places) if from_host else own).copy_(one)
        self._buffer.copy_(staging, non_blocking=True)
        copied.record()

    def capture(self, function: Callable[..., Sequence[Tensor]], pool: Any) -> None:
        """Capture the function of the inputs.

        Raises:
            FitsnapError: the function waits for the device.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may use CUDA meanwhile, such as the progress line's query of memory.
            with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                self.outputs = tuple(function(*self.inputs))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise FitsnapError(f"{NOT_CAPTURED} ({str(error).splitlines()[0]})") from error
        self.graph = graph


def _views(buffer: Tensor, like: Sequence[Tensor], starts: Sequence[int]) -> list[Tensor]:
    """Return tensors of the shapes and types of others, at the given bytes of a buffer."""
    return [
        buffer[start : start + one.nbytes].view(one.dtype).view(one.shape)
        for start, one in zip(starts, like, strict=True)
    ]

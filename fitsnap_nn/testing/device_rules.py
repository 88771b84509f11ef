"""Check without a GPU that a model can run on one: devices of tensors, synchronisation, and order of sums.

The model runs on torch's device ``meta``, which has shapes but no values. Everything that needs values fails there, and
a dispatch mode sees every operation of both passes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fitsnap_nn.data.properties import STANDARD
from fitsnap_nn.inputs.graph.padded import PaddedGraph
from fitsnap_nn.models.base import GraphModel
from fitsnap_nn.models.prediction import predict
from fitsnap_nn.testing.targets import properties_of

META = torch.device("meta")
# Operations whose result the host waits for: values, or sizes that depend on values.
SYNCHRONISING = {
    *("_local_scalar_dense", "bincount", "equal", "is_nonzero", "masked_select", "nonzero", "nonzero_static"),
    *("repeat_interleave", "unique_dim", "unique_consecutive", "_unique", "_unique2"),
}
# Operations that add in no fixed order on a GPU, or only after sorting.
UNORDERED = {
    *(
        "_embedding_bag_backward",
        "_embedding_bag_dense_backward",
        "embedding_dense_backward",
        "index_add",
        "index_add_",
    ),
    *("index_reduce", "put_", "scatter_add", "scatter_add_", "scatter_reduce", "segment_reduce"),
}


class DeviceRules(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raises an AssertionError where an operation would not run on a GPU, or would make the host wait for it.

    Args:
        ordered: also reject operations whose order of additions is not fixed.

    Attributes:
        count: number of operations.
    """

    def __init__(self, *, ordered: bool = True) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ordered = ordered
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += 1
        name = func.overloadpacket.__name__
        arguments = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, Tensor)]
        assert name not in SYNCHRONISING, f"{func} makes the host wait"
        if self.ordered:
            assert name not in UNORDERED, f"{func} adds in no fixed order"
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            indices = [one for one in args[1] if one is not None]
            assert all(one.dtype == torch.int64 for one in indices), f"{func} with a mask makes the host wait"
            assert not self.ordered or True not in args[3:], f"{func} sorts its indices"
        # Tensors without dimensions on the CPU count as numbers on every device.
        devices = {one.device for one in arguments if one.dim()}
        assert len(devices) < 2, f"{func} combines tensors on {devices}"
        result = func(*args, **(kwargs or {}))
        moved = {one.device for one in tree_leaves(result) if isinstance(one, Tensor)} - devices
        assert not (devices and moved), f"{func} copies from {devices} to {moved}"
        return result


def assert_runs_on_a_device(model: GraphModel, graph: PaddedGraph, *, ordered: bool = True) -> None:
    """Assert that a training step and a prediction of a model obey `DeviceRules`.

    Args:
        model: on the CPU; left unchanged.
        graph: padded graph on the CPU, with vectors of the model's precision.
        ordered: see `DeviceRules`.
    """
    there, batch = copy.deepcopy(model).to(META), graph.to(META)
    weights = [weight for weight in there.parameters() if weight.requires_grad and weight.numel()]
    properties = (*STANDARD, *properties_of(model))
    with DeviceRules(ordered=ordered) as rules:
        found = predict(there, batch, properties, create_graph=True)
        loss = sum((values.double() ** 2).sum() for values in found.values.values())
        assert isinstance(loss, Tensor)
        gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        predict(there, batch, properties)
    assert rules.count > 0
    assert any(one is not None for one in gradients)
    assert {one.device for one in (*gradients, *found.values.values()) if one is not None} == {META}

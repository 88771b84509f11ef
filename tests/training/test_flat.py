"""Parameters as one vector, some of them frozen."""

from __future__ import annotations

import torch

from fitsnap_nn.training.flat import FlatParameters


def test_frozen_parameters_are_left_alone():
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(2, 1)
    first.requires_grad_(False)
    model = torch.nn.Sequential(first, second)
    kept = first.weight.clone()
    flat = FlatParameters(model)
    assert flat.vector.shape == (3,)
    assert [id(parameter) for parameter in flat.parameters] == [id(second.weight), id(second.bias)]
    flat.assign(torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(second.weight, torch.tensor([[1.0, 2.0]]))
    assert torch.equal(second.bias, torch.tensor([3.0]))
    model(torch.ones(1, 3)).sum().backward()
    assert first.weight.grad is None
    assert torch.equal(flat.gradient[2:], torch.ones(1))
    assert torch.equal(first.weight, kept)

"""A model on one configuration: from a record to a batch, and to the whole potential's prediction in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch

from fitsnap_nn.data.configuration import Configuration, Floats
from fitsnap_nn.descriptors.record import AnyRecord, GraphRecord
from fitsnap_nn.models.contract import Batch, DescriptorBatch, Graph, Model, predict

M = TypeVar("M", bound=Model)


class Evaluation(NamedTuple):
    """What a potential says of one configuration of N atoms, the reference potential included.

    Attributes:
        energy: eV.
        forces: (N, 3) eV/Å; ``None`` when none were asked for.
        stress: (6,) eV/Å³, Voigt order xx yy zz yz xz xy, ASE sign; ``None`` when its record has no strain
            derivatives, or the cell is not fully periodic.
    """

    energy: float
    forces: Floats | None
    stress: Floats | None


def single_batch(
    configuration: Configuration, record: AnyRecord, elements: Sequence[str], dtype: torch.dtype | None
) -> Batch:
    """A batch of one; its tensors are views of the record's arrays where the type allows.

    Args:
        dtype: of numbers; ``None`` leaves them, and the indices of edges, of the types that the record has.
    """
    atoms = {
        "species": torch.from_numpy(configuration.element_indices(elements)),
        "config": torch.zeros(len(configuration), dtype=torch.int64),
        "n_atoms": torch.tensor([len(configuration)]),
        "volume": torch.tensor([configuration.volume or 1.0], dtype=torch.float64),
    }

    def tensors(*names: str) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(getattr(record, name)) for name in names}

    def numbers(*names: str) -> dict[str, torch.Tensor]:
        return {name: tensor if dtype is None else tensor.to(dtype) for name, tensor in tensors(*names).items()}

    if isinstance(record, GraphRecord):
        edges = tensors("edge_i", "edge_j", "reverse")
        if dtype is not None:
            edges = {name: tensor.long() for name, tensor in edges.items()}
        return Graph(**atoms, **edges, **numbers("vectors"))
    pairs = tensors("pair_i", "pair_j")
    return DescriptorBatch(**atoms, **pairs, **numbers("descriptors", "gradients", "strain_gradients"))


def in_double(model: M) -> M:
    """A copy of a model that computes in float64 on the CPU; the weights have the same values."""
    double = copy.deepcopy(model).cpu()
    double.set_precision(torch.float64)
    return double.eval()


def evaluate(model: Model, configuration: Configuration, record: AnyRecord, *, forces: bool = True) -> Evaluation:
    """The prediction of a float64 model on a configuration's record, with the reference potential added.

    Args:
        forces: whether the record has gradients, which an atom without neighbours does not show.
    """
    batch = single_batch(configuration, record, model.elements, torch.float64)
    return evaluate_batch(model, [configuration], [record], batch, forces=forces)[0]


def evaluate_batch(
    model: Model, configurations: Sequence[Configuration], records: Sequence[AnyRecord], batch: Batch, *, forces: bool
) -> list[Evaluation]:
    """The same of several configurations, whose records make up a batch."""
    stressed = [record.has_strain and all(c.pbc) for c, record in zip(configurations, records, strict=True)]
    found = predict(model, batch, forces=forces, stress=any(stressed))
    ends = batch.n_atoms.cumsum(0).tolist()
    evaluations = []
    for number, (record, end) in enumerate(zip(records, ends, strict=True)):
        rows = slice(end - int(batch.n_atoms[number]), end)
        energy = float(found.energy[number]) + record.reference_energy
        own = None if found.forces is None else found.forces[rows].numpy() + record.reference_forces
        stress = found.stress[number].numpy() if found.stress is not None and stressed[number] else None
        evaluations.append(Evaluation(energy, own, None if stress is None else stress + record.reference_stress))
    return evaluations

"""Targets that a model predicts besides the energy: scalars, vectors and tensors, of atoms or of configurations.

A model computes the irreducible blocks of each target for each atom. `Targets` adds them up and makes the Cartesian or
spherical components of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fitsnap_nn.data.configuration import Floats
from fitsnap_nn.data.properties import Property
from fitsnap_nn.data.symmetries import Block, Symmetry, from_blocks, symmetry_of
from fitsnap_nn.inputs.batch import Batch
from fitsnap_nn.inputs.constants import Float64Constants
from fitsnap_nn.inputs.graph.batch import Graph
from fitsnap_nn.models.elements import PerElement, along

if TYPE_CHECKING:
    from fitsnap_nn.settings.rows import PropertyRow

TARGET_PARTS = ("targets.", "target_heads.", "target_networks.")  # of a model's state dict
# Values of the irreducible blocks (atoms, 2l + 1) of each target, by name.
Blocks = Mapping[str, Sequence[Tensor]]


class TargetError(ValueError):
    """A model lacks what a target needs; the message names the target and the reason."""


@dataclass(frozen=True)
class TargetSpec:
    """One target of a model; the fields are those of a row of section TARGETS that determine the model."""

    name: str
    per: str
    symmetry: str
    degree: int = 0
    pseudo: bool = False
    intensive: bool = False
    head: str = ""

    @cached_property
    def tensor(self) -> Symmetry:
        """Its behaviour under rotations."""
        return symmetry_of(self.symmetry, self.degree, self.pseudo)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Irreducible blocks."""
        return self.tensor.blocks


def describe_targets(rows: Iterable[PropertyRow]) -> list[dict[str, Any]]:
    """Return what the description of a model says of the targets of an input, as plain values."""
    names = TargetSpec.__dataclass_fields__
    return [{name: value for name, value in asdict(row).items() if name in names} for row in rows]


class Targets(nn.Module):
    """Target values C sum_i (s_b x_ib + c_Z), from the irreducible blocks x_ib of the atoms i of a configuration.

    C maps blocks to components. The scale s_b of a block, and the baseline c_Z of an element for invariant blocks, are
    fitted to the data before training. Targets per atom have no sum, intensive ones the mean.

    Args:
        descriptions: fields of `TargetSpec` of each target.
        n_elements: number of elements.

    Attributes:
        specs: the targets by name.
        faint: blocks for which the network has no features in the training set, by name; known after
            `GraphModel.fit_to_data`.
    """

    def __init__(self, descriptions: Sequence[Mapping[str, Any]], n_elements: int) -> None:
        super().__init__()
        self.specs = {spec.name: spec for spec in (TargetSpec(**one) for one in descriptions)}
        self.faint: dict[str, list[Block]] = {}
        for name, spec in self.specs.items():
            self.register_buffer(f"{name}_baseline", torch.zeros(n_elements, dtype=torch.float64))
            self.register_buffer(f"{name}_scale", torch.ones(len(spec.blocks), dtype=torch.float64))
        matrices = {name: torch.from_numpy(from_blocks(spec.tensor)) for name, spec in self.specs.items()}
        self._from_blocks = Float64Constants(**matrices)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Baselines stay float64, like element energies: `fn` also converts types.
        kept = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in kept.items():
            setattr(self, name, buffer.to(getattr(self, name).device))
        return self

    def described(self) -> list[dict[str, Any]]:
        """Return the fields of all targets as plain values, the argument of the constructor."""
        return [asdict(spec) for spec in self.specs.values()]

    @torch.no_grad()
    def set_baseline(self, name: str, baseline: Floats, scales: Floats) -> None:
        """Set baseline and scales of a target.

        Args:
            name: name of the target.
            baseline: (elements,) added to the invariant block of each atom.
            scales: (blocks,).
        """
        self.get_buffer(f"{name}_baseline").copy_(torch.from_numpy(baseline))
        self.get_buffer(f"{name}_scale").copy_(torch.from_numpy(scales))

    def of_atoms(self, name: str, blocks: Sequence[Tensor], species: Tensor) -> Tensor:
        """Return the concatenated blocks of each atom in the units of the target, (atoms, sum of 2l + 1), float64.

        Args:
            name: name of the target.
            blocks: (atoms, 2l + 1) for each irreducible block.
            species: (atoms,) elements.
        """
        scales = self.get_buffer(f"{name}_scale")
        parts = [block.double() * scales[number] for number, block in enumerate(blocks)]
        for number, block in enumerate(self.specs[name].blocks):
            if block.is_invariant:
                parts[number] = parts[number] + self.get_buffer(f"{name}_baseline")[species][:, None]
        return torch.cat(parts, dim=1)

    def components(self, name: str, blocks: Sequence[Tensor], species: Tensor) -> Tensor:
        """Return the components (atoms, components) that `of_atoms` stands for, float64; same arguments."""
        return self.of_atoms(name, blocks, species) @ self._from_blocks[name].t()

    def values(self, name: str, blocks: Sequence[Tensor], batch: Batch) -> Tensor:
        """Return the values of a target.

        Args:
            name: name of the target.
            blocks: (N, 2l + 1) for each irreducible block.
            batch: N atoms in C configurations.

        Returns:
            (N or C, components) float64.
        """
        return self._summed(name, self.components(name, blocks, batch.species), batch)

    def baseline_values(self, batch: Batch) -> dict[str, Tensor]:
        """Return the values of all targets for blocks x that are 0, see `values`.

        Args:
            batch: N atoms in C configurations; it may be on another device than the baselines.
        """
        found, device = {}, batch.species.device
        for name, spec in self.specs.items():
            baseline = self.get_buffer(f"{name}_baseline").to(device)[batch.species][:, None]
            blocks = [
                baseline if block.is_invariant else baseline.new_zeros(len(baseline), block.size)
                for block in spec.blocks
            ]
            components = torch.cat(blocks, dim=1) @ self._from_blocks[name].t().to(device)
            found[name] = self._summed(name, components, batch)
        return found

    def _summed(self, name: str, components: Tensor, batch: Batch) -> Tensor:
        """Return the values of a target from the components (N, components) of the atoms."""
        spec = self.specs[name]
        if spec.per == "configuration":
            components = batch.sum_by_configuration(components)
            if spec.intensive:
                components = components / batch.n_atoms[:, None]
        return components


class TargetModel(ABC):
    """Base class of models on graphs, as far as targets are concerned.

    Attributes:
        targets: what `outputs` predicts besides the energy; ``None``: nothing.
    """

    targets: Targets | None

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Return the output for the energy, see `GraphModel`."""

    @abstractmethod
    def energies_of(self, batch: Graph, outputs: Tensor) -> Tensor:
        """Return the per-atom energies (N,), eV, float64, that follow from the outputs (N,) of `forward`."""

    def outputs(self, graph: Graph, names: Collection[str]) -> tuple[Tensor, Blocks]:
        """Return the result of `forward`, and the irreducible blocks of targets, from one forward pass.

        Args:
            graph: N atoms.
            names: names of targets; may be empty.

        Raises:
            NotImplementedError: the model has no targets.
        """
        if names:
            raise NotImplementedError(f"{type(self).__name__} predicts the energy and its derivatives only")
        return self.forward(graph), {}

    def energies_and_targets(self, graph: Graph, names: Collection[str]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return per-atom energies (N,), eV, float64, and the values of targets, see `Targets.values`."""
        outputs, blocks = self.outputs(graph, names)
        assert self.targets is not None, "the caller has asked `predicts`"
        values = {name: self.targets.values(name, found, graph) for name, found in blocks.items()}
        return self.energies_of(graph, outputs), values

    def targets_of_atoms(self, graph: Graph, names: Collection[str]) -> Mapping[str, Tensor]:
        """Return the values (owned atoms, components) of targets, float64.

        Of a target per configuration they are the contributions of the atoms, of which it is the sum or, if it is
        intensive, the mean.

        Args:
            graph: owned atoms, followed by ghosts.
            names: names of targets.
        """
        _, blocks = self.outputs(graph, names)
        assert self.targets is not None, "the caller has asked `predicts`"
        own = graph.owned
        species = graph.species[:own]
        return {
            name: self.targets.components(name, [block[:own] for block in found], species)
            for name, found in blocks.items()
        }

    @property
    def specs(self) -> Mapping[str, TargetSpec]:
        """Targets by name."""
        return {} if self.targets is None else self.targets.specs

    def described_targets(self) -> dict[str, Any]:
        """Return the part of the description that constructs the targets; empty without any."""
        return {} if self.targets is None else {"targets": self.targets.described()}

    def layouts_of_targets(self) -> dict[str, PerElement]:
        """Return the layouts of the baselines of targets, see `Model.per_element`."""
        return {f"targets.{name}_baseline": along(torch.zeros(1)) for name in self.specs}

    def baseline_values(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the values of targets without the network, see `Model.baseline_values`."""
        return {} if self.targets is None else self.targets.baseline_values(batch)

    def predicts(self, name: str) -> bool:
        """Return whether the model predicts a target, see `Model.predicts`."""
        return name in self.specs

    def property_values(self, batch: Graph, properties: Sequence[Property]) -> Mapping[str, Tensor]:
        """Return the values of targets, see `Model.property_values`."""
        return self.energies_and_targets(batch, [one.name for one in properties])[1]

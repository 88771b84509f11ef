"""Behler-Parrinello networks on descriptors of atomic environments.

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007): the energy is a sum over atoms,
E = sum_i e(B_i), each term a feed-forward network of the descriptors of atom i.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from fitsnap_nn.data.properties import ENERGY, Property
from fitsnap_nn.inputs import DescriptorInput, input_from_payload
from fitsnap_nn.inputs.snap.batch import DescriptorBatch
from fitsnap_nn.models.baselines import standardize as standardization
from fitsnap_nn.models.bpnn_targets import TargetNetworks
from fitsnap_nn.models.descriptor_model import DescriptorModel
from fitsnap_nn.models.elements import PerElement, along
from fitsnap_nn.models.evaluation import to_float64
from fitsnap_nn.models.explicit import Explicit, Pullback, mean_of
from fitsnap_nn.models.last_layer import HiddenFeatures
from fitsnap_nn.models.mlp import ACTIVATIONS, ONE_HOT, PER_ELEMENT, SHARED, energy_and_gradient
from fitsnap_nn.models.targets import Targets

FIRST_WEIGHT = "networks.{}.0.weight"


class PlainNetwork(NamedTuple):
    """Network of one element, with element energy and scale folded into its layers; float64, output in eV.

    Attributes:
        shift, scale: (D,); the input of the first layer is (B - shift) / scale.
        layers: (weight (out, in), bias (out,)) per layer; the last layer is linear.
        activation: name of the activation of the hidden layers.
    """

    shift: Tensor
    scale: Tensor
    layers: tuple[tuple[Tensor, Tensor], ...]
    activation: str


class BPNN(DescriptorModel):
    """e_i = E0(Z_i) + s net_Z(d (B_i - mean_Z) / deviation_Z), with d the deviation over all atoms.

    The initial weights of the first layer are divided by d, so that training starts from standardised inputs while the
    inputs keep the magnitude of the descriptors. FitSNAP's first layer acts on inputs of the same magnitude, so that
    its learning rates can be used unchanged.

    Args:
        model_input: per-atom descriptors, or the ``payload()`` of such an input.
        hidden: nodes per hidden layer.
        activation: a key of ``ACTIVATIONS``.
        multi_element_option: 1: one network for all elements; 2: one per element; 3: one network with the element as
            one-hot input.
        standardize: let `fit_to_data` standardise the descriptors over the training set.
        committee: number of members, networks with different initial weights, of which the model is the mean.
        targets: descriptions of targets, see `describe_targets`: invariant scalars, with networks of their own. Without
            a committee only.
    """

    def __init__(
        self,
        model_input: DescriptorInput | Mapping[str, Any],
        hidden: Sequence[int],
        activation: str = "softplus",
        multi_element_option: int = SHARED,
        standardize: bool = True,
        committee: int = 1,
        targets: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__()
        if isinstance(model_input, Mapping):
            model_input = cast(DescriptorInput, input_from_payload(model_input))
        self._input = model_input
        self.elements = self._input.elements
        self.hidden = tuple(hidden)
        self.activation = activation
        self.option = multi_element_option
        self.committee = committee
        self._standardizes = standardize
        n_descriptors = self._input.size
        inputs = n_descriptors + (len(self.elements) if self.option == ONE_HOT else 0)
        self._per_member = len(self.elements) if self.option == PER_ELEMENT else 1
        sizes = (inputs, *self.hidden, 1)
        # The networks of the first member come first: its weights are contiguous in `FlatParameters`.
        self._linear = [[nn.Linear(a, b) for a, b in pairwise(sizes)] for _ in range(committee * self._per_member)]
        self.networks = nn.ModuleList(nn.Sequential(*layers) for layers in self._linear)
        shape = (len(self.elements), n_descriptors)
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("element_energies", torch.zeros(len(self.elements), dtype=torch.float64))
        self.register_buffer("energy_scale", torch.ones((), dtype=torch.float64))
        self.targets: Targets | None = None
        if targets:
            self.targets = Targets(targets, len(self.elements))
            specs = self.targets.specs.values()
            self.target_networks = TargetNetworks(specs, inputs, self.hidden, activation, self._per_member)

    @property
    def input(self) -> DescriptorInput:
        return self._input

    @property
    def layout(self) -> str:
        members = f", committee of {self.committee}" if self.committee > 1 else ""
        return f"{self.shift.shape[1]} {' '.join(map(str, self.hidden))} 1, {self.activation}{members}"

    def description(self) -> dict[str, Any]:
        """Return architecture and hyperparameters, the argument of ``build_model``."""
        return {
            "architecture": "BPNN",
            "model_input": self._input.payload(),
            "hidden": list(self.hidden),
            "activation": self.activation,
            "multi_element_option": self.option,
            **({"committee": self.committee} if self.committee > 1 else {}),
            **({"targets": self.targets.described()} if self.targets else {}),
        }

    def per_element(self) -> Mapping[str, PerElement]:
        return {name: along(self.get_buffer(name)) for name in ("shift", "scale", "element_energies")}

    def state_for_elements(self, state: Mapping[str, Tensor], elements: Sequence[str]) -> dict[str, Tensor]:
        if self.targets and tuple(elements) != self.elements:
            raise ValueError("the networks of targets cannot be transferred to other elements")
        new = [element for element in self.elements if element not in elements]
        if new and self.option != PER_ELEMENT:
            raise ValueError(
                f"with multi_element_option = {self.option} one network, scaled to the descriptors of "
                f"{' '.join(elements)}, would have to serve {' '.join(new)} too; with multi_element_option = 2 new "
                "elements get networks of their own"
            )
        arranged = dict(state)
        if self.option == PER_ELEMENT:
            own = self.state_dict()
            for name in (name for name in own if name.startswith("networks.")):
                _, number, rest = name.split(".", 2)
                member, place = divmod(int(number), self._per_member)
                element = self.elements[place]
                there = element in elements
                old = member * len(elements) + elements.index(element) if there else 0
                arranged[name] = state[f"networks.{old}.{rest}"] if there else own[name]
        elif self.option == ONE_HOT:
            count = self.shift.shape[1]
            columns = [count + elements.index(element) for element in self.elements]
            for member in range(self.committee):
                name = FIRST_WEIGHT.format(member)
                arranged[name] = state[name][:, [*range(count), *columns]]
        return super().state_for_elements(arranged, elements)

    def fit_to_data(self, batches: Iterable[DescriptorBatch]) -> None:
        """Standardise each descriptor of each element to mean 0 and standard deviation 1 over the training set."""
        if self._standardizes:
            blocks = ((batch.species.numpy(), batch.descriptors.numpy()) for batch in batches)
            statistics = standardization(blocks, (self.shift.shape[0], self.shift.shape[1]))
            self.standardize(*(torch.from_numpy(array) for array in statistics))

    @torch.no_grad()
    def standardize(self, mean: Tensor, deviation: Tensor, overall: Tensor) -> None:
        """Set the standardisation of the descriptors.

        Args:
            mean, deviation: (E, D) per element.
            overall: (D,) standard deviation over all atoms.
        """
        self.shift.copy_(mean)
        self.scale.copy_(deviation / overall)
        for first, *_ in self._linear:
            first.weight[:, : len(overall)] /= overall
        if self.targets:
            self.target_networks.standardize(overall)

    def members(self) -> tuple[BPNN, ...]:
        """Return the members of the committee as models that share their tensors with this one."""
        if self.committee == 1:
            return (self,)
        made = []
        for start in range(0, len(self._linear), self._per_member):
            with torch.device("meta"):  # its own tensors are replaced: neither memory nor random numbers are needed
                one = BPNN(self._input, self.hidden, self.activation, self.option, self._standardizes)
            one._linear = self._linear[start : start + self._per_member]
            one.networks = nn.ModuleList(list(self.networks)[start : start + self._per_member])
            for name, buffer in self.named_buffers():
                setattr(one, name, buffer)
            made.append(one)
        return tuple(made)

    def predicts(self, name: str) -> bool:
        return self.targets is not None and name in self.targets.specs

    def baseline_values(self, batch: DescriptorBatch) -> Mapping[str, Tensor]:
        return {} if self.targets is None else self.targets.baseline_values(batch)

    def property_values(self, batch: DescriptorBatch, properties: Sequence[Property]) -> Mapping[str, Tensor]:
        if self.targets is None:
            return super().property_values(batch, properties)
        inputs = (batch.descriptors - self._of_atoms(self.shift, batch)) / self._of_atoms(self.scale, batch)
        if self.option == ONE_HOT:
            inputs = torch.cat([inputs, batch.one_hot(len(self.elements), inputs.dtype)], dim=1)
        outputs = {one.name: self.target_networks(one.name, inputs, batch.species) for one in properties}
        return {name: self.targets.values(name, [output], batch) for name, output in outputs.items()}

    def atom_features(self, batch: DescriptorBatch, of: str = "") -> Tensor:
        if (of and of != ENERGY.name) or self.committee > 1:
            raise NotImplementedError("BPNN provides the features of its energy only, and without a committee")
        parts = list(self.hidden_features(batch))
        found = parts[0].values.new_zeros(len(batch.species), parts[0].values.shape[1])
        for part in parts:
            found[part.members] = part.values
        return found

    def atom_energies(self, batch: DescriptorBatch) -> Tensor:
        return self.energies_of_members(batch).mean(dim=0)

    def energies_of_members(self, batch: DescriptorBatch) -> Tensor:
        """Return the atom energies (committee, N), eV, float64, of each member."""
        inputs = (batch.descriptors - self._of_atoms(self.shift, batch)) / self._of_atoms(self.scale, batch)
        outputs = inputs.new_zeros(self.committee, len(inputs))
        for member in range(self.committee):
            for number, atoms in self._atoms_by_network(batch, member):
                weights, biases = self._with_output_scale(*self._layers(number, batch.species[atoms]))
                values = inputs[atoms]
                for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                    values = ACTIVATIONS[self.activation].value(values @ weight.t() + bias)
                index = (torch.full_like(atoms, member), atoms)
                outputs = outputs.index_put(index, (values @ weights[-1].t() + biases[-1]).squeeze(1))
        return self._of_atoms(self.element_energies, batch) + outputs

    def explicit(self, batch: DescriptorBatch) -> Explicit:
        return mean_of([self._explicit(batch, member) for member in range(self.committee)])

    def _explicit(self, batch: DescriptorBatch, member: int) -> Explicit:
        scale = self._of_atoms(self.scale, batch)
        inputs = (batch.descriptors - self._of_atoms(self.shift, batch)) / scale
        output_scale = self.energy_scale.to(inputs.dtype)
        if self.option != PER_ELEMENT:
            weights, biases = self._layers(member, batch.species)

            def run() -> tuple[Tensor, Tensor, Pullback]:
                outputs, gradients, pullback = energy_and_gradient(
                    inputs, weights, biases, self.activation, input_scale=scale, output_scale=output_scale
                )
                return self._energies(batch, outputs), gradients, lambda e, g: pullback(e.to(inputs.dtype), g)

            return Explicit([*weights, *biases], run)
        parts = [
            (atoms, *self._layers(number, batch.species)) for number, atoms in self._atoms_by_network(batch, member)
        ]

        def run_networks() -> tuple[Tensor, Tensor, Pullback]:
            outputs, gradients, pullbacks = inputs.new_empty(len(inputs)), torch.empty_like(inputs), []
            for atoms, weights, biases in parts:
                rows = scale if len(scale) == 1 else scale[atoms]
                outputs[atoms], gradients[atoms], pullback = energy_and_gradient(
                    inputs[atoms], weights, biases, self.activation, input_scale=rows, output_scale=output_scale
                )
                pullbacks.append((atoms, pullback))

            def pull_back(energies_bar: Tensor, gradients_bar: Tensor) -> list[Tensor]:
                energies_bar = energies_bar.to(inputs.dtype)
                return [bar for m, pullback in pullbacks for bar in pullback(energies_bar[m], gradients_bar[m])]

            return self._energies(batch, outputs), gradients, pull_back

        return Explicit([tensor for _, weights, biases in parts for tensor in (*weights, *biases)], run_networks)

    def last_layer_parameters(self) -> Sequence[Tensor]:
        return [tensor for layer in self.last_layers for tensor in (layer.weight, layer.bias)]

    @property
    def last_layers(self) -> list[nn.Linear]:
        """The output layer of each network."""
        return [layers[-1] for layers in self._linear]

    @property
    def constant_features(self) -> int:
        """Number of inputs of each output layer that do not depend on the descriptors: one-hot elements, or none."""
        return len(self.elements) if self.option == ONE_HOT and not self.hidden else 0

    @torch.no_grad()
    def hidden_features(self, batch: DescriptorBatch) -> Iterator[HiddenFeatures]:
        """Yield the inputs of the output layer of each network, the descriptors if there is no hidden layer."""
        scale = self._of_atoms(self.scale, batch)
        inputs = (batch.descriptors - self._of_atoms(self.shift, batch)) / scale
        value, slope_of, _ = ACTIVATIONS[self.activation]
        for number, members in self._atoms_by_network(batch):
            weights, biases = self._layers(number, batch.species[members])
            values, slopes = inputs[members], []
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                preactivations = values @ weight.t() + bias
                values = value(preactivations)
                slopes.append(slope_of(preactivations, values))
            if self.constant_features:
                one_hot = nn.functional.one_hot(batch.species[members], len(self.elements))
                values = torch.cat([values, one_hot.to(values.dtype)], dim=1)
            rows = scale if len(scale) == 1 else scale[members]
            yield HiddenFeatures(members, values, self.constant_features, rows, weights[:-1], slopes)

    def _energies(self, batch: DescriptorBatch, outputs: Tensor) -> Tensor:
        return self._of_atoms(self.element_energies, batch) + outputs

    def _of_atoms(self, by_element: Tensor, batch: DescriptorBatch) -> Tensor:
        """Return the row (N, ...) of each atom's element, or (1, ...) if there is only one element."""
        return by_element if len(self.elements) == 1 else by_element[batch.species]

    def _atoms_by_network(self, batch: DescriptorBatch, member: int = 0) -> Iterator[tuple[int, Tensor]]:
        """Yield the index of each network of a member and the atoms (M,) that it is applied to."""
        if self.option != PER_ELEMENT:
            yield member, torch.arange(len(batch.species), device=batch.species.device)
            return
        for element in range(self._per_member):
            yield member * self._per_member + element, torch.where(batch.species == element)[0]

    def _layers(self, number: int, species: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return weights and biases of a network, without s; the one-hot input becomes a per-atom bias."""
        weights: list[Tensor] = [layer.weight for layer in self._linear[number]]
        biases: list[Tensor] = [layer.bias for layer in self._linear[number]]
        if self.option == ONE_HOT:
            weights[0], of_elements = torch.split(weights[0], [self.shift.shape[1], len(self.elements)], dim=1)
            biases[0] = biases[0] + of_elements.t()[species]
        return weights, biases

    def _with_output_scale(self, weights: list[Tensor], biases: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the same layers with s folded into the last one."""
        energy_scale = self.energy_scale.to(weights[0].dtype)
        return [*weights[:-1], weights[-1] * energy_scale], [*biases[:-1], biases[-1] * energy_scale]

    def set_precision(self, dtype: torch.dtype) -> None:
        """Set the type of weights and standardisation; energies stay float64."""
        self.networks.to(dtype)
        if self.targets:
            self.target_networks.to(dtype)
        self.shift, self.scale = self.shift.to(dtype), self.scale.to(dtype)

    def plain_networks(self) -> list[PlainNetwork]:
        """Return one network per element, with one-hot input, target scale and element energy folded into its layers.

        Returns:
            Networks in the order of ``elements``, float64.
        """
        double = to_float64(self, torch.device("cpu"))
        return [double._folded_network(element) for element in range(len(self.elements))]

    @torch.no_grad()
    def _folded_network(self, element: int) -> PlainNetwork:
        place = element if self.option == PER_ELEMENT else 0
        members = []
        for start in range(0, len(self._linear), self._per_member):
            weights, biases = self._with_output_scale(*self._layers(start + place, torch.tensor([element])))
            biases[0] = biases[0].reshape(-1)
            members.append((weights, biases))
        weights, biases = _mean_network(members)
        biases[-1] = biases[-1] + self.element_energies[element]
        layers = tuple((weight.detach(), bias.detach()) for weight, bias in zip(weights, biases, strict=True))
        return PlainNetwork(self.shift[element], self.scale[element], layers, self.activation)


def _mean_network(members: Sequence[tuple[list[Tensor], list[Tensor]]]) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights and biases of one network whose output is the mean of those of several networks of one shape.

    Its hidden layers are theirs side by side, each connected to itself only.
    """
    if len(members) == 1:
        return members[0]
    weights = [_block_diagonal(parts) for parts in zip(*(one for one, _ in members), strict=True)]
    biases = [torch.cat(parts) for parts in zip(*(one for _, one in members), strict=True)]
    if len(weights) > 1:  # all have the same inputs
        weights[0] = torch.cat([one[0] for one, _ in members])
        weights[-1], biases[-1] = weights[-1].sum(dim=0, keepdim=True), biases[-1].sum(dim=0, keepdim=True)
    else:
        weights[0] = torch.cat([one[0] for one, _ in members]).sum(dim=0, keepdim=True)
        biases[0] = biases[0].sum(dim=0, keepdim=True)
    return [*weights[:-1], weights[-1] / len(members)], [*biases[:-1], biases[-1] / len(members)]


def _block_diagonal(parts: Sequence[Tensor]) -> Tensor:
    joined: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
    return joined

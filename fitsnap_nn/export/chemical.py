"""Networks on the chemical bispectrum (``chemflag``), in the form whose forces LAMMPS computes rightly.

With several densities many components are the same function of the positions: B^{abc}_{j1 j2 j} does not change
when the elements of two equal j are exchanged. A network may weigh such twins differently, but LAMMPS' ``mliap``
takes the derivative by one of them for all (it multiplies it by 2 or 3 instead of adding them up), and its forces
are then not those of its energy. Giving twins the mean of their weights changes no energy, and makes the
derivatives equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import torch

from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.settings.schema import Bispectrum

Component = tuple[tuple[int, int, int], tuple[int, int, int]]


def symmetrized(networks: Sequence[PlainNetwork], bispectrum: Bispectrum) -> list[PlainNetwork]:
    """Networks of the same energies, whose derivatives by components that are always equal are equal."""
    if not bispectrum.chemflag:
        return list(networks)
    twins = twin_components(max(bispectrum.twojmax), len(bispectrum.type))
    return [_symmetrized(network, twins) for network in networks]


def twin_components(twojmax: int, n_elements: int) -> list[int]:
    """The class of each component, in LAMMPS' order; components of one class are equal for any arrangement of atoms."""
    angular = [
        (j1, j2, j)
        for j1 in range(twojmax + 1)
        for j2 in range(j1 + 1)
        for j in range(j1 - j2, min(twojmax, j1 + j2) + 1, 2)
        if j >= j1
    ]
    elements = product(range(n_elements), repeat=3)
    classes: dict[Component, int] = {}
    return [classes.setdefault(_representative(abc, js), len(classes)) for abc in elements for js in angular]


def _representative(elements: tuple[int, ...], angular: tuple[int, int, int]) -> Component:
    """The least of the component's twins: elements move with their j, and only the order of equal j is free."""
    twins = []
    for order in permutations(range(3)):
        if all(angular[position] == angular[moved] for position, moved in enumerate(order)):
            first, second, third = (elements[moved] for moved in order)
            twins.append((first, second, third))
    return min(twins), angular


def _symmetrized(network: PlainNetwork, twins: Sequence[int]) -> PlainNetwork:
    """The first layer's weights of the descriptors themselves, averaged over twins; the bias keeps the energy."""
    index = torch.tensor(twins)
    weight, bias = network.layers[0]
    by_component = weight / network.scale
    sums = by_component.new_zeros(len(weight), int(index.max()) + 1).index_add(1, index, by_component)
    mean = (sums / torch.bincount(index))[:, index]
    shifted_bias = bias + (mean - by_component) @ network.shift
    return network._replace(layers=((mean * network.scale, shifted_bias), *network.layers[1:]))

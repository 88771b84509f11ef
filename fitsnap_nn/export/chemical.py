"""Symmetrisation of networks on the chemical bispectrum (``chemflag``), for correct forces in LAMMPS.

With one density per element, many bispectrum components are symmetry-equivalent, that is the same function of the
positions: B^{abc}_{j1 j2 j} is invariant if the elements of two equal j are exchanged. A network can have different
weights for equivalent components. LAMMPS' ``mliap`` however uses the derivative with respect to one of them, times 2
or 3, instead of the sum over all, so that its forces are not the gradient of its energy. Averaging the weights over
equivalent components leaves the energy unchanged and makes these derivatives equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import torch

from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.settings.descriptors import angular_momenta
from fitsnap_nn.settings.schema import Bispectrum

Component = tuple[tuple[int, int, int], tuple[int, int, int]]


def symmetrized(networks: Sequence[PlainNetwork], bispectrum: Bispectrum) -> list[PlainNetwork]:
    """Return networks with the same energies and equal derivatives with respect to equivalent components.

    Args:
        networks: one network per element.
        bispectrum: options of the descriptors.

    Returns:
        The networks; unchanged without ``chemflag``.
    """
    if not bispectrum.chemflag:
        return list(networks)
    equivalent = equivalent_components(max(bispectrum.twojmax), len(bispectrum.type))
    return [_symmetrized(network, equivalent) for network in networks]


def equivalent_components(twojmax: int, n_elements: int) -> list[int]:
    """Return the equivalence class of each bispectrum component, in LAMMPS' order.

    Args:
        twojmax: twice the maximum angular momentum.
        n_elements: number of elements.

    Returns:
        Number of the class of each component; components of a class are equal for any arrangement of atoms.
    """
    angular = list(angular_momenta(twojmax))
    elements = product(range(n_elements), repeat=3)
    classes: dict[Component, int] = {}
    return [classes.setdefault(_representative(abc, js), len(classes)) for abc in elements for js in angular]


def _representative(elements: tuple[int, ...], angular: tuple[int, int, int]) -> Component:
    """Return the smallest equivalent component: elements are permuted together with their j, among equal j only."""
    equivalent = []
    for order in permutations(range(3)):
        if all(angular[position] == angular[moved] for position, moved in enumerate(order)):
            first, second, third = (elements[moved] for moved in order)
            equivalent.append((first, second, third))
    return min(equivalent), angular


def _symmetrized(network: PlainNetwork, equivalent: Sequence[int]) -> PlainNetwork:
    """Return a network whose first-layer weights are averaged over equivalent components.

    Weights refer to standardised descriptors; the average is over weights of the descriptors themselves. The bias
    absorbs the change of the shift, which keeps the energy.
    """
    index = torch.tensor(equivalent)
    weight, bias = network.layers[0]
    by_component = weight / network.scale
    sums = by_component.new_zeros(len(weight), int(index.max()) + 1).index_add(1, index, by_component)
    mean = (sums / torch.bincount(index))[:, index]
    shifted_bias = bias + (mean - by_component) @ network.shift
    return network._replace(layers=((mean * network.scale, shifted_bias), *network.layers[1:]))

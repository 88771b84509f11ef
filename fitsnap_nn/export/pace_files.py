"""Files of linear models on ACE descriptors: ``.yace`` for LAMMPS' ``pair_style pace``, and a table of coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType

from fitsnap_nn.export.nn_text import UNITS_TAG
from fitsnap_nn.inputs.ace.coupling import complex_coefficients
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.ace.radial import OUTER_WIDTH
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.settings.ace import BOND_KEYS
from fitsnap_nn.settings.ace_functions import AceFunction

# Å, spacing of the splines by which pair_style pace replaces the radial functions; LAMMPS' and FitSNAP's value.
SPLINE_SPACING = 0.001
# The energy of an atom is the one density itself: the embedding function of a linear model.
LINEAR_EMBEDDING: Mapping[str, object] = MappingProxyType(
    {
        "ndensity": 1,
        "FS_parameters": [1.0, 1.0],
        "npoti": "FinnisSinclair",
        "rho_core_cutoff": 100000,
        "drho_core_cutoff": 250,
    }
)


def yace_text(networks: Sequence[PlainNetwork], model_input: AceInput) -> str:
    """Return the potential file of ``pair_style pace``.

    Args:
        networks: one network without hidden layers per element, without shift and scale.
        model_input: the descriptors.
    """
    elements, functions = model_input.elements, model_input.functions
    constants = [float(network.layers[0][1]) for network in networks]
    tables = [complex_coefficients(one, wigner=model_input.ace.wigner_flag) for one in functions]
    lines = [
        f"elements: [{', '.join(elements)}]",
        f"E0: {_flow(constants)}",
        f"deltaSplineBins: {SPLINE_SPACING!r}",
        "embeddings:",
        *(f"  {number}: {_flow(LINEAR_EMBEDDING)}" for number in range(len(elements))),
        "bonds:",
        *_bonds(model_input),
        "functions:",
    ]
    for number, network in enumerate(networks):
        lines.append(f"  {number}:")
        coefficients = network.layers[0][0][0].tolist()
        for function, table, coefficient in zip(functions, tables, coefficients, strict=True):
            lines.append(f"    - {_flow(_function(function._replace(centre=number), table, coefficient))}")
    lines.append(f"# Linear ACE for pair_style pace product. {UNITS_TAG} (eV, Å)")
    return "\n".join(lines) + "\n"


def coefficients_table(networks: Sequence[PlainNetwork], model_input: AceInput, *, constants: bool) -> str:
    """Return the coefficients of each element as a table, in FitSNAP's form ``.acecoeff``.

    Args:
        networks, model_input: see `yace_text`.
        constants: start with the constant of each element.
    """
    size = model_input.size
    lines = [
        f"# Coefficients of linear ACE. {UNITS_TAG} (eV). Names: number, element of the central atom; elements, n and",
        "# l of each density; L",
        f"{len(networks)} {size + constants}",
    ]
    for number, (network, element) in enumerate(zip(networks, model_input.elements, strict=True)):
        ((coefficients, constant),) = network.layers
        first = [f"{float(constant):.17g} # B[0]"] if constants else []
        rows = enumerate(zip(coefficients[0].tolist(), model_input.functions, strict=True), start=1 + number * size)
        lines += [element, *first, *(f"{value:.17g} # B{_name(index, number, one)}" for index, (value, one) in rows)]
    return "\n".join(lines) + "\n"


def _name(index: int, centre: int, function: AceFunction) -> list[int]:
    return [index, centre, *function.elements, *function.n, *function.l, *function.inner]


def _bonds(model_input: AceInput) -> Iterator[str]:
    """Yield the radial functions of each ordered pair of elements."""
    functions = model_input.functions
    # Functions of rank 1 take the basis g_n itself, the others R_nl = sum_k c_nlk g_k, which is g_n here.
    products = [one for one in functions if one.rank > 1]
    n_max = max((max(one.n) for one in products), default=1)
    l_max = max((max(one.l) for one in products), default=0)
    base = max(model_input.ace.nmaxbase, *(max(one.n) for one in functions))
    identity = [[[int(k == n) for k in range(base)]] * (l_max + 1) for n in range(n_max)]
    values = zip(*(model_input.ace.of_bonds(key) for key in BOND_KEYS), strict=True)
    pairs = product(range(len(model_input.elements)), repeat=2)
    for (one, other), (cutoff, decay, inner, width) in zip(pairs, values, strict=True):
        bond = {
            "nradmax": n_max,
            "lmax": l_max,
            "nradbasemax": base,
            "radbasename": "ChebExpCos",
            "radparameters": [decay],
            "radcoefficients": identity,
            "prehc": 0,
            "lambdahc": decay,
            "rcut": cutoff,
            "dcut": OUTER_WIDTH,
            "rcut_in": inner,
            "dcut_in": width,
            "inner_cutoff_type": "distance",
        }
        yield f"  [{one}, {other}]: {_flow(bond)}"


def _function(function: AceFunction, table: Mapping[tuple[int, ...], float], coefficient: float) -> dict[str, object]:
    return {
        "mu0": function.centre,
        "rank": function.rank,
        "ndensity": 1,
        "num_ms_combs": len(table),
        "mus": function.elements,
        "ns": function.n,
        "ls": function.l,
        "ms_combs": [m for combination in table for m in combination],
        "ctildes": [coefficient * value for value in table.values()],
    }


def _flow(value: object) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return f"[{', '.join(map(_flow, value))}]"
    text = repr(value) if isinstance(value, float) else str(value)
    # YAML 1.1 reads 1e-05 as a text.
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text

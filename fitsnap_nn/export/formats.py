"""Formats of ``pair_style mliap`` in which a model can be exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatch
from types import MappingProxyType
from typing import Any, NamedTuple

from fitsnap_nn.errors import LammpsError
from fitsnap_nn.export.chemical import symmetrized
from fitsnap_nn.export.mliappy import MliapModel, say_cpu, to_pickle
from fitsnap_nn.export.nn_text import UNITS_TAG, nn_text, unsupported_reason
from fitsnap_nn.export.pace_files import coefficients_table, yace_text
from fitsnap_nn.export.snap_files import coefficients_text, parameters_text
from fitsnap_nn.export.targets_of_atoms import components_of_targets
from fitsnap_nn.export.uncertainty import displacements_of_networks, factor_of_deviations, networks_of_others
from fitsnap_nn.export.unified import UnifiedModel, dtype_name, on_this_rank, unified_pickle
from fitsnap_nn.inputs import ModelInput
from fitsnap_nn.inputs.ace.input import AceInput
from fitsnap_nn.inputs.ace.rows import AceRows
from fitsnap_nn.inputs.graph.input import GraphInput
from fitsnap_nn.inputs.snap.input import SnapInput
from fitsnap_nn.inputs.snap.rows import SnapRows
from fitsnap_nn.models import BPNN, GraphModel, Model
from fitsnap_nn.models.bpnn import PlainNetwork
from fitsnap_nn.models.descriptor_network import DescriptorNetwork
from fitsnap_nn.models.linear import LinearModel
from fitsnap_nn.models.uncertainty import Uncertainty
from fitsnap_nn.settings.schema import Bispectrum

SINGLE_RANK = "One rank only, with the plugin: long-range interactions need the positions of all atoms at once"


class Formats(NamedTuple):
    """Exported model.

    Attributes:
        contents: file content by format: ``snap`` and ``pace`` (text, coefficients of a linear model), ``nn`` (text),
            ``mliappy`` and ``unified`` (which require Python).
        descriptor: content of the descriptor file; empty for a model without descriptors.
        default: format to use if the plugin is not loaded.
        unsupported_reason: why there is no text format; empty if there is one.
        precision: floating-point type of the evaluation in LAMMPS, ``float32`` or ``float64``.
        texts: content of further text files of a linear model by suffix: the parameter file of format ``snap``, the
            table of coefficients beside ``pace``.
        single_rank: why the model runs on one rank only, and with the plugin; empty if it runs on several.
        targets: number of components of each target by name that LAMMPS' ``fix pair`` reads, with the plugin.
    """

    contents: Mapping[str, bytes]
    descriptor: str
    default: str
    unsupported_reason: str
    precision: str
    texts: Mapping[str, str] = MappingProxyType({})
    single_rank: str = ""
    targets: Mapping[str, int] = MappingProxyType({})


@singledispatch
def formats_of(model_input: ModelInput, model: Model[Any], uncertainty: Uncertainty | None = None) -> Formats:
    """Return a model in every supported format; packages that add a model input register a function here.

    Args:
        model_input: ``model.input``, whose type selects the function.
        model: the model.
        uncertainty: how its uncertainty is found; not passed if there is none.

    Raises:
        LammpsError: no format supports the model.
    """
    raise LammpsError(f"pair_style mliap has no format for a {type(model).__name__} on {model_input.calculator}")


@formats_of.register
def _of_graph(model_input: GraphInput, model: GraphModel, uncertainty: Uncertainty | None = None) -> Formats:
    reason = f"model nn supports networks on SNAP descriptors only, not a {type(model).__name__}"
    precision = dtype_name(model.precision)
    single_rank = SINGLE_RANK if model.has_long_range else ""
    content = {"unified": unified_pickle(model, uncertainty)}
    targets = components_of_targets(model)
    return Formats(content, "", "unified", reason, precision, single_rank=single_rank, targets=targets)


@formats_of.register
def _of_snap(model_input: SnapInput, model: BPNN, uncertainty: Uncertainty | None = None) -> Formats:
    bispectrum = model_input.bispectrum
    networks = symmetrized(model.plain_networks(), bispectrum)
    mliap = _mliap_model(networks, bispectrum, model, uncertainty)
    contents = {"mliappy": to_pickle(mliap)}
    reason = unsupported_reason(networks, bispectrum.quadraticflag)
    if not reason:
        contents["nn"] = nn_text(networks).encode()
    return Formats(contents, mliap.descriptor, "mliappy" if reason else "nn", reason, "float64")


@formats_of.register
def _of_ace(model_input: AceInput, model: BPNN, uncertainty: Uncertainty | None = None) -> Formats:
    reason = "model nn supports networks on SNAP descriptors only, not on ACE descriptors"
    content = {"unified": unified_pickle(*on_graphs(model, uncertainty))}
    return Formats(content, "", "unified", reason, "float64")


@formats_of.register
def _of_ace_rows(model_input: AceRows, model: LinearModel) -> Formats:
    networks = model.plain_networks()
    contents = {
        "pace": yace_text(networks, model_input).encode(),
        "unified": unified_pickle(DescriptorNetwork.of(model)),
    }
    table = coefficients_table(networks, model_input, constants=model.has_constants)
    return Formats(contents, "", "pace", "", "float64", {".acecoeff": table})


@formats_of.register
def _of_snap_rows(model_input: SnapRows, model: LinearModel) -> Formats:
    bispectrum = model_input.bispectrum
    networks = symmetrized(model.plain_networks(), bispectrum)
    mliap = _mliap_model(networks, bispectrum)
    contents = {"snap": coefficients_text(networks, bispectrum).encode(), "mliappy": to_pickle(mliap)}
    return Formats(contents, mliap.descriptor, "snap", "", "float64", {".snapparam": parameters_text(bispectrum)})


@singledispatch
def lammps_object(
    model_input: ModelInput, model: Model[Any], uncertainty: Uncertainty | None = None
) -> MliapModel | UnifiedModel:
    """Return a model as the Python object that LAMMPS calls; registered like `formats_of`.

    Args:
        model_input: ``model.input``, whose type selects the function.
        model: the model.
        uncertainty: as for `formats_of`.

    Raises:
        LammpsError: LAMMPS cannot run the model.
    """
    raise LammpsError(f"pair_style mliap cannot run a {type(model).__name__} on {model_input.calculator}")


@lammps_object.register
def _graph_object(model_input: GraphInput, model: GraphModel, uncertainty: Uncertainty | None = None) -> UnifiedModel:
    return on_this_rank(model, uncertainty=uncertainty)


@lammps_object.register
def _snap_object(
    model_input: SnapInput, model: BPNN | LinearModel, uncertainty: Uncertainty | None = None
) -> MliapModel:
    bispectrum = model_input.bispectrum
    say_cpu()
    return _mliap_model(symmetrized(model.plain_networks(), bispectrum), bispectrum, model, uncertainty)


@lammps_object.register
def _ace_object(
    model_input: AceInput, model: BPNN | LinearModel, uncertainty: Uncertainty | None = None
) -> UnifiedModel:
    on_graph, of_graph = on_graphs(model, uncertainty)
    return on_this_rank(on_graph, uncertainty=of_graph)


def on_graphs(
    model: Model[Any], uncertainty: Uncertainty | None = None
) -> tuple[DescriptorNetwork, Uncertainty | None]:
    """Return a model on descriptors as a function of the neighbour graph, and its uncertainty for that.

    Args:
        model: left unchanged.
        uncertainty: of the model.

    Raises:
        ValueError: torch cannot compute its descriptors, or it has none.
    """
    if not isinstance(model, BPNN | LinearModel):
        raise ValueError("it is on neighbour graphs already")
    if uncertainty is not None and isinstance(model, BPNN):
        uncertainty = replace(uncertainty, displacements=displacements_of_networks(model, uncertainty))
    return DescriptorNetwork.of(model), uncertainty


def _mliap_model(
    networks: Sequence[PlainNetwork],
    bispectrum: Bispectrum,
    model: BPNN | LinearModel | None = None,
    uncertainty: Uncertainty | None = None,
) -> MliapModel:
    """Return the object for networks; the uncertainty is that of the model."""
    others: list[list[PlainNetwork]] = []
    factor = 1.0
    if uncertainty is not None and isinstance(model, BPNN):
        others = [symmetrized(one, bispectrum) for one in networks_of_others(model, uncertainty)]
        factor = factor_of_deviations(uncertainty, len(others))
    return MliapModel(networks, bispectrum.quadraticflag, descriptor_text(bispectrum), others, factor)


def descriptor_text(bispectrum: Bispectrum) -> str:
    """Return the file of ``descriptor sna``, with every option explicit: LAMMPS' defaults do not matter.

    ``quadraticflag`` is not an option of ``descriptor sna``: the model computes the products itself.

    Args:
        bispectrum: options of the descriptors.
    """
    elements = bispectrum.type

    def each(values: Sequence[float]) -> str:
        return " ".join(repr(float(value)) for value in (values if len(values) > 1 else list(values) * len(elements)))

    lines = [
        f"# SNAP descriptors for pair_style mliap ... descriptor sna. {UNITS_TAG} (Å)",
        f"rcutfac {bispectrum.rcutfac!r}",
        f"twojmax {max(bispectrum.twojmax)}",
        f"nelems {len(elements)}",
        f"elems {' '.join(elements)}",
        f"radelems {each(bispectrum.radelem)}",
        f"welems {each(bispectrum.wj)}",
        f"rfac0 {bispectrum.rfac0!r}",
        f"rmin0 {bispectrum.rmin0!r}",
        f"switchflag {int(bispectrum.switchflag)}",
        f"bzeroflag {int(bispectrum.bzeroflag)}",
        f"chemflag {int(bispectrum.chemflag)}",
        f"bnormflag {int(bispectrum.bnormflag)}",
        f"wselfallflag {int(bispectrum.wselfallflag)}",
        f"switchinnerflag {int(bispectrum.switchinnerflag)}",
    ]
    if bispectrum.switchinnerflag:
        lines += [f"sinnerelems {each(bispectrum.sinner)}", f"dinnerelems {each(bispectrum.dinner)}"]
    return "\n".join(lines) + "\n"

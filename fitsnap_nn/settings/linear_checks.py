"""Checks of inputs with a linear solver."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from fitsnap_nn.settings.ace_checks import num_inputs
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.keys import DESCRIPTOR_SECTIONS
from fitsnap_nn.settings.linear import NEED_SKLEARN
from fitsnap_nn.settings.schema import Settings

MAX_COLUMNS = 20_000  # the triangle of the system and its decomposition take 10 GB
Finding = tuple[str, str, str, str]  # section, key, what is wrong, remedy


def check_linear(document: Document, settings: Settings) -> None:
    """Report what a linear solver does not support; note that a model without constants has to fit whole energies."""
    for finding in _findings(document, settings):
        document.report(*finding)
    section = DESCRIPTOR_SECTIONS.get(settings.calculator.calculator, "")
    if section and settings.section(section).bzeroflag and not any(settings.eshift.values()):
        document.notices.append(
            f"[{section}] bzeroflag = 1: the linear model has no constant energy for each element, and none is "
            "subtracted from the labels. bzeroflag = 0 adds the constants."
        )


def _findings(document: Document, settings: Settings) -> Iterator[Finding]:
    solver, calculator = settings.solver.solver, settings.calculator.calculator
    if document.sound("CALCULATOR", "calculator") and calculator not in DESCRIPTOR_SECTIONS:
        what = f"is {calculator}, but [SOLVER] solver = {solver} is linear in SNAP or ACE descriptors"
        yield "CALCULATOR", "calculator", what, f"Use {' or '.join(DESCRIPTOR_SECTIONS)}, or solver = PYTORCH."
    if solver in NEED_SKLEARN and find_spec("sklearn") is None:
        yield "SOLVER", "solver", f"{solver} needs scikit-learn", "Install it with: pip install 'fitsnap_nn[linear]'"
    if settings.extras.apply_transpose and solver in ("RIDGE", *NEED_SKLEARN):
        what = f"changes the meaning of the parameters of solver = {solver}, and is not supported"
        yield "EXTRAS", "apply_transpose", what, "Remove the key, and choose the parameters for the system itself."
    yield from _of_columns(document, settings)
    for row in settings.targets:
        yield "TARGETS", row.name, "a linear model predicts energy, forces and stress only", "Remove it."


def _of_columns(document: Document, settings: Settings) -> Iterator[Finding]:
    """Check that all elements have the same descriptors, and the number of coefficients."""
    bispectrum, calculator = settings.bispectrum, settings.calculator.calculator
    if calculator not in DESCRIPTOR_SECTIONS:
        return
    columns = len(settings.elements) * (num_inputs(document, settings) + 1)
    of_snap = calculator == "LAMMPSSNAP"
    if of_snap and bispectrum.chemflag and len(set(bispectrum.twojmax)) > 1:
        what = f"= {' '.join(map(str, bispectrum.twojmax))} differs between elements, which chemflag = 1 does not allow"
        yield "BISPECTRUM", "twojmax", what, "Give one value."
    if columns > MAX_COLUMNS:
        what = f"a linear model would have {columns} coefficients, above the maximum of {MAX_COLUMNS}"
        if not of_snap:
            yield "ACE", "manuallabs" if settings.ace.manuallabs else "nmax", what, "Decrease nmax or lmax."
            return
        key = "quadraticflag" if bispectrum.quadraticflag else "twojmax"
        yield "BISPECTRUM", key, what, "Decrease twojmax, or set quadraticflag = 0."

"""Vacancies and surfaces in the data: their energies against the labels."""

from __future__ import annotations

from fitsnap_nn.md_checks.check import Check, Number, Verdict, judged
from fitsnap_nn.md_checks.references import Defect, References, formation_energy, formula_text, surface_energy
from fitsnap_nn.md_checks.runner import Runner
from fitsnap_nn.units import JOULE, METRE

NAME, TITLE = "defects", "Vacancies and surfaces"
RELATIVE = 0.15
VACANCY_ERROR, SURFACE_ERROR = 0.2, 0.15  # eV and J/m², if they are more than RELATIVE
J_PER_M2 = JOULE / METRE**2  # eV/Å²


def check_defects(runner: Runner, references: References) -> Check:
    """Return whether energies of vacancies and surfaces agree with the labels, each at the positions of the data."""
    vacancies, slabs = references.vacancies, references.slabs
    if not vacancies and not slabs:
        summary = (
            "not run: the data contain neither supercells of a crystal with one atom less nor slabs with vacuum, "
            "with energies and the crystal itself."
        )
        return Check(NAME, TITLE, Verdict.NOT_RUN, summary)
    defects = [*vacancies, *slabs]
    found = runner.evaluate([*(one.configuration for one in defects), *(one.crystal for one in defects)])
    single, crystal = found[: len(defects)], found[len(defects) :]
    relaxed = runner.evaluate([one.configuration for one in vacancies[:1]], relaxed=True) if vacancies else []
    faults: list[str] = []
    numbers: list[Number] = []
    for defect, one, whole in zip(defects, single, crystal, strict=True):
        name, unit, allowed = _description(defect)
        value = _energy(defect, one.energy, whole.energy)
        expected = _label(defect)
        numbers.append(Number(name, value, unit, expected))
        if abs(value - expected) > max(allowed, RELATIVE * abs(expected)):
            faults.append(f"{name} is {value:.2f} {unit} instead of {expected:.2f}")
    for defect, one, whole in zip(vacancies, relaxed, crystal, strict=False):
        name, unit, _ = _description(defect)
        numbers.append(Number(f"{name}, atoms relaxed", _energy(defect, one.energy, whole.energy), unit))
    compared = [one for one in numbers if one.reference is not None]
    good = ", ".join(f"{one.label} {one.value:.2f} {one.unit} (labels {one.reference:.2f})" for one in compared)
    return Check(NAME, TITLE, *judged(faults, good), tuple(numbers))


def _description(defect: Defect) -> tuple[str, str, float]:
    """Return name, unit and accepted error of the energy of a defect."""
    material = formula_text(defect.crystal.species)
    frame = defect.configuration.id.rpartition("/")[2]
    if not defect.missing:
        return f"surface energy of {material} ({frame})", "J/m²", SURFACE_ERROR
    if len(set(defect.crystal.species)) == 1:
        return f"vacancy formation energy of {material} ({frame})", "eV", VACANCY_ERROR
    return f"energy to remove {defect.missing} from {material} ({frame})", "eV", VACANCY_ERROR


def _energy(defect: Defect, energy: float, crystal: float) -> float:
    if defect.missing:
        return formation_energy(defect, energy, crystal)
    return surface_energy(defect, energy, crystal) / J_PER_M2


def _label(defect: Defect) -> float:
    assert defect.configuration.energy is not None
    assert defect.crystal.energy is not None
    return _energy(defect, defect.configuration.energy, defect.crystal.energy)

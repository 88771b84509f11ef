"""Reader of VASP's OUTCAR and vasprun.xml: which ionic steps are labels, and which energy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from fitsnap_nn.data.configuration import Configuration
from fitsnap_nn.data.findings import Finding
from fitsnap_nn.data.readers.raw import DataFile, Raw, ReadOptions, Units, make_configuration
from fitsnap_nn.data.readers.vasp_outcar import read_outcar
from fitsnap_nn.data.readers.vasp_run import DAMAGED, Run, Step
from fitsnap_nn.data.readers.vasp_xml import read_vasprun
from fitsnap_nn.errors import DataError

VASP_UNITS: Units = MappingProxyType(
    {"Energy": "eV", "Forces": "eV/angstrom", "Stress": "kB", "Positions": "angstrom", "Lattice": "angstrom"}
)
NO_LABEL = "''"  # FitSNAP's spelling of an empty vasp_unconverged_label
VISIBLE_ENTROPY = 1e-4  # eV
FULL_STRESS = 2  # smallest ISIF with all components of the stress

SEVERAL_RUNS = "the file contains several runs; each is read with its own elements and parameters."
PREDICTED = "results of a machine-learned force field (ML_LMLFF) are not labels and are left out."
REPEATED = "IBRION = -1 with NSW > 1 repeats one structure: only the last step is read."
PARTIAL_STRESS = "VASP did not compute the full stress (ISIF = 0 or 1): there is no stress label."
ONE_SHOT = (
    "one-shot calculation (ALGO = None, Eigenval, Subrot or Exact): the file does not state whether the orbitals that "
    "it started from were converged. Remove it if they were not."
)
NO_LIMIT = "NELM is not in the file: steps are taken as converged unless the file states otherwise."
CUT_SHORT = "the run was cut short; its finished ionic steps are read."
NO_STEP = "no ionic step was finished; the file is skipped. Remove it, or repeat the run."
ONLY_PREDICTED = "all ionic steps are of a machine-learned force field; the file is skipped. Remove it."
FREE_ENERGY = (
    "energies are free energies (TOTEN), consistent with the forces; [GROUPS] vasp_use_TOTEN = 0 takes energies "
    "without entropy, which are FitSNAP's default."
)
WITHOUT_ENTROPY = (
    "energies are those without entropy (vasp_use_TOTEN = 0), but forces and stress are derivatives of the free energy."
)
SAME_RUN = "is the same run as the vasprun.xml beside it, which is read instead."
OTHER_RUN = (
    "is not the run of the vasprun.xml beside it (elements, positions or energies differ): both are read. Remove the "
    "file that is outdated."
)


def read_vasp(source: DataFile, options: ReadOptions, findings: list[Finding]) -> Iterator[Configuration]:
    """Yield the converged ionic steps of all runs in a file.

    Left out are steps whose electronic loop did not converge (unless the options keep them), results of a
    machine-learned force field, and the unfinished step of a run that was cut short. An OUTCAR beside a vasprun.xml is
    read only if it is another run.

    Args:
        source: OUTCAR or vasprun.xml, plain or compressed, and the OUTCARs beside it.
        options: treatment of energies, of unconverged steps and of runs that were cut short.
        findings: receives remarks on the file.

    Raises:
        DataError: the file is not a VASP file, the elements or positions of the atoms are unknown, the data are
            inconsistent, or a run was cut short and the options do not allow it.
    """
    if options.columns:
        names = ", ".join(column.name for column in options.columns)
        raise DataError(
            f"{source.path}: the reader of VASP files reads energy, forces and stress only, not {names} of "
            "[TARGETS]. Use scraper = ASE, which does not check convergence, or convert the files to extended XYZ."
        )
    runs = _read_runs(source.path)
    yield from _configurations(source, runs, options, findings)
    for path in source.beside:
        yield from _outcar_beside(source, path, runs, options, findings)


def outcars_beside_xml(paths: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """Assign each OUTCAR beside a vasprun.xml to it; both usually contain the same run.

    The names correspond (``OUTCAR.1.gz`` and ``vasprun.xml.1.gz``), or the folder has only one vasprun.xml.

    Args:
        paths: all files of a group.

    Returns:
        The files to read, and the OUTCARs assigned to each.
    """
    xml_files: dict[Path, dict[str, Path]] = {}
    for path in filter(_is_xml, paths):
        xml_files.setdefault(path.parent, {})[_affix(path)] = path
    chosen: dict[Path, list[Path]] = {}
    for path in paths:
        others = xml_files.get(path.parent, {})
        partner = others.get(_affix(path), next(iter(others.values())) if len(others) == 1 else path)
        if partner == path or not is_vasp(path) or _is_xml(path):
            chosen.setdefault(path, [])
        else:
            chosen.setdefault(partner, []).append(path)
    return {path: tuple(sorted(outcars)) for path, outcars in chosen.items()}


def _is_xml(path: Path) -> bool:
    return "vasprun" in path.name and ".xml" in path.name  # also vasprun.xml.gz and vasprun.xml-001


def is_vasp(path: Path) -> bool:
    """Return whether a file is an OUTCAR or a vasprun.xml by its name."""
    return "OUTCAR" in path.name or _is_xml(path)


def _affix(path: Path) -> str:
    """Return the part of a name that tells runs apart."""
    return re.sub(r"OUTCAR|vasprun|\.xml|\.(gz|bz2|xz)$", "", path.name)


def _read_runs(path: str) -> list[Run]:
    return read_vasprun(path) if _is_xml(Path(path)) else read_outcar(path)


def _configurations(
    source: DataFile, runs: Sequence[Run], options: ReadOptions, findings: list[Finding]
) -> Iterator[Configuration]:
    """Yield the labelled steps of all runs; ids number the steps of the file, those left out included."""
    _remark_on_runs(source, runs, options, findings)
    steps = [(run, step) for run in runs for step in run.steps]
    for number, (run, step) in enumerate(steps):
        if run.repeats_one_structure and step is not run.steps[-1]:
            findings.append(Finding(REPEATED, source.id, warning=False))
            continue
        if step.pressure is not None and run.parameters.get("ISIF", FULL_STRESS) < FULL_STRESS:
            findings.append(Finding(PARTIAL_STRESS, source.id, warning=False))
            step = step._replace(pressure=None)
        configuration = _configuration(source, run, step, options, number if len(steps) > 1 else None)
        if step.problem:
            kept = _keep(configuration, step.problem, options.vasp.unconverged_label, findings)
            if kept is None:
                continue
            configuration = kept
        _remark_on_energy(step, options, findings)
        yield configuration


def _remark_on_runs(source: DataFile, runs: Sequence[Run], options: ReadOptions, findings: list[Finding]) -> None:
    if len(runs) > 1:
        findings.append(Finding(SEVERAL_RUNS, source.id, warning=False))
    for run in runs:
        reason = f" ({run.cut_short})" if run.cut_short else ""
        if run.cut_short and not options.vasp.ignore_incomplete:
            raise DataError(
                f"{source.path}: the run was cut short: {run.cut_short}. Remove the file or repeat the run, or set "
                "[GROUPS] vasp_ignore_incomplete = 1 to use the finished steps."
            )
        if run.predicted:
            findings.append(Finding(PREDICTED, f"{source.id} ({run.predicted} steps)", warning=False))
        if not run.steps:
            findings.append(Finding(ONLY_PREDICTED if run.predicted else NO_STEP, f"{source.id}{reason}"))
        elif run.cut_short:
            findings.append(Finding(CUT_SHORT, f"{source.id}{reason}", run.cut_short.startswith(DAMAGED)))
        if run.steps and run.is_one_shot:
            findings.append(Finding(ONE_SHOT, source.id))
        elif run.steps and "NELM" not in run.parameters:
            findings.append(Finding(NO_LIMIT, source.id, warning=False))


def _configuration(source: DataFile, run: Run, step: Step, options: ReadOptions, number: int | None) -> Configuration:
    energy = step.free_energy if options.vasp.free_energy else step.energy_without_entropy
    if energy is None:
        raise DataError(
            f"{source.path}: the file has no energy without entropy. Set [GROUPS] vasp_use_TOTEN = 1 to take the free "
            "energy."
        )
    raw = Raw(
        species=run.species,
        positions=step.positions,
        lattice=step.cell,
        pbc=(True, True, True),
        energy=energy,
        forces=step.forces,
        pressure=step.pressure,
    )
    return make_configuration(source, raw, VASP_UNITS, number)


def _keep(configuration: Configuration, problem: str, label: str, findings: list[Finding]) -> Configuration | None:
    """Return a step with a problem, with the label appended to its id as in FitSNAP; ``None`` without a label."""
    if not label:
        what = f"{problem}; the step is left out. To keep such steps, set [GROUPS] vasp_unconverged_label."
        findings.append(Finding(what, configuration.id, warning=False))
        return None
    findings.append(Finding(f"{problem}; the step is kept (vasp_unconverged_label).", configuration.id, warning=False))
    return configuration if label == NO_LABEL else replace(configuration, id=f"{configuration.id}_{label}")


def _remark_on_energy(step: Step, options: ReadOptions, findings: list[Finding]) -> None:
    without = step.energy_without_entropy
    if without is not None and abs(step.free_energy - without) > VISIBLE_ENTROPY:
        remark = Finding(FREE_ENERGY if options.vasp.free_energy else WITHOUT_ENTROPY, warning=False)
        if remark not in findings:
            findings.append(remark)


def _outcar_beside(
    source: DataFile, path: str, runs: Sequence[Run], options: ReadOptions, findings: list[Finding]
) -> Iterator[Configuration]:
    """Yield the steps of an OUTCAR if it is not the run of the vasprun.xml beside it."""
    outcar = DataFile(path, source.group, str(Path(source.id).with_name(Path(path).name)))
    try:
        others = _read_runs(path)
    except DataError as error:
        what = f"the file is not read, only the vasprun.xml beside it: {error}"
        findings.append(Finding(what, outcar.id, warning=False))
        return
    count, other_count = (sum(len(run.steps) for run in group) for group in (runs, others))
    if len(runs) == len(others) and all(mine.is_same_as(other) for mine, other in zip(runs, others, strict=True)):
        findings.append(Finding(SAME_RUN, outcar.id, warning=False))
        if count < other_count:
            what = f"has {other_count} finished steps, but the vasprun.xml beside it, which is read, only {count}."
            findings.append(Finding(f"{what} Remove the vasprun.xml to read them all.", outcar.id))
    elif other_count:
        findings.append(Finding(OTHER_RUN, outcar.id))
        yield from _configurations(outcar, others, options, findings)
    else:
        findings.append(Finding(NO_STEP, outcar.id, warning=False))

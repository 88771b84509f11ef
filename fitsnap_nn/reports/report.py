"""``report.html``: everything about a fit on one page, from the files of its output folder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from fitsnap_nn.errors import counted
from fitsnap_nn.files import write_text
from fitsnap_nn.reports.citations import ENTRIES
from fitsnap_nn.reports.epochs import METRICS_FILE, read_epochs
from fitsnap_nn.reports.errors_table import ALL, ROUNDING_SPREAD, digits
from fitsnap_nn.reports.fit_record import FIT, FitRecord
from fitsnap_nn.reports.html import picture, render
from fitsnap_nn.reports.json_files import read_json
from fitsnap_nn.reports.plots import DESCRIPTIONS, NO_MATPLOTLIB
from fitsnap_nn.reports.plots.by_group import rms_of_labels
from fitsnap_nn.reports.plots.styles import SET_NAMES
from fitsnap_nn.reports.spread import OPENING
from fitsnap_nn.reports.structure_svg import MAX_ATOMS, is_cut, structure_svg
from fitsnap_nn.reports.verdict import LARGEST_ERRORS, NOTHING_TO_JUDGE
from fitsnap_nn.settings.marked import marked_input
from fitsnap_nn.settings.outputs import CHECKS_FILE, UNCERTAINTY_FILE
from fitsnap_nn.usage import duration

REPORT_FILE = "report.html"
NO_VERDICT = "There is no verdict."
INPUT_FILE = "input.used.in"
OF_OTHERS = ("md_checks.png", "uncertainty.png")  # pictures with sections of their own
MISSING = "–"  # a number that there is not
KINDS = {"pass": "good", "fail": "bad"}
VERDICTS = {"pass": "passed", "fail": "failed"}


def write_report(folder: Path, record: FitRecord) -> None:
    """Write ``report.html``.

    Args:
        folder: output folder, with the pictures and the other files of the fit.
        record: the fit.

    Raises:
        OSError: the file cannot be written.
        CheckpointError: a file of the folder is damaged.
    """
    write_text(folder / REPORT_FILE, report_page(folder, record))


def report_page(folder: Path, record: FitRecord) -> str:
    """Return the page; see `write_report`."""
    md, uncertainty, is_fit = _md(folder), _uncertainty(folder), record.kind == FIT
    sections = {"verdict": "Verdict", "errors": "Errors", "pictures": "Pictures", "worst": "Largest errors"}
    sections |= {"md": "MD checks"} if md else {}
    sections |= {"uncertainty": "Uncertainty"} if uncertainty else {}
    sections |= {"data": "Data", "input": "Input", "run": "Run", "cite": "Citations"} if is_fit else {"run": "Run"}
    found = [picture(folder / name, text) for name, text in DESCRIPTIONS.items() if name not in OF_OTHERS]
    verdict = split_verdict(record.verdict)
    return render(
        "report.html",
        f"{record.name}: report",
        record=record,
        is_fit=is_fit,
        folder=folder.name,
        cards=_cards(record, verdict, md),
        sections=list(sections.items()),
        verdict=verdict._asdict(),
        table=error_table(record),
        linear=_linear(record),
        pictures=[one for one in found if one],
        no_pictures=NO_MATPLOTLIB,
        worst=_worst(record),
        md=md,
        uncertainty=uncertainty,
        data={"summary": "", "warnings": [], "notes": [], "table": [], "hash": "unknown", **record.data},
        input=_input(folder),
        run=_run(folder, record),
        verification_kind=_kind_of(record.verification.get("passed")),
        citations=[{"use": ENTRIES[key].use, "text": ENTRIES[key].text} for key in record.citations if key in ENTRIES],
    )


class VerdictParts(NamedTuple):
    """Parts of a verdict: its first line, the probable problems, and what else is known; no largest errors."""

    headline: str
    remarks: list[str]
    notes: list[str]

    @property
    def is_judged(self) -> bool:
        """Whether there was anything to judge."""
        return not self.headline.lower().startswith((NOTHING_TO_JUDGE, NO_VERDICT.lower()))

    @property
    def kinds(self) -> str:
        """Kinds of the remarks, separated by commas."""
        return ", ".join(dict.fromkeys(remark.partition(":")[0] for remark in self.remarks))


def split_verdict(lines: Sequence[str]) -> VerdictParts:
    """Return the parts of a verdict."""
    if not lines:
        return VerdictParts(NO_VERDICT, [], [])
    rest = [line.strip() for line in takewhile(lambda line: LARGEST_ERRORS not in line, lines[1:])]
    first = lines[0].removeprefix("verdict: ")
    remarks = [line for line in rest if not line.startswith(OPENING)]
    return VerdictParts(first[:1].upper() + first[1:], remarks, [line for line in rest if line not in remarks])


def error_table(record: FitRecord) -> dict[str, Any]:
    """Return the error table with one line per group and set: ``properties``, and ``rows`` with cells of each."""
    found = {(row.group, row.subset, row.property): row for row in record.errors}
    titles = list(dict.fromkeys(row.property for row in record.errors))
    by_title = {one.title: one for one in record.predicted.values.values()}
    rms = {
        (title, subset): rms_of_labels(record.predicted, one, subset)
        for title, one in by_title.items()
        for subset in record.sets
    }
    rows = []
    for group, subset in dict.fromkeys((row.group, row.subset) for row in record.errors):
        cells = []
        for title in titles:
            row, factor = found.get((group, subset, title)), display_factor(record, title)
            if row is None:
                cells.append({"rmse": MISSING, "mae": MISSING, "count": "", "share": ""})
                continue
            share = _share(row.rmse, rms.get((title, subset), {}).get(group, 0.0))
            errors = {"rmse": number(factor * row.rmse), "mae": number(factor * row.mae)}
            cells.append({**errors, "count": str(row.count), "share": share})
        name = "all groups" if group == ALL else group
        rows.append({"group": name, "set": SET_NAMES.get(subset, subset), "cells": cells, "all": group == ALL})
    units = {row.property: row.unit for row in record.errors}
    headings = [f"{title} ({by_title[title].display_unit if title in by_title else units[title]})" for title in titles]
    return {"properties": [heading.replace(" ()", "") for heading in headings], "rows": rows}


def display_factor(record: FitRecord, title: str) -> float:
    """Return the number of display units in a report unit of a property; 1 for irreducible blocks."""
    values = record.predicted.values.values()
    return next((one.display_factor for one in values if one.title == title), 1.0)


def number(value: float) -> str:
    """Return a number with four digits; errors by rounding only are 0."""
    if math.isnan(value):
        return MISSING
    return "0" if abs(value) < ROUNDING_SPREAD else digits(value) if 1e-3 <= abs(value) < 1e6 else f"{value:.3g}"


def _share(rmse: float, rms: float) -> str:
    if rms <= ROUNDING_SPREAD or math.isnan(rmse):
        return ""
    percent = 100 * rmse / rms
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _cards(record: FitRecord, verdict: VerdictParts, md: Mapping[str, Any]) -> list[dict[str, str]]:
    value = counted(len(verdict.remarks), "remark") if verdict.remarks else "no sign of a problem"
    kind = "warn" if verdict.remarks else "good"
    if not verdict.is_judged:
        value, kind = "none", ""
    cards = [_card("Verdict", value, verdict.kinds or "see below", kind)]
    for row in record.errors:
        if row.group == ALL and row.subset == record.judged:
            one = next((one for one in record.predicted.values.values() if one.title == row.property), None)
            if one is None:  # an irreducible block
                continue
            value = f"{number(one.display_factor * row.rmse)} {one.display_unit}"
            mae = f"MAE {number(one.display_factor * row.mae)} {one.display_unit}"
            cards.append(_card(f"{row.property} RMSE, {SET_NAMES[row.subset]} set", value, mae))
    if record.has_verification:
        passed = record.verification.get("passed")
        value = {True: "verified", False: "FAILED", None: "not verified"}[passed]
        cards.append(_card("LAMMPS", value, "exported files against the model", _kind_of(passed)))
    if md:
        counts = Counter(check["verdict"] for check in md["checks"])
        value = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        kind = "bad" if counts["failed"] else "good" if counts["passed"] else ""
        cards.append(_card("MD checks", value, "see below", kind))
    return cards


def _card(title: str, value: str, text: str, kind: str = "") -> dict[str, str]:
    return {"title": title, "value": value, "text": text, "kind": kind}


def _kind_of(passed: bool | None) -> str:
    return {True: "good", False: "bad", None: "warn"}[passed]


def _linear(record: FitRecord) -> list[dict[str, Any]]:
    """Return the errors of the linear model on the same descriptors over all groups: cells of each set."""
    rows: dict[str, list[str]] = {}
    for row in record.errors:
        if row.group == ALL and row.linear_rmse is not None and row.linear_mae is not None:
            factor = display_factor(record, row.property)
            cells = rows.setdefault(SET_NAMES.get(row.subset, row.subset), [])
            cells += [number(factor * row.linear_rmse), number(factor * row.linear_mae)]
    return [{"set": subset, "cells": cells} for subset, cells in rows.items()]


def _worst(record: FitRecord) -> list[dict[str, Any]]:
    from ase.data import chemical_symbols
    from ase.formula import Formula
    from markupsafe import Markup

    cards = []
    for one, structure in zip(record.worst, record.predicted.worst, strict=False):
        counts = Counter(chemical_symbols[number] for number in structure.numbers)
        formula = Formula.from_dict(dict(counts)).format("hill")
        force = ""
        if len(structure.force_errors) > 1 and structure.force_errors.max() > 1e-6:
            atom = int(structure.force_errors.argmax())
            error = 1000 * structure.force_errors[atom]
            force = f"largest: atom {atom + 1} ({chemical_symbols[structure.numbers[atom]]}), |ΔF| {error:.4g} meV/Å"
        cards.append(
            {
                **one,
                "set": f"{SET_NAMES.get(one['set'], one['set'])} set",
                "formula": formula,
                "force": force,
                "cut": f", the {MAX_ATOMS} around the largest error are drawn" if is_cut(structure) else "",
                # Everything in the drawing is a number or escaped.
                "drawing": Markup(structure_svg(structure, f"structure of {one['id']}")),
            }
        )
    return cards


def _md(folder: Path) -> dict[str, Any]:
    """Return the checks for molecular dynamics, if they were made."""
    content = read_json(folder / CHECKS_FILE)
    if not content.get("checks"):
        return {}
    checks = [
        {
            "title": check["title"],
            "verdict": VERDICTS.get(check["verdict"], check["verdict"]),
            "kind": KINDS.get(check["verdict"], "warn"),
            "summary": check.get("summary", ""),
            "numbers": [
                {
                    "label": one["label"],
                    "unit": one.get("unit", ""),
                    **{key: _short(one.get(key)) for key in ("value", "reference")},
                }
                for one in check.get("numbers", ())
            ],
        }
        for check in content["checks"]
    ]
    text = f"Run in LAMMPS with the exported files of {content.get('model', 'the model')}, {content.get('date', '')}."
    return {"checks": checks, "text": text, "picture": picture(folder / "md_checks.png", DESCRIPTIONS["md_checks.png"])}


def _uncertainty(folder: Path) -> dict[str, Any]:
    """Return what is known about the uncertainty, if it is."""
    content = read_json(folder / UNCERTAINTY_FILE)
    if not content:
        return {}
    rows = {"method": content.get("method"), "quantity": content.get("quantity"), "set": content.get("set")}
    if content.get("threshold") is not None:
        rows["threshold"] = f"{content['threshold']:.4g} {content.get('unit', '')}. {content.get('threshold_rule', '')}"
    correlation = (content.get("rank_correlation") or {}).get("all")
    rows["rank correlation with the true error"] = _short(correlation)
    shown = [(name, value) for name, value in rows.items() if value]
    return {"rows": shown, "picture": picture(folder / "uncertainty.png", DESCRIPTIONS["uncertainty.png"])}


def _short(value: Any) -> str:
    """Return a number with five digits, or another value as text; nothing for a missing one."""
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _input(folder: Path) -> list[tuple[str, list[Any]]]:
    """Return the marked keys of the input by section."""
    try:
        text = (folder / INPUT_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [(name, list(lines)) for name, lines in groupby(marked_input(text), key=lambda line: line.section)]


def _run(folder: Path, record: FitRecord) -> list[tuple[str, str]]:
    """Return facts about the run with their names."""
    verified = record.verification.get("text") or "not run"
    rows = [("LAMMPS verification", verified)] if record.has_verification else []
    rows += [(name, str(value)) for name, value in record.run.items()]
    rows += [("weights", f"{record.num_weights:,}")]
    if (folder / METRICS_FILE).exists() and (epochs := read_epochs(folder)):
        best = next((row.epoch for row in reversed(epochs) if row.best), 0)
        seconds = sum(row.seconds for row in epochs if math.isfinite(row.seconds))
        kept = f"the weights of epoch {best} are kept" if best else "the initial weights are kept"
        rows.append(("epochs", f"{epochs[-1].epoch} in {duration(seconds)}; {kept}"))
    timed = "time"
    if resumed := record.epochs.get("resumed"):
        rows.append(("continued after epochs", ", ".join(map(str, resumed))))
        timed = "time of the last run"
    rows += [(f"{timed}: {name}", duration(seconds)) for name, seconds in record.seconds.items()]
    energies = ", ".join(f"{element} {energy:.4f} eV" for element, energy in record.element_energies.items())
    rows += [("element energies subtracted in plots and table", energies)] if energies else []
    rows += [("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items()))]
    return [(name, value) for name, value in rows if value]

"""Checks of single files: those that a fit reads must exist, those that it writes must be possible and distinct."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from fitsnap_nn.errors import Problem
from fitsnap_nn.settings.ini import Document
from fitsnap_nn.settings.lammps_names import MAX_LENGTH, unreadable_folder, unreadable_name
from fitsnap_nn.settings.mace_file import mace_file_problem
from fitsnap_nn.settings.schema import Settings

CHECKS_FILE, UNCERTAINTY_FILE = "md_checks.json", "uncertainty.json"
# Files of every fit, besides those that the input names, and the folders of the cache and of tests.
FIXED = (
    "run.log", "input.used.in", "loss_vs_epochs.dat", "metrics.csv", "in.md", "md.data", "fit.json", "predictions.npz",
    "report.html", "CITE.bib", CHECKS_FILE, UNCERTAINTY_FILE,
)  # fmt: skip
PICTURES = (
    "parity.png", "errors_by_group.png", "force_errors.png", "residuals.png", "learning_curve.png", "md_checks.png",
    "uncertainty.png",
)  # fmt: skip
TENSORBOARD = "tensorboard"
FOLDERS = ("cache", "test", TENSORBOARD)
OWN = ("fitsnap_nn.files", "fitsnap_nn.lock")
LAMMPS_SUFFIXES = (
    ".mod", ".uncertainty.mod", ".mliap.descriptor", ".mliap.nn", ".mliap.mliappy", ".mliap.unified", ".snapcoeff",
    ".snapparam", ".yace", ".acecoeff",
)  # fmt: skip
# Files of the system of a linear fit, with FitSNAP's names except the last, which is not a pickle.
DESCRIPTORS, TRUTH, WEIGHTS, DATA_FRAME = "Descriptors.npy", "Truth-Ref.npy", "Weights.npy", "FitSNAP.csv"
COVARIANCE, MEAN = "covariance.npy", "mean.npy"  # of solver = ANL
SET_SUFFIXES = ("", "_val", "_test", "_unknown")

Finding = tuple[str, str, str, str]  # section, key, what is wrong, remedy


def check_files(document: Document, settings: Settings) -> None:
    """Report missing input files, and output files that could not be written after hours of training."""
    pretrained = "" if document.architecture_stored else settings.architecture.pretrained[0]
    if pretrained and (problem := mace_file_problem(os.path.join(settings.folder, pretrained))):
        document.report(settings.pytorch.model, "mace_model", *problem)
    for finding in _output_findings(settings):
        document.report(*finding)


def output_problems(settings: Settings) -> list[Problem]:
    """Return why the output files of settings cannot be written, for settings that were changed after their check."""
    findings = _output_findings(settings)
    return [Problem(settings.source, f"[{section}] {key} — {what}.", hint) for section, key, what, hint in findings]


def output_names(settings: Settings) -> list[str]:
    """Return the names of all files that a fit may write to its folder, apart from copies of potential files."""
    names = [name for name, _, _ in _chosen_names(settings)]
    return [*FIXED, *report_names(settings), *system_names(settings), *names, *snapshot_names(settings)]


def system_names(settings: Settings) -> list[str]:
    """Return the names of the files with the linear system and its solution that a fit writes."""
    if not settings.solver.is_linear:
        return []
    extras = settings.extras
    dumps = {DESCRIPTORS: extras.dump_descriptors, TRUTH: extras.dump_truth, WEIGHTS: extras.dump_weights}
    dumps[DATA_FRAME] = extras.dump_dataframe
    return [*filter(dumps.get, dumps), *((COVARIANCE, MEAN) if settings.solver.solver == "ANL" else ())]


def snapshot_name(name: str, epoch: int) -> str:
    """Return the name of a copy of the restart file.

    Args:
        name: of the restart file.
        epoch: epoch after which it was written.
    """
    return f"{name.removesuffix('.pt')}_{epoch}.pt"


def snapshot_names(settings: Settings) -> list[str]:
    """Return the names of all copies of the restart file that a fit may write."""
    training = settings.pytorch
    every = training.checkpoint_interval
    epochs = range(every, training.num_epochs + 1, every) if every else ()
    return [snapshot_name(training.save_state_output, epoch) for epoch in epochs]


def report_names(settings: Settings) -> list[str]:
    """Return the names of the tables, plots and comparison files that a fit or a test may write."""
    titles = dict.fromkeys(["energy", "force", "stress", *(row.name.lower() for row in settings.targets)])
    extras = settings.extras
    dumps = {"peratom.dat": extras.dump_peratom, "perconfig.dat": extras.dump_perconfig}
    comparisons = [f"{title}_comparison{suffix}.dat" for title in titles for suffix in SET_SUFFIXES]
    return [settings.outfile.metrics, "run.log", *PICTURES, *filter(dumps.get, dumps), *comparisons]


def _chosen_names(settings: Settings) -> list[tuple[str, str, str]]:
    """Return the file names that the input chooses, each with section and key."""
    training, stem = settings.pytorch, settings.outfile.potential
    return [
        (training.save_state_output, "PYTORCH", "save_state_output"),
        (training.output_file, "PYTORCH", "output_file"),
        (settings.outfile.metrics, "OUTFILE", "metrics"),
        *((f"{stem}{suffix}", "OUTFILE", "potential") for suffix in LAMMPS_SUFFIXES),
    ]


def _output_findings(settings: Settings) -> list[Finding]:
    found = [*_folders(settings), *_names(settings)]
    return found or [*_collisions(settings), *_inputs(settings)]


def _folders(settings: Settings) -> Iterator[Finding]:
    """Find an output folder or cache that cannot be created, or that would mix with the data."""
    cache = settings.memory.cache
    folders = {("OUTFILE", "folder"): settings.output_folder, **({("MEMORY", "cache"): cache} if cache else {})}
    for (section, key), folder in folders.items():
        if problem := _folder_problem(folder):
            yield section, key, problem, "Choose another folder, or change its permissions."
        elif place := data_folder_of(folder, settings):
            yield section, key, f"{folder} is in the folder of the data, {place}", "Choose a folder without data."
            return
    if problem := unreadable_folder(settings.output_folder):
        yield "OUTFILE", "folder", problem, "Choose another name."
    for name in FOLDERS:  # of the cache, of a test of the model, and of event files
        if place := data_folder_of(os.path.join(settings.output_folder, name), settings):
            hint = "Move the data, or choose another [OUTFILE] folder."
            yield "PATH", "dataPath", f"{place} is a folder that the fit writes to", hint


def _folder_problem(folder: str) -> str:
    """Return why a folder cannot be created or written to; empty if it can."""
    if not folder.isprintable() or not _encodable(folder):
        return f"{folder!r} contains characters that no folder can have here"
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        kind = "a file" if os.path.exists(existing) else "a link to nothing"
        return f"{folder} cannot be a folder: {existing} is {kind}"
    if not os.access(existing, os.W_OK | os.X_OK):
        return f"no permission to write to {existing}"
    return ""


def data_folder_of(folder: str, settings: Settings) -> str:
    """Return the folder of the data, or of a group, that contains a folder or is the same; empty if there is none.

    A folder beside the groups is none of them, so that ``dataPath = .`` is possible.
    """
    root, real = settings.data_path, os.path.realpath(folder)
    if os.path.isdir(root) and os.path.realpath(root) == real:
        return root
    groups = [os.path.join(root, row.name) for row in settings.groups.rows]
    return next((group for group in groups if os.path.isdir(group) and _contains(os.path.realpath(group), real)), "")


def _contains(folder: str, path: str) -> bool:
    return os.path.commonpath([folder, path]) == folder


def _names(settings: Settings) -> Iterator[Finding]:
    """Find names that are not the name of a file."""
    for name, section, key in _chosen_names(settings)[:3]:
        if problem := _name_problem(name):
            yield section, key, *problem
        elif os.path.isdir(path := os.path.join(settings.output_folder, name)):
            yield section, key, f"{path} is a folder", "Give the name of a file."
    if unreadable := unreadable_name(settings.outfile.potential):
        yield "OUTFILE", "potential", unreadable, "The folder is [OUTFILE] folder."


def _name_problem(name: str) -> tuple[str, str] | None:
    """Return why a text cannot be the name of a file in the output folder, and a remedy."""
    if "/" in name:
        hint = "Give a name without a folder: all files are written to [OUTFILE] folder."
        return f"{name} is a path instead of the name of a file", hint
    if name in ("", ".", "..") or not name.isprintable():
        return f"{name!r} is not the name of a file", "Give a name of printable characters."
    if not _encodable(name):
        return f"{name!r} cannot be a file name in this locale", "Use ASCII, or set LANG to a UTF-8 locale."
    if len(os.fsencode(name)) > MAX_LENGTH:
        return f"the name has {len(os.fsencode(name))} bytes", f"At most {MAX_LENGTH} are possible."
    return None


def _encodable(name: str) -> bool:
    """Return whether the encoding of file names, that of the locale, has all characters of a name."""
    try:
        return bool(os.fsencode(name)) or not name
    except UnicodeEncodeError:
        return False


def _collisions(settings: Settings) -> Iterator[Finding]:
    """Find two files of the same name."""
    taken = dict.fromkeys([*FIXED, *FOLDERS, *OWN], "a file of every fit")
    taken |= dict.fromkeys([*report_names(settings)[1:], *system_names(settings)], "a file of every fit")
    snapshots = [(name, "PYTORCH", "checkpoint_interval") for name in snapshot_names(settings)]
    for name, section, key in [*_chosen_names(settings), *_copies(settings), *snapshots]:
        if name in taken:
            yield section, key, f"{name} is also the name of {taken[name]}", "Choose another name."
        taken.setdefault(name, f"[{section}] {key}")
    for row in settings.targets:
        others = [other.name for other in settings.targets if other is not row]
        if row.name.lower() in map(str.lower, [*others, "force"]):
            what = "the files of another property have the same name, which is in lower case"
            yield "TARGETS", row.name, what, "Choose another name."


def _copies(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield the names of the copies of the reference potential's files, each with section and key."""
    reference = settings.reference
    places: Sequence[str] = (settings.folder, "")
    words = dict.fromkeys(word for text in (reference.pair_style, *reference.pair_coeff) for word in text.split())
    for word in words:
        path = next((path for place in places if os.path.isfile(path := os.path.join(place, word))), "")
        if path and word not in settings.elements:
            yield os.path.basename(path), "REFERENCE", "pair_style" if word in reference.pair_style else "pair_coeff"


def _inputs(settings: Settings) -> Iterator[Finding]:
    """Find files that the fit reads, and would replace."""
    pretrained, group_file = settings.architecture.pretrained[0], settings.path.group_file
    start = "start_from" if settings.pytorch.start_from else "save_state_input"
    # A fit can be repeated or continued with the copy of its input: it is written again.
    source = "" if os.path.basename(settings.source) == "input.used.in" else settings.source
    read = {
        source: ("OUTFILE", "folder"),
        settings.initial_file: ("PYTORCH", start),
        os.path.join(settings.folder, pretrained) if pretrained else "": (settings.pytorch.model, "mace_model"),
        os.path.join(settings.folder, group_file) if group_file else "": ("PATH", "groupFile"),
        settings.data_path: ("PATH", "dataPath"),
    }
    written = {os.path.realpath(os.path.join(settings.output_folder, name)) for name in output_names(settings)}
    for path, (section, key) in read.items():
        if os.path.isfile(path) and os.path.realpath(path) in written:
            what = f"{path} is read by the fit and would be replaced by it"
            yield section, key, what, "Copy it to another folder, or choose another [OUTFILE] folder."

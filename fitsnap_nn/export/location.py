"""LAMMPS commands that find the folder of an exported potential, wherever the script that includes it runs.

LAMMPS opens files relative to the working folder and does not tell an included script its own path. Candidates are
therefore tried in turn. A candidate counts only if its ``.mod`` file begins with the identity of the potential, a
digest of its files: two potentials in one input, or an older copy with the same file names, are not confused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fitsnap_nn.lammps.program import PLUGIN_LOADED
from fitsnap_nn.settings.lammps_names import is_readable_path

FOLDER = "potential_folder"  # set by the user, in the input or with -var
QUOTE_VARIABLE = "FITSNAP_NN_QUOTE"  # environment variable of the plugin: one quotation mark


def identity_of(contents: Iterable[bytes]) -> str:
    """Return the identity of a potential.

    Args:
        contents: content of each of its files, and the commands that set it up.
    """
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return f"potential_{digest.hexdigest()[:16]}"


def identity_commands(identity: str) -> list[str]:
    """Return the commands with which a ``.mod`` file begins: a label, which LAMMPS ignores.

    A line break separates the identity from the command, because `location_commands` compares whole lines.
    """
    return ["label &", identity]


def location_commands(mod: str, identity: str, folder: Path) -> list[str]:
    """Return commands that set the variable ``potential_home``, for use as ``in_home`` does, or end with an error.

    Paths that LAMMPS cannot name are no candidates, see `is_readable_path`.

    Candidates are ``potential_folder`` if the user has set it, the working folder, a folder in it with the name of the
    exported one, and the place where the files were written, in this order.

    Args:
        mod: name of the ``.mod`` file.
        identity: see `identity_of`.
        folder: folder for which the files are written.
    """
    places = dict.fromkeys([folder.resolve().as_posix(), folder.resolve().name, "."])
    lines = [
        f"variable potential_quote getenv {QUOTE_VARIABLE}",
        f"variable potential_plugin getenv {PLUGIN_LOADED}",
        "variable potential_found string no",
    ]
    # The last match counts.
    for place in filter(is_readable_path, places):
        exists = f"$(is_file({place}/{mod})) == 1" + (" && x${potential_plugin} == x1" if " " in place else "")
        lines += _try(exists, f"'{place}/{mod}'", identity, f"'{place}'")
    given = f"${{potential_quote}}${{{FOLDER}}}${{potential_quote}}"
    file = f"${{potential_quote}}${{{FOLDER}}}/{mod}${{potential_quote}}"
    failure = (
        f"ERROR: {mod} does not find the files of its potential. Set the variable {FOLDER} to their folder. "
        "Folder names with blanks need the plugin of fitsnap_nn."
    )
    other = (
        f"ERROR: {FOLDER} is ${{{FOLDER}}}, a folder without this potential. LAMMPS keeps the first value of an index "
        f"variable, also after clear: give the command variable {FOLDER} delete before the next value."
    )
    return [
        *lines,
        f'if "$(is_defined(variable,{FOLDER})) == 1" then '
        f'"variable potential_given equal is_file(${{{FOLDER}}}/{mod})" else "variable potential_given equal 0"',
        *_try("${potential_given} == 1", file, identity, given),
        "variable potential_line delete",
        f'if "${{potential_found}} == no && $(is_defined(variable,{FOLDER})) == 1" then "print \'{other}\'"',
        f'if "${{potential_found}} == no" then "print \'{failure}\'" "include no_folder_with_{mod}"',
        f'print "Potential: ${{potential_home}}/{mod}"',
    ]


def in_home(name: str) -> str:
    """Return the path of a file of the potential, as a word of a command after `location_commands`."""
    return f"${{potential_quote}}${{potential_home}}/{name}${{potential_quote}}"


def _try(exists: str, file: str, identity: str, folder: str) -> list[str]:
    """Return commands that choose a folder if a condition holds and the ``.mod`` file there has the identity."""
    return [
        "variable potential_line delete",
        f'if "{exists}" then "variable potential_line file {file}" "next potential_line" '
        'else "variable potential_line string none"',
        f'if "${{potential_line}} == {identity}" then "variable potential_found string yes" '
        f'"variable potential_home string {folder}"',
    ]

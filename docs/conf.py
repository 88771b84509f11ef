"""Settings of the documentation site: ``make docs-html`` writes it to docs/_build/html."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pygments.lexers.shell import BashLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fitsnap_nn import __version__  # noqa: E402

project = "fitsnap_nn"
author = "fitsnap_nn developers"
project_copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "fieldlist"]

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the signature has them, in the short form of the source
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_use_rtype = False
default_role = "literal"  # docstrings mark code by single quotation marks, too

html_theme = "furo"
html_title = f"fitsnap_nn {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"

# Pages that the table of contents lists if they exist.
OPTIONAL_PAGES = ("report", "uncertainty", "ace", "md_checks")
# Pages of docs/examples are the READMEs of the examples. Links to other files outside docs/ work in the repository:
# the site shows their path.
EXAMPLES = {path.stem for path in (ROOT / "docs" / "examples").glob("*.md")}
UPWARDS = re.compile(r"\[([^]\[]+)\]\(((?:\.\./)+)([^)]+)\)")


def on_site(page: str, text: str) -> str:
    """Return the Markdown of a page with its links to the repository outside docs/ replaced.

    Args:
        page: name of the page, such as ``examples/Ta_BPNN``.
        text: its Markdown.
    """
    top = "../" * page.count("/")

    def replaced(match: re.Match[str]) -> str:
        label, _, path = match.groups()
        path = path.removeprefix("docs/") if page.startswith("examples/") else path
        name = path.removeprefix("examples/").split("/")[0]
        if name in EXAMPLES and path.rstrip("/") in (name, f"examples/{name}"):
            return f"[{label}]({top}examples/{name}.md)"
        if (ROOT / "docs" / path.partition("#")[0]).is_file():
            return f"[{label}]({top}{path})"
        return label if label.startswith("`") else f"`{label}`"

    return UPWARDS.sub(replaced, text)


def setup(app: Sphinx) -> None:
    """Register the highlighter of LAMMPS scripts, and where pages come from."""

    def read(app: Sphinx, page: str, source: list[str]) -> None:
        if page.startswith("examples/"):
            source[0] = (ROOT / page / "README.md").read_text(encoding="utf-8")
        if page == "index":
            for name in OPTIONAL_PAGES:
                if not (ROOT / "docs" / f"{name}.md").exists():
                    source[0] = source[0].replace(f"\n{name}\n", "\n")
        source[0] = on_site(page, source[0])

    app.add_lexer("lammps", BashLexer)
    app.connect("source-read", read)

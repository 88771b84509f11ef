"""HTML pages from the templates of this package: complete in themselves, for every browser, without a server."""

from __future__ import annotations

import base64
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fitsnap_nn import __version__
from fitsnap_nn.reports.plots.sheet import DPI

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
GENERATOR = f"fitsnap_nn {__version__}"


class Picture(NamedTuple):
    """A picture inside a page.

    Attributes:
        name: file name.
        caption: description.
        data: content, in base64.
        width, height: size in the page, in CSS pixels.
    """

    name: str
    caption: str
    data: str
    width: int
    height: int


def render(template: str, title: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: file name of the template.
        title: title of the page.
        content: variables of the template; texts in them are escaped.
    """
    return _environment().get_template(template).render(title=title, generator=GENERATOR, **content)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def picture(path: Path, caption: str) -> Picture | None:
    """Return a PNG file for a page; ``None`` if it does not exist.

    Args:
        path: the file.
        caption: description.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < 24 or content[:4] != b"\x89PNG":
        return None
    width, height = struct.unpack(">II", content[16:24])  # of the header of a PNG file
    size = (round(96 / DPI * side) for side in (width, height))  # CSS pixels are 1/96 inch
    return Picture(path.name, caption, base64.b64encode(content).decode(), *size)

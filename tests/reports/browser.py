"""Pages in a headless browser: nothing scrolls sideways, nothing overlaps, nothing comes from the network."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (1280, 390)  # a desktop and a phone
# Boxes of text and pictures that are no parts of each other must not share an area. What a scrolling box hides does not
# count: its children are left out.
OVERLAPS = """
() => {
  const name = (one) => `${one.tagName} ${one.textContent.slice(0, 30)}`;
  const leaves = [...document.querySelectorAll(
    "h1, h2, h3, p, .card, nav a, figure img, figcaption, article, pre, .scroll, .input div, li, "
    + "dt, dd, footer")];
  const inside = ".scroll, pre, .card, article, figcaption, p, dialog";
  const boxes = leaves.filter((one) => one.parentElement.closest(inside) === null)
    .map((one) => [one, one.getBoundingClientRect()]).filter(([, box]) => box.width * box.height > 0);
  const found = [];
  for (let i = 0; i < boxes.length; i++) {
    for (let j = i + 1; j < boxes.length; j++) {
      const [a, p] = boxes[i], [b, q] = boxes[j];
      if (a.contains(b) || b.contains(a)) continue;
      const width = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const height = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (width > 1 && height > 1) found.push(`${name(a)} / ${name(b)}`);
    }
  }
  return found;
}
"""


@contextmanager
def opened(path: Path, width: int) -> Iterator[Any]:
    """Open a page of the file system; skip the test, with the reason, where there is no browser."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("the optional library playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this computer")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": 900})
            requests: list[str] = []
            page.on("request", lambda request: requests.append(request.url))
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(path.resolve().as_uri())
            yield page
            assert errors == []
            assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
        finally:
            browser.close()


def check_layout(path: Path) -> None:
    """Check a page at both widths."""
    for width in WIDTHS:
        with opened(path, width) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OVERLAPS) == []

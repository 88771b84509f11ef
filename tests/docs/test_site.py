"""The documentation site builds without warnings, and answers the first questions within two clicks."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from outside import Outside
from places import ROOT

# Question on the start page: a word of the target page's text that answers it.
QUESTIONS = {
    "Which model?": "First fit to new data",
    "Which weights?": "10 1 1e-10",
    "How long does it take?": "training (CPU s)",
    "How many ranks?": "one per GPU",
    "Why is my stress wrong?": "stress_sign",
    "How do I continue?": "--resume",
    "How do I fine-tune?": "start_from",
}
MAX_PICTURE = 150_000  # bytes


class Page(HTMLParser):
    """Links, pictures, anchors and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.anchors.add(str(values["id"]))
        if tag in ("a", "img"):
            self.links.append(str(values.get("href") or values.get("src") or ""))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> Path:
    """The site, built with warnings as errors."""
    for library in ("sphinx", "furo", "myst_parser", "sphinx_copybutton"):
        outside.library(library)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.mark.slow
def test_every_link_within_the_site_has_its_target(site: Path) -> None:
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, anchor = urldefrag(unquote(link))
            if ":" in target or not (target or anchor):
                continue
            found = (path.parent / target).resolve() if target else path
            missing = anchor and found in pages and anchor not in pages[found].anchors
            if not found.exists() or missing:
                broken.append(f"{path.name}: {link}")
    assert not broken


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_are_answered_within_two_clicks(site: Path, question: str) -> None:
    """The start page asks it and answers it in one sentence; its link leads to the place that says more."""
    html = (site / "index.html").read_text(encoding="utf-8")
    (row,) = [part for part in re.findall(r"<tr.*?</tr>", html, re.DOTALL) if f"<p>{question}</p>" in part]
    link = re.findall(r'href="([^"]+)"', row)[-1]
    target, anchor = urldefrag(link)
    page = Page(site / target)
    assert not anchor or anchor in page.anchors
    assert QUESTIONS[question] in page.text


def test_pages_of_the_api_and_keys_have_content(site: Path) -> None:
    api, keys = (Page(site / name).text for name in ("api.html", "input.html"))
    for name in ("fitsnap_nn.fit", "load_potential", "Potential", "predict", "Calculator", "GraphModel", "InputError"):
        assert name in api
    assert "multi_element_option" in keys


def test_every_example_is_on_the_site() -> None:
    examples = {path.parent.name for path in ROOT.glob("examples/*/README.md")}
    assert examples == {path.stem for path in ROOT.glob("docs/examples/*.md")}
    assert examples == {path.name for path in (ROOT / "examples").iterdir() if path.is_dir()}
    listed = set(re.findall(r"\(examples/(\w+)\.md\)", (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")))
    assert listed == examples


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert pictures
    assert all(path.stat().st_size < MAX_PICTURE for path in pictures)


@pytest.mark.parametrize("path", ["docs", "README.md", "examples"])
def test_weights_are_recommended_in_one_place(path: str) -> None:
    """Rows of groups in pages and examples have the weights of docs/weights.md, or say why not."""
    recommended = {"10 1 1e-10", "10 1 0", "30 1 3e-5"}
    whole = ROOT / path
    files = [whole] if whole.is_file() else [*whole.rglob("*.md"), *whole.rglob("*.in")]
    for file in files:
        if file.name == "weights.md":
            continue
        text = file.read_text(encoding="utf-8")
        for row in re.findall(
            r"^(?:\w[\w*]*|\*) *= *(?:[\d.]+ +){2,3}([\d.]+) +([\d.]+) +([\d.e-]+)$", text, re.MULTILINE
        ):
            scaled = {"1 0.1 1e-11", "1 0.1 0", "10 0 0"}  # groups that count less, and isolated atoms
            assert " ".join(row) in recommended | scaled | {"1.0 0.0 0.0"}, f"{file}: {row}"

"""Generator of input_templates/ and docs/input.md: ``python -m fitsnap_nn.settings.generate [ROOT]``."""

from __future__ import annotations

import sys
from pathlib import Path

from fitsnap_nn.settings.architectures import BUILT_IN
from fitsnap_nn.settings.reference import reference_page
from fitsnap_nn.settings.template import LINEAR_MODELS, LINEAR_ROW, ON_DESCRIPTORS, ROW, Content, render_template


def generated_files() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    files = {"docs/input.md": reference_page()}
    for model in (*ON_DESCRIPTORS, *BUILT_IN):
        row = LINEAR_ROW if model in LINEAR_MODELS else ROW
        content = Content("JSON", "JSON", dict.fromkeys(["Displaced_BCC", "Elastic_*", "Liquid"], row))
        files[f"input_templates/{model}.in"] = render_template(model, ["Ta"], content)
        files[f"input_templates/{model}_every_key.in"] = render_template(model, ["Ta"], content, every_key=True)
    return files


def main(root: Path) -> None:
    """Write all generated files into a folder."""
    for name, text in generated_files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

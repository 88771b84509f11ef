"""Fit the tantalum example and write docs/pictures: ``make pictures``.

The pictures are those of the fit, with fewer colours so that they stay small.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

import fitsnap_nn

DOCS = Path(__file__).resolve().parent
EXAMPLE = DOCS.parent / "examples" / "Ta_BPNN"
NAMES = ("parity.png", "learning_curve.png")
WIDTH, COLOURS = 1400, 64  # pixels; of the palette


def main() -> None:
    """Fit, and store the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        keys = {"OUTFILE.folder": folder, "PATH.dataPath": EXAMPLE / "JSON"}
        fit = fitsnap_nn.fit(EXAMPLE / "Ta.in", keys, overwrite=True, verify=False)
        for name in NAMES:
            picture = Image.open(fit.folder / name).convert("RGB")
            width = min(WIDTH, picture.width)
            small = picture.resize((width, picture.height * width // picture.width), Image.Resampling.LANCZOS)
            small.quantize(COLOURS, dither=Image.Dither.NONE).save(DOCS / "pictures" / name, optimize=True)


if __name__ == "__main__":
    main()

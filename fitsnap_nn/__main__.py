"""``python -m fitsnap_nn``, and the program ``fitsnap_nn``."""

from __future__ import annotations

import gc
import sys

from fitsnap_nn import interrupts


def main() -> int:
    """Run one command; return the exit code. Signals are handled from here on, that is during the imports too."""
    with interrupts.handled():
        from fitsnap_nn.cli import main as run

        code = run()
    gc.freeze()  # this process ends: a last collection among all objects of torch takes up to seconds
    return code


if __name__ == "__main__":
    sys.exit(main())

"""``python -m fitsnap_nn``."""

from __future__ import annotations

import sys

from fitsnap_nn.cli import main

if __name__ == "__main__":
    sys.exit(main())

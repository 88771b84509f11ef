"""Files of checks and of the uncertainty in the output folder, which other parts of a fit write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fitsnap_nn.errors import CheckpointError
from fitsnap_nn.files import read_regular


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; empty if there is none.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        content = json.loads(read_regular(path))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}. Write it again, or remove it.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: it contains no object. Write it again, or remove it.")
    return content

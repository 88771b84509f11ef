from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import ELEMENTS, Oracle


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    found = Oracle(ELEMENTS)
    yield found
    found.close()

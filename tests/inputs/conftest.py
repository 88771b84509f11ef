from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import ELEMENTS, Oracle

from fitsnap_nn.inputs.snap.compute import Route, choose_route


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    found = Oracle(ELEMENTS)
    yield found
    found.close()


@pytest.fixture
def kernel_is_built() -> None:
    route, description = choose_route()
    if route != "kernel":
        pytest.skip(description)


@pytest.fixture(params=["kernel", "compute snap"])
def route(request: pytest.FixtureRequest) -> Route:
    """Each of the two ways to components; the kernel only where it has been built."""
    if request.param == "kernel":
        request.getfixturevalue("kernel_is_built")
    return request.param

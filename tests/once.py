"""Work that several tests share: done once, also if it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def once(function: Callable[..., T]) -> Callable[..., T]:
    """Call a function once for each list of arguments.

    What it raised, a skip included, is raised again for the tests that follow: none of them goes on with a result that
    is not there, and none repeats what takes its time to fail.
    """
    outcomes: dict[tuple[Any, ...], tuple[T | None, BaseException | None]] = {}

    def call(*arguments: Any) -> Any:
        if arguments not in outcomes:
            try:
                outcomes[arguments] = function(*arguments), None
            except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
                outcomes[arguments] = None, error
        result, error = outcomes[arguments]
        if error is not None:
            raise error
        return result

    return call

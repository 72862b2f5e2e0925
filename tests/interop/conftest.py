"""Fixtures of all suites."""

from collections.abc import Iterator

import pytest

from lab import STATE, Lab, open_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab of this test's own."""
    yield from open_lab()


@pytest.fixture(scope="module")
def shared_lab() -> Iterator[Lab]:
    """A lab for the tests of one file, none of which changes it."""
    yield from open_lab()


@pytest.fixture(scope="session", autouse=True)
def state() -> None:
    STATE.mkdir(parents=True, exist_ok=True)

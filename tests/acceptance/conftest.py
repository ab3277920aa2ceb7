"""Real processes around a fresh database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from deployments.embedded.stack import EmbeddedStack
from tests.support.services import Services, running_services

Tell = Callable[[str, object], None]


@pytest.fixture
def services(prefect: EmbeddedStack, database_url: URL, tmp_path: Path) -> Iterator[Services]:
    with running_services(prefect, database_url, tmp_path) as services:
        yield services


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Show a figure that was measured, which no test asserts."""

    def tell(what: str, value: object) -> None:
        record_property(what, value)
        print(f"measured: {what}: {value}")  # noqa: T201 - shown by `pytest -rP`

    return tell

"""Real processes around a fresh database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from deployments.embedded.stack import EmbeddedStack
from tests.support.services import Services, running_services


@pytest.fixture
def services(prefect: EmbeddedStack, database_url: URL, tmp_path: Path) -> Iterator[Services]:
    with running_services(prefect, database_url, tmp_path) as services:
        yield services

"""One real PostgreSQL for the whole run, one fresh database per test, and Prefect on demand."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.settings import load_settings
from persistence.sessions import Database
from tests.support.databases import Cluster, add_organizations, cluster_of, open_roles
from tests.support.homes import temporary_home

# No test asserts seconds: properties neither, however busy the machine is.
settings.register_profile("tenantry", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tenantry")
# In the background of a script it is ignored, and would be in every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def stack() -> Iterator[EmbeddedStack]:
    with (
        temporary_home() as home,
        open_stack(load_settings({"TENANTRY_HOME": str(home)}), ("postgres",)) as stack,
    ):
        yield stack


@pytest.fixture(scope="session")
def prefect(stack: EmbeddedStack) -> EmbeddedStack:
    """The stack with Prefect's server ready in it."""
    stack.ensure("prefect")
    stack.wait_ready()
    return stack


@pytest.fixture(scope="session")
def cluster(stack: EmbeddedStack) -> Cluster:
    return cluster_of(stack.superuser_url, stack.database_url)


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    return cluster.make_template()


@pytest.fixture
def database_url(cluster: Cluster, template: str) -> Iterator[URL]:
    """A fresh, migrated, empty database, as its owner."""
    url = cluster.copy(template)
    yield url
    cluster.drop(url)


@pytest.fixture
def database(database_url: URL) -> Iterator[Database]:
    """A fresh database as our roles, with the organizations Acme and Globex."""
    with open_roles(database_url) as database:
        add_organizations(database)
        yield database


@pytest.fixture
def superuser(cluster: Cluster, database_url: URL) -> Iterator[Connection]:
    """A session that no policy binds, each statement a transaction of its own."""
    url = cluster.as_superuser(database_url)
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as link:
        yield link

"""Open the installation for a command, and make sure that there is its organization."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from deployments.cli.invocation import Invocation
from deployments.cli.own_database import check_database_urls
from deployments.cli.screen import Progress
from deployments.documents import flow_run_url
from deployments.embedded.layout import Home
from deployments.embedded.locks import is_held
from deployments.embedded.specs import PREFECT
from deployments.embedded.state import read_state
from deployments.installation import Installation, open_installation
from deployments.settings import Settings
from domain.executions import Execution
from domain.ids import OrgId, UserId
from persistence.organizations import (
    OrganizationNotFound,
    ensure_member,
    ensure_organization,
    get_org_slug,
)
from persistence.sessions import Database, OrgSession

_STOPPING = "Stopping what nobody else uses"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a command works: one organization of an open installation."""

    installation: Installation
    org_id: OrgId
    user_id: UserId

    @contextmanager
    def session(self, *, snapshot: bool = False) -> Generator[OrgSession]:
        """Open one transaction for the organization; see `Database.org`."""
        database = self.installation.database
        with database.org(self.org_id, user_id=self.user_id, snapshot=snapshot) as session:
            yield session

    def prefect_link(self, execution: Execution) -> str | None:
        """Find an execution's page in Prefect, where it is known which Prefect runs."""
        return flow_run_url(find_prefect_ui(self.installation.settings), execution)


@contextmanager
def open_desk(invocation: Invocation, *, services: bool = False) -> Generator[Desk]:
    """Open the installation for the organization of an invocation.

    On the embedded database the organization of a newcomer, the default one, is made when it is
    missing.

    Args:
        services: also Prefect, a worker and the steward.

    Raises:
        OrganizationNotFound: there is no such organization.
    """
    with open_quietly(invocation, services=services) as installation:
        ensure_org(invocation, installation.database)
        yield Desk(installation, invocation.org_id, invocation.user_id)


@contextmanager
def open_quietly(invocation: Invocation, *, services: bool = False) -> Generator[Installation]:
    """Open the installation; say what takes time while it opens and closes, and else nothing.

    Raises:
        DatabaseUrlInvalid: the database's URLs cannot be used.
    """
    check_database_urls(invocation.settings)
    with ExitStack() as stack:
        with Progress() as progress:
            installation = stack.enter_context(
                open_installation(invocation.settings, services=services, say=progress.say)
            )
        yield installation
        with Progress(_STOPPING):
            stack.close()


def ensure_org(invocation: Invocation, database: Database) -> None:
    """Make sure that there is the organization of an invocation.

    Raises:
        OrganizationNotFound: there is none, and it is not a newcomer's.
    """
    org_id = invocation.org_id
    with database.for_platform() as session:
        try:
            get_org_slug(session, org_id)
        except OrganizationNotFound:
            if not invocation.is_embedded or org_id != Settings.model_fields["org"].default:
                raise
            ensure_organization(session, org_id, name="Demo", slug="demo")
            user_id = UserId(Settings.model_fields["user"].default)
            ensure_member(session, org_id, user_id, name="Admin", role="admin")


def find_prefect_ui(settings: Settings) -> str | None:
    """Find the address of Prefect's pages: as set, or of the Prefect that runs here."""
    if settings.prefect_ui_url is not None:
        return settings.prefect_ui_url
    if settings.prefect_api_url is not None:
        return settings.prefect_api_url.removesuffix("/api")
    port = _find_prefect_port(settings)
    return f"http://127.0.0.1:{port}" if port else None


def find_prefect_api(settings: Settings) -> str | None:
    """Find the address of Prefect's API: as set, or of the Prefect that runs here."""
    if settings.prefect_api_url is not None:
        return settings.prefect_api_url
    port = _find_prefect_port(settings)
    return f"http://127.0.0.1:{port}/api" if port else None


def _find_prefect_port(settings: Settings) -> int | None:
    home = Home(settings.home)
    if not is_held(home.keeper_lock):
        return None
    prefect = read_state(home.state_file).services.get(PREFECT)
    return prefect.port if prefect else None

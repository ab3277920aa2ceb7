"""Organizations and the people in them."""

from typing import Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.catalog import Organization
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, UserId
from persistence.sessions import PlatformSession
from persistence.tables import MembershipRow, OrganizationRow, UserRow

Role = Literal["viewer", "operator", "editor", "admin"]


class OrganizationNotFound(TenantryError):
    """There is no such organization."""

    code = ErrorCode.ORGANIZATION_NOT_FOUND

    def __init__(self, org_id: str) -> None:
        super().__init__(
            f"There is no organization `{org_id}` here.",
            hint="Create it with `tenantry orgs create`, or name another with `--org`.",
        )


def ensure_organization(session: PlatformSession, org_id: OrgId, *, name: str, slug: str) -> None:
    """Make an organization, unless it is there."""
    session.execute(
        insert(OrganizationRow)
        .values(id=org_id, name=name, slug=slug)
        .on_conflict_do_nothing(index_elements=["id"])
    )


def ensure_member(
    session: PlatformSession, org_id: OrgId, user_id: UserId, *, name: str, role: Role
) -> None:
    """Make a user and their membership, unless they are there."""
    session.execute(
        insert(UserRow).values(id=user_id, name=name).on_conflict_do_nothing(index_elements=["id"])
    )
    session.execute(
        insert(MembershipRow)
        .values(org_id=org_id, user_id=user_id, role=role)
        .on_conflict_do_nothing()
    )


def list_organizations(session: PlatformSession) -> list[Organization]:
    """List all organizations by id."""
    rows = session.scalars(select(OrganizationRow).order_by(OrganizationRow.id))
    return [
        Organization(id=OrgId(row.id), name=row.name, slug=row.slug, created_at=row.created_at)
        for row in rows
    ]


def get_org_name(session: PlatformSession, org_id: OrgId) -> str:
    """Read an organization's name.

    Raises:
        OrganizationNotFound: there is none.
    """
    return _get_org(session, org_id).name


def get_org_slug(session: PlatformSession, org_id: OrgId) -> str:
    """Read an organization's slug.

    Raises:
        OrganizationNotFound: there is none.
    """
    return _get_org(session, org_id).slug


def _get_org(session: PlatformSession, org_id: OrgId) -> OrganizationRow:
    found = session.scalar(select(OrganizationRow).where(OrganizationRow.id == org_id))
    if found is None:
        raise OrganizationNotFound(org_id)
    return found

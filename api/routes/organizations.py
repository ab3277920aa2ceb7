"""Organizations: one's own, and for the platform's administrators all of them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.cursors import (
    EXAMPLE_CURSOR,
    Cursor,
    read_cursor,
    scope_of,
    unreadable_cursor,
    write_cursor,
)
from api.request_models import RequestModel
from api.routes.members import USER_ID_PATTERN
from domain.catalog import Organization
from domain.errors import ErrorCode, InvalidInput
from domain.ids import OrgId, UserId, new_org_id
from domain.permissions import Permission, Role
from domain.text import read_name, slugify
from persistence.members import (
    add_organization,
    get_organization,
    page_organizations,
    set_member,
)

router = APIRouter(tags=["organizations"], responses=PROBLEMS)
Member = Annotated[Access, Depends(allow(Permission.ORGANIZATIONS_READ))]
PlatformAdmin = Annotated[Access, Depends(allow(Permission.ORGANIZATIONS_WRITE))]
_MAX_NAME_CHARS = 120
_SCOPE = scope_of()


class OrganizationWish(RequestModel):
    """An organization to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Acme", "id": "org_acme", "first_admin": "user_anna"}]
        },
    )

    name: Annotated[Text, Field(min_length=1, max_length=_MAX_NAME_CHARS)]
    id: str | None = Field(
        default=None,
        pattern=r"^org_[a-z0-9]([a-z0-9_]{0,60}[a-z0-9])?$",
        max_length=66,
        description="`org_…`; without it, one is made.",
    )
    first_admin: str | None = Field(
        default=None,
        pattern=USER_ID_PATTERN,
        max_length=67,
        description="Its first administrator, made where there is no such user; else you.",
    )


class OrganizationEntry(BaseModel):
    """An organization."""

    id: str = Field(examples=["org_acme"])
    name: str = Field(examples=["Acme"])
    slug: str = Field(description="How Prefect's pages call it.", examples=["acme"])
    created_at: datetime

    @classmethod
    def of(cls, found: Organization) -> "OrganizationEntry":
        """Show an organization."""
        return cls(id=found.id, name=found.name, slug=found.slug, created_at=found.created_at)


class OrganizationList(BaseModel):
    """One page of organizations, by id."""

    items: list[OrganizationEntry]
    next_cursor: str | None = Field(
        description="`null` on the last page.", examples=[EXAMPLE_CURSOR]
    )


class OrganizationWishInvalid(InvalidInput):
    """An organization that cannot be made as asked for."""

    code = ErrorCode.REQUEST_INVALID
    subject = "organization"


@router.post("/organizations", status_code=201)
def create_organization(access: PlatformAdmin, wish: OrganizationWish) -> OrganizationEntry:
    """Make an organization with its first administrator. For the platform's administrators."""
    try:
        name = read_name(wish.name, max_chars=_MAX_NAME_CHARS)
    except ValueError as error:
        raise OrganizationWishInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/name",
            f"The organization's name {error}.",
            "Give the name that people call it by.",
        ) from error
    org_id = OrgId(wish.id) if wish.id is not None else new_org_id()
    # One id, one slug: `-` cannot be in an id.
    slug = org_id.removeprefix("org_").replace("_", "-") if wish.id is not None else slugify(name)
    user_id = access.principal.user_id
    # Opened for the new organization: its row and its first entry of the audit trail are its own.
    with access.state.database.org(org_id, user_id=user_id, origin=access.origin) as session:
        made = add_organization(session, name=name, slug=slug)
        admin = UserId(wish.first_admin) if wish.first_admin is not None else user_id
        set_member(session, admin, role=Role.ADMIN, elsewhere=True)
    return OrganizationEntry.of(made)


@router.get("/organizations")
def list_organizations(
    access: PlatformAdmin,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> OrganizationList:
    """List all organizations. For the platform's administrators."""
    position = [None] if cursor is None else read_cursor(cursor, "organizations", _SCOPE)
    if len(position) != 1:
        raise unreadable_cursor()
    with access.state.database.for_platform() as session:
        found = page_organizations(session, after=position[0], limit=limit + 1)
    page, more = found[:limit], found[limit:]
    return OrganizationList(
        items=[OrganizationEntry.of(each) for each in page],
        next_cursor=write_cursor("organizations", _SCOPE, [page[-1].id]) if more else None,
    )


@router.get("/organization")
def read_own_organization(access: Member) -> OrganizationEntry:
    """Show your own organization."""
    with access.open() as session:
        return OrganizationEntry.of(get_organization(session))

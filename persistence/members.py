"""Members of organizations, and the making of organizations, each with its audit entry."""

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from domain.catalog import Member, Organization
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, UserId
from domain.json_data import JsonObject
from domain.permissions import Role
from domain.text import quote
from persistence.audit import add_audit, note_act
from persistence.organizations import OrganizationNotFound
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import MembershipRow, OrganizationRow, UserRow
from persistence.tokens import revoke_tokens_of


class MemberNotFound(TenantryError):
    """This organization has no such member."""

    code = ErrorCode.MEMBER_NOT_FOUND

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"There is no member {quote(user_id)} in this organization.",
            hint="`GET /api/v1/members` lists them. Somebody of another organization is added "
            "by the platform's administrators, with `tenantry users add`.",
        )


class LastAdmin(TenantryError):
    """An organization would be left with nobody who administers it."""

    code = ErrorCode.MEMBER_LAST_ADMIN

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"{quote(user_id)} is the organization's last administrator.",
            hint="Make somebody else an `admin` first.",
        )


class OrganizationIdTaken(TenantryError):
    """There is an organization of this id or slug."""

    code = ErrorCode.ORGANIZATION_ID_TAKEN

    def __init__(self, org_id: str, slug: str) -> None:
        super().__init__(
            f"There is an organization of the id {quote(org_id)} or the slug {quote(slug)} "
            "already.",
            hint="Give an `id` of its own: the slug is made from it, else from the name.",
        )


def add_organization(session: OrgSession, *, name: str, slug: str) -> Organization:
    """Make the organization that the session is opened for.

    Raises:
        OrganizationIdTaken: there is one of that id or slug.
    """
    added = session.execute(
        insert(OrganizationRow)
        .values(id=session.org_id, name=name, slug=slug)
        .on_conflict_do_nothing()
        .returning(OrganizationRow)
    ).scalar()
    if added is None:
        raise OrganizationIdTaken(session.org_id, slug)
    note_act(session, "organization.created", session.org_id, {"slug": slug})
    return _to_organization(added)


def get_organization(session: OrgSession) -> Organization:
    """Read the session's own organization."""
    row = session.scalar(select(OrganizationRow))
    if row is None:
        raise OrganizationNotFound(session.org_id)
    return _to_organization(row)


def page_organizations(
    session: PlatformSession, *, after: str | None = None, limit: int = 100
) -> list[Organization]:
    """List organizations by id; `after` is the last one of the page before."""
    query = select(OrganizationRow).order_by(OrganizationRow.id).limit(limit)
    if after is not None:
        query = query.where(OrganizationRow.id > after)
    return [_to_organization(row) for row in session.scalars(query)]


def set_member(
    session: OrgSession,
    user_id: UserId,
    *,
    role: Role,
    name: str | None = None,
    elsewhere: bool = False,
) -> tuple[Member, bool]:
    """Make somebody a member, or change a member's role; say too whether they are new here.

    Args:
        name: of a user who is new; without it, the id's own.
        elsewhere: also somebody who is known from another organization. Not for tenants: their
            administrators would read names of other organizations' people.

    Raises:
        MemberNotFound: the user is known elsewhere.
        LastAdmin: nobody would be left who administers the organization.
    """
    before, admins = _lock(session, user_id)
    # What is known before the change: the row is the session's, and changes with it.
    is_new = before is None or before.removed_at is not None
    was = None if before is None or is_new else before.role
    if was == role.value:
        return get_member(session, user_id), False
    if role is not Role.ADMIN and admins == [user_id]:
        raise LastAdmin(user_id)
    if before is None:
        _add(session, user_id, role, name=name, elsewhere=elsewhere)
    else:
        _change(session, user_id, {"role": role.value, "removed_at": None})
    details: JsonObject = {"role": role.value, "was": was}
    note_act(session, "member.added" if is_new else "member.changed", user_id, details)
    return get_member(session, user_id), is_new


def remove_member(session: OrgSession, user_id: UserId) -> None:
    """Take somebody out of the organization; their tokens are revoked, for good.

    The row stays, for the audit trail's names.

    Raises:
        MemberNotFound: there is no such member.
        LastAdmin: nobody would be left who administers the organization.
    """
    before, admins = _lock(session, user_id)
    if before is None or before.removed_at is not None:
        raise MemberNotFound(user_id)
    if admins == [user_id]:
        raise LastAdmin(user_id)
    was = before.role
    _change(session, user_id, {"removed_at": utc_now()})
    removed = revoke_tokens_of(session, user_id)
    note_act(session, "member.removed", user_id, {"was": was})
    add_audit(session, removed)


def get_member(session: OrgSession, user_id: UserId) -> Member:
    """Find a member.

    Raises:
        MemberNotFound: there is none.
    """
    found = list_members(session, only=user_id)
    if not found:
        raise MemberNotFound(user_id)
    return found[0]


def list_members(
    session: OrgSession,
    *,
    only: UserId | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[Member]:
    """List the organization's members by id; `after` is the last one of the page before."""
    query = (
        select(MembershipRow, UserRow.name)
        .join(UserRow, UserRow.id == MembershipRow.user_id)
        .where(MembershipRow.removed_at.is_(None))
        .order_by(MembershipRow.user_id)
        .limit(limit)
    )
    if only is not None:
        query = query.where(MembershipRow.user_id == only)
    if after is not None:
        query = query.where(MembershipRow.user_id > after)
    return [
        Member(
            user_id=UserId(row.user_id), name=name, role=Role(row.role), created_at=row.created_at
        )
        for row, name in session.execute(query)
    ]


def set_platform_admin(session: PlatformSession, user_id: UserId, *, is_admin: bool) -> None:
    """Make somebody an administrator of the platform, or take that away."""
    session.execute(update(UserRow).where(UserRow.id == user_id).values(platform_admin=is_admin))


def list_platform_admins(session: PlatformSession) -> frozenset[UserId]:
    """Name all who administer the platform."""
    found = session.scalars(select(UserRow.id).where(UserRow.platform_admin))
    return frozenset(UserId(user_id) for user_id in found)


def _lock(session: OrgSession, user_id: UserId) -> tuple[MembershipRow | None, list[str]]:
    """Give somebody's row, if there is one, and the ids of all administrators.

    All locked in one order: of two administrators who demote each other at once, the second one
    waits, and is refused.
    """
    is_admin = (MembershipRow.role == Role.ADMIN.value) & MembershipRow.removed_at.is_(None)
    rows = session.scalars(
        select(MembershipRow)
        .where((MembershipRow.user_id == user_id) | is_admin)
        .order_by(MembershipRow.user_id)
        .with_for_update()
    ).all()
    admins = [row.user_id for row in rows if row.role == Role.ADMIN and row.removed_at is None]
    return next((row for row in rows if row.user_id == user_id), None), admins


def _add(
    session: OrgSession, user_id: UserId, role: Role, *, name: str | None, elsewhere: bool
) -> None:
    # No conflict target: naming one would ask for the right to see the row, which a user has
    # only with the membership.
    shown = name or user_id.removeprefix("user_")
    known = insert(UserRow).values(id=user_id, name=shown).on_conflict_do_nothing()
    counting = known.execution_options(preserve_rowcount=True)
    if session.connection().execute(counting).rowcount == 0 and not elsewhere:
        raise MemberNotFound(user_id)
    session.execute(
        insert(MembershipRow)
        .values(org_id=session.org_id, user_id=user_id, role=role.value)
        .on_conflict_do_nothing()
    )


def _change(session: OrgSession, user_id: UserId, values: dict[str, object]) -> None:
    session.execute(update(MembershipRow).where(MembershipRow.user_id == user_id).values(**values))


def _to_organization(row: OrganizationRow) -> Organization:
    return Organization(id=OrgId(row.id), name=row.name, slug=row.slug, created_at=row.created_at)

"""API tokens: opaque, 256 bits, kept as SHA-256 only."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, Row, any_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased

from domain.audit import AuditEntry
from domain.clock import utc_now
from domain.errors import ErrorCode, TenantryError
from domain.ids import OrgId, TokenId, UserId, new_token_id
from domain.json_data import JsonObject
from domain.permissions import Permission, Principal, Role, permissions_of
from domain.text import quote
from persistence.audit import add_audit, note_act
from persistence.sessions import OrgSession, PlatformSession
from persistence.tables import ApiTokenRow, MembershipRow, UserRow

MARK = "tnt_"
"""What every token begins with, so that scanners for leaked secrets know one."""
_SHOWN_CHARS = len(MARK) + 6
# A token's last use is noted at most this often: not one write for every request.
_USE_NOTED_EVERY_S = 60
MAX_LIVE_TOKENS = 50
"""How many tokens of one member let in at a time."""


class TokenInvalid(TenantryError):
    """A request has no token, or one that lets nobody in. Which of the two is not said."""

    code = ErrorCode.TOKEN_INVALID

    def __init__(self) -> None:
        super().__init__(
            "The request has no valid token.",
            hint="Send `Authorization: Bearer tnt_…` with a token that has not expired and was "
            "not revoked; `tenantry tokens create` makes one.",
        )


class TokenNotFound(TenantryError):
    """This organization has no such token."""

    code = ErrorCode.TOKEN_NOT_FOUND

    def __init__(self, token_id: str) -> None:
        super().__init__(
            f"There is no token `{token_id}` in this organization.",
            hint="`GET /api/v1/tokens` lists them.",
        )


class TokenLimitReached(TenantryError):
    """A member has as many tokens that let in as one may have."""

    code = ErrorCode.TOKEN_LIMIT_REACHED

    def __init__(self, user_id: str) -> None:
        super().__init__(
            f"{quote(user_id)} has {MAX_LIVE_TOKENS} tokens that let in, which is the most.",
            hint="Revoke tokens that nobody uses; `GET /api/v1/tokens` says when each was used.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """What is known of a token; never the token itself.

    `scopes` is `None` if not narrowed, `parent_id` if it was not made with another token.
    """

    id: TokenId
    org_id: OrgId
    user_id: UserId
    name: str
    prefix: str
    parent_id: TokenId | None
    scopes: tuple[Permission, ...] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


def add_token(
    session: OrgSession,
    user_id: UserId,
    *,
    name: str,
    expires_at: datetime,
    scopes: Sequence[Permission] | None = None,
    parent_id: TokenId | None = None,
) -> tuple[ApiToken, str]:
    """Make a token, with its audit entry; return it and its secret text, which is kept nowhere.

    Args:
        parent_id: the token that it is made with. It ends at latest with it, and dies with it.

    Raises:
        TokenInvalid: its owner is no member any more, or its parent lets nobody in.
        TokenLimitReached: its owner has as many as one may have.
    """
    _lock_owner(session, user_id)
    if parent_id is not None:
        expires_at = min(expires_at, get_live_token(session, parent_id, lock=True).expires_at)
    secret = MARK + secrets.token_urlsafe(32)
    row = ApiTokenRow(
        id=new_token_id(),
        org_id=session.org_id,
        user_id=user_id,
        name=name,
        prefix=secret[:_SHOWN_CHARS],
        hash=_hash(secret),
        parent_id=parent_id,
        scopes=None if scopes is None else [scope.value for scope in scopes],
        created_at=utc_now(),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    note_act(session, "token.created", row.id, {"parent_id": parent_id} if parent_id else None)
    return _to_token(row), secret


def revoke_token(session: OrgSession, token_id: TokenId, *, of: UserId | None = None) -> ApiToken:
    """Take a token's power away, and that of all that were made with it, for good.

    Revoking twice is revoking once. Each that is taken back is an entry in the audit trail.

    Args:
        of: only if it is this user's.

    Raises:
        TokenNotFound: there is none.
    """
    query = select(ApiTokenRow).where(ApiTokenRow.id == token_id).with_for_update()
    row = session.scalar(query if of is None else query.where(ApiTokenRow.user_id == of))
    if row is None:
        raise TokenNotFound(token_id)
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        session.flush()
        entries = [_revoked(session, row.id, {}), *_revoke_children(session)]
        add_audit(session, entries)
    return _to_token(row)


def revoke_tokens_of(session: OrgSession, user_id: UserId) -> list[AuditEntry]:
    """Take all tokens of somebody back, for good; return the entries for the audit trail.

    Call it with the member's row locked, so that none is made meanwhile.
    """
    rows = session.scalars(
        update(ApiTokenRow)
        .where(ApiTokenRow.user_id == user_id, ApiTokenRow.revoked_at.is_(None))
        .values(revoked_at=utc_now())
        .returning(ApiTokenRow.id)
    ).all()
    return [_revoked(session, id, {"member_removed": user_id}) for id in sorted(rows)]


def get_live_token(session: OrgSession, token_id: TokenId, *, lock: bool = False) -> ApiToken:
    """Read a token that lets in; with `lock`, nobody revokes it until the commit.

    The owner's membership is locked first, by all who lock both.

    Raises:
        TokenInvalid: it lets nobody in.
    """
    query = select(ApiTokenRow).where(
        ApiTokenRow.id == token_id,
        ApiTokenRow.revoked_at.is_(None),
        ApiTokenRow.expires_at > func.now(),
    )
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    row = session.scalar(query)
    if row is None:
        raise TokenInvalid
    return _to_token(row)


def _lock_owner(session: OrgSession, user_id: UserId) -> None:
    # Of two who make the last token that one may have, the second one waits, and is refused; and
    # whoever removes the member waits as well, and finds the token.
    member = session.scalar(
        select(MembershipRow.user_id)
        .where(MembershipRow.user_id == user_id, MembershipRow.removed_at.is_(None))
        .with_for_update()
    )
    if member is None:
        raise TokenInvalid
    live = session.scalar(
        select(func.count())
        .select_from(ApiTokenRow)
        .where(
            ApiTokenRow.user_id == user_id,
            ApiTokenRow.revoked_at.is_(None),
            ApiTokenRow.expires_at > func.now(),
        )
    )
    if (live or 0) >= MAX_LIVE_TOKENS:
        raise TokenLimitReached(user_id)


def _revoke_children(session: OrgSession) -> list[AuditEntry]:
    """Take back what was made with revoked tokens, generation by generation.

    A token that is just being made holds its parent's lock: the next look finds it.
    """
    parent = aliased(ApiTokenRow)
    entries: list[AuditEntry] = []
    while True:
        orphans = session.execute(
            update(ApiTokenRow)
            .where(
                ApiTokenRow.parent_id == parent.id,
                parent.revoked_at.is_not(None),
                ApiTokenRow.revoked_at.is_(None),
            )
            .values(revoked_at=utc_now())
            .returning(ApiTokenRow.id, ApiTokenRow.parent_id)
            .execution_options(synchronize_session=False)
        ).all()
        if not orphans:
            return entries
        found = sorted(orphans, key=lambda row: row.id)
        entries += [_revoked(session, row.id, {"parent_id": row.parent_id}) for row in found]


def _revoked(session: OrgSession, token_id: str, details: JsonObject) -> AuditEntry:
    return AuditEntry(
        action="token.revoked",
        resource_type="token",
        resource_id=token_id,
        success=True,
        timestamp=utc_now(),
        user_id=session.user_id,
        details=details,
    )


def list_tokens(session: OrgSession, *, of: UserId | None = None) -> list[ApiToken]:
    """List the organization's tokens, or one user's, newest first."""
    query = select(ApiTokenRow).order_by(ApiTokenRow.id.desc())
    if of is not None:
        query = query.where(ApiTokenRow.user_id == of)
    return [_to_token(row) for row in session.scalars(query)]


def authenticate(
    session: PlatformSession, secrets: Sequence[str]
) -> list[Principal | TokenInvalid]:
    """Find out whom each of some tokens lets in, and what they may do now.

    The same work for every text that is given: a hash, and a look-up by it, which tells nothing
    about how much of a guess was right.

    Returns:
        In the order of the secrets, who comes; `TokenInvalid` for one that is unknown, expired
        or revoked.
    """
    hashes = [_hash(secret) for secret in secrets]
    rows = session.execute(_AUTHENTICATE, {"hashes": list(set(hashes))}).all()
    now = utc_now()
    used = [row.id for row in rows if _is_use_due(row.last_used_at, now)]
    if used:
        session.execute(
            update(ApiTokenRow).where(ApiTokenRow.id.in_(used)).values(last_used_at=now)
        )
    known = {bytes(row.hash): _to_principal(row) for row in rows}
    return [known.get(hash) or TokenInvalid() for hash in hashes]


_AUTHENTICATE = (
    select(
        ApiTokenRow.hash,
        ApiTokenRow.id,
        ApiTokenRow.org_id,
        ApiTokenRow.user_id,
        ApiTokenRow.scopes,
        ApiTokenRow.last_used_at,
        MembershipRow.role,
        UserRow.platform_admin,
    )
    .join(
        MembershipRow,
        (MembershipRow.org_id == ApiTokenRow.org_id)
        & (MembershipRow.user_id == ApiTokenRow.user_id),
    )
    .join(UserRow, UserRow.id == ApiTokenRow.user_id)
    .where(
        ApiTokenRow.hash == any_(bindparam("hashes", type_=ARRAY(LargeBinary))),
        MembershipRow.removed_at.is_(None),
        ApiTokenRow.revoked_at.is_(None),
        ApiTokenRow.expires_at > func.now(),
    )
)


def _is_use_due(last_used_at: datetime | None, now: datetime) -> bool:
    return last_used_at is None or (now - last_used_at).total_seconds() >= _USE_NOTED_EVERY_S


def _to_principal(row: Row[Any]) -> Principal:
    scopes = None if row.scopes is None else [Permission(scope) for scope in row.scopes]
    return Principal(
        org_id=OrgId(row.org_id),
        user_id=UserId(row.user_id),
        token_id=TokenId(row.id),
        permissions=permissions_of(
            Role(row.role), platform_admin=row.platform_admin, scopes=scopes
        ),
    )


def _hash(secret: str) -> bytes:
    # 256 random bits need no slow hash: nobody guesses them, and a request waits for this.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _to_token(row: ApiTokenRow) -> ApiToken:
    scopes = None if row.scopes is None else tuple(Permission(scope) for scope in row.scopes)
    return ApiToken(
        id=TokenId(row.id),
        org_id=OrgId(row.org_id),
        user_id=UserId(row.user_id),
        name=row.name,
        prefix=row.prefix,
        parent_id=TokenId(row.parent_id) if row.parent_id else None,
        scopes=scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )

"""Members: who is in the organization, and as what."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
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
from domain.catalog import Member
from domain.ids import UserId
from domain.permissions import Permission, Role
from persistence.members import list_members, remove_member, set_member

router = APIRouter(prefix="/members", tags=["members"], responses=PROBLEMS)
Reader = Annotated[Access, Depends(allow(Permission.MEMBERS_READ))]
Writer = Annotated[Access, Depends(allow(Permission.MEMBERS_WRITE))]
# As `domain.ids.is_named_id` and the table's own check have it, in the form that both accept.
USER_ID_PATTERN = r"^user_[a-z0-9]([a-z0-9_]{0,60}[a-z0-9])?$"
NewUserId = Annotated[str, Path(pattern=USER_ID_PATTERN, max_length=67, examples=["user_anna"])]
_SCOPE = scope_of()


class MemberWish(RequestModel):
    """What somebody shall be."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"role": "editor", "name": "Anna Berg"}]},
    )

    role: Role
    name: Annotated[Text, Field(min_length=1, max_length=120)] | None = Field(
        default=None, description="Of a user who is new; without it, made from the id."
    )


class MemberEntry(BaseModel):
    """A member."""

    user_id: str = Field(examples=["user_anna"])
    name: str = Field(examples=["Anna Berg"])
    role: Role
    created_at: datetime

    @classmethod
    def of(cls, member: Member) -> "MemberEntry":
        """Show a member."""
        return cls(
            user_id=member.user_id,
            name=member.name,
            role=member.role,
            created_at=member.created_at,
        )


class MemberList(BaseModel):
    """One page of members, by id."""

    items: list[MemberEntry]
    next_cursor: str | None = Field(
        description="`null` on the last page.", examples=[EXAMPLE_CURSOR]
    )


@router.get("")
def list_all_members(
    access: Reader,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> MemberList:
    """List the organization's members."""
    position = [None] if cursor is None else read_cursor(cursor, "members", _SCOPE)
    if len(position) != 1:
        raise unreadable_cursor()
    with access.open() as session:
        found = list_members(session, after=position[0], limit=limit + 1)
    page, more = found[:limit], found[limit:]
    return MemberList(
        items=[MemberEntry.of(each) for each in page],
        next_cursor=write_cursor("members", _SCOPE, [page[-1].user_id]) if more else None,
    )


@router.put("/{user_id}", responses={201: {"model": MemberEntry, "description": "A new member."}})
def change_member(
    access: Writer, user_id: NewUserId, wish: MemberWish, response: Response
) -> MemberEntry:
    """Make somebody a member, or change a member's role; a user who is new is made.

    Somebody of another organization is not found here: the platform's administrators add them.
    """
    with access.open() as session:
        member, is_new = set_member(session, UserId(user_id), role=wish.role, name=wish.name)
    if is_new:
        response.status_code = 201
    return MemberEntry.of(member)


@router.delete("/{user_id}", status_code=204)
def delete_member(access: Writer, user_id: Annotated[Text, Path(max_length=200)]) -> None:
    """Take somebody out of the organization; their tokens are revoked for good."""
    with access.open() as session:
        remove_member(session, UserId(user_id))

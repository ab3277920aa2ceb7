"""`tenantry users`: say who is in an organization, and as what."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import Desk, open_desk
from deployments.cli.screen import answers, clean, make_table, show_json, show_time
from domain.catalog import Member
from domain.ids import UserId, is_named_id
from domain.json_data import JsonObject
from domain.permissions import Role
from domain.text import quote, read_name
from persistence.members import (
    list_members,
    list_platform_admins,
    set_member,
    set_platform_admin,
)

_NAME_CHARS = 120
# More people than anybody reads through; programs page through `GET /members`.
_MOST = 10_000

app = App(name="users", help="Say who is in an organization, and as what.")


@app.command
def add(
    user_id: Annotated[str, Parameter(name="USER")],
    /,
    *,
    role: Role,
    name: str | None = None,
    platform_admin: bool | None = None,
    call: Invoked,
) -> int:
    """Make somebody a member of the organization, or change a member's role.

    Args:
        user_id: The user's id, `user_…`: small letters, digits and `_`.
        role: viewer, operator, editor or admin.
        name: What people call a user who is new.
        platform_admin: May also create organizations, and list all of them.
    """
    if not is_named_id(user_id) or not user_id.startswith("user_"):
        raise CommandInvalid(
            f"{quote(user_id)} cannot be a user's id.",
            hint="Begin with `user_`, then small letters, digits and `_`, such as `user_anna`.",
        )
    shown_name = _read_name(name)
    with open_desk(call) as desk:
        with desk.session() as session:
            member, is_new = set_member(
                session, UserId(user_id), role=role, name=shown_name, elsewhere=True
            )
            if shown_name not in (None, member.name):
                # Raised in the transaction: the role stays as it was, too.
                raise CommandInvalid(
                    f"{quote(user_id)} is known already, and is called {quote(member.name)}.",
                    hint="Leave `--name` out to change a role; a name is not changed.",
                )
        if platform_admin is not None:
            with desk.installation.database.for_platform() as session:
                set_platform_admin(session, member.user_id, is_admin=platform_admin)
        document = _document(member, _platform_admins(desk))
    if call.as_json:
        show_json({**document, "created": is_new})
        return DONE
    said = f" is {role.value} of {call.org_id}."
    answers().print(Text.assemble(("✓ ", "green"), (user_id, "bold"), said))
    answers().print(
        f"  A token for the API: `tenantry tokens create --name laptop --user {user_id}`"
    )
    return DONE


@app.command(name="list")
def list_(*, call: Invoked) -> int:
    """List the organization's members and their roles."""
    with open_desk(call) as desk:
        with desk.session() as session:
            members = list_members(session, limit=_MOST)
        admins = _platform_admins(desk)
    if call.as_json:
        show_json({"users": [_document(member, admins) for member in members]})
        return DONE
    table = make_table("id", "name", "role", "platform", "member since")
    for member in members:
        platform = "admin" if member.user_id in admins else ""
        since = show_time(member.created_at)
        table.add_row(member.user_id, clean(member.name), member.role.value, platform, since)
    answers().print(table)
    return DONE


def _read_name(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return read_name(name, max_chars=_NAME_CHARS)
    except ValueError as error:
        raise CommandInvalid(
            f"The user's name {error}.", hint="Give the name that people call them by."
        ) from error


def _platform_admins(desk: Desk) -> frozenset[UserId]:
    with desk.installation.database.for_platform() as session:
        return list_platform_admins(session)


def _document(member: Member, admins: frozenset[UserId]) -> JsonObject:
    return {
        "id": member.user_id,
        "name": member.name,
        "role": member.role.value,
        "platform_admin": member.user_id in admins,
        "created_at": member.created_at.isoformat(),
    }

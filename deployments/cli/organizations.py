"""`tenantry orgs`: create and list organizations."""

from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import open_quietly
from deployments.cli.screen import answers, clean, make_table, show_json
from domain.ids import OrgId, is_named_id
from domain.permissions import Role
from domain.text import quote, read_name
from persistence.members import add_organization, set_member
from persistence.organizations import (
    OrganizationNotFound,
    get_org_name,
    list_organizations,
)
from persistence.sessions import PlatformSession

_NAME_CHARS = 120

app = App(name="orgs", help="Create and list organizations.")


@app.command
def create(org_id: Annotated[str, Parameter(name="ID")], /, *, name: str, call: Invoked) -> int:
    """Create an organization, with you as its administrator.

    Args:
        org_id: Its id, `org_…`: small letters, digits and `_`.
        name: What people call it.
    """
    if not is_named_id(org_id) or not org_id.startswith("org_"):
        raise CommandInvalid(
            f"{quote(org_id)} cannot be an organization's id.",
            hint="Begin with `org_`, then small letters, digits and `_`, such as `org_acme`.",
        )
    try:
        shown_name = read_name(name, max_chars=_NAME_CHARS)
    except ValueError as error:
        raise CommandInvalid(
            f"The organization's name {error}.", hint="Give the name that people call it by."
        ) from error
    # One id, one slug: `-` cannot be in an id.
    slug = org_id.removeprefix("org_").replace("_", "-")
    with open_quietly(call) as installation:
        database = installation.database
        with database.for_platform() as session:
            known = _find_name(session, OrgId(org_id))
        is_new = known is None
        if known is not None and known != shown_name:
            raise CommandInvalid(
                f"{quote(org_id)} is there already, and is called {quote(known)}.",
                hint="Choose another id for another organization; a name is not changed.",
            )
        if is_new:
            with database.org(OrgId(org_id), user_id=call.user_id) as session:
                add_organization(session, name=shown_name, slug=slug)
                set_member(session, call.user_id, role=Role.ADMIN, elsewhere=True)
    if call.as_json:
        show_json({"id": org_id, "created": is_new})
        return DONE
    said = " is created." if is_new else " is there already; nothing was changed."
    answers().print(Text.assemble(("✓ ", "green"), (org_id, "bold"), said))
    answers().print(f"  Act for it with `--org {org_id}`, or set TENANTRY_ORG={org_id}.")
    return DONE


@app.command(name="list")
def list_(*, call: Invoked) -> int:
    """List all organizations."""
    with open_quietly(call) as installation, installation.database.for_platform() as session:
        rows = [(org.id, org.name, org.slug) for org in list_organizations(session)]
    if call.as_json:
        show_json({"organizations": [{"id": i, "name": n, "slug": s} for i, n, s in rows]})
        return DONE
    if not rows:
        answers().print("No organizations yet: `tenantry orgs create org_acme --name Acme`")
        return DONE
    table = make_table("id", "name", "slug")
    for id, name, slug in rows:
        table.add_row(id, clean(name), slug)
    answers().print(table)
    return DONE


def _find_name(session: PlatformSession, org_id: OrgId) -> str | None:
    try:
        return get_org_name(session, org_id)
    except OrganizationNotFound:
        return None

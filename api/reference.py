"""Write the tables of `docs/rest-api.md`: `python -m api.reference docs/rest-api.md`.

Who may do what comes from the one table in `domain.permissions`, and which operation needs what
from the routes themselves: a page that is written by hand would be wrong one day.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from sqlalchemy import make_url

from api.app import PREFIX, create_app
from api.state import ApiState
from domain.permissions import PLATFORM_PERMISSIONS, ROLE_PERMISSIONS, Permission, Role
from persistence.sessions import open_database

_NOWHERE = make_url("postgresql+psycopg://nobody@127.0.0.1:1/none")


def fill_in(page: str) -> str:
    """Put the tables, as they are now, between their marks in a page.

    Raises:
        ValueError: the page lacks a table's marks.
    """
    for name, table in (("roles", render_roles()), ("operations", render_operations())):
        begin, end = f"<!-- {name}: made by python -m api.reference -->", f"<!-- end of {name} -->"
        section = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page, count = section.subn(lambda _, new=f"{begin}\n\n{table}\n{end}": new, page)
        if count != 1:
            raise ValueError(f"the page has {count} places for the table of {name}")
    return page


def render_roles() -> str:
    """Write which role has which permission."""
    head = ["permission", *(role.value for role in Role), "platform administrator"]
    rows = [
        [
            f"`{permission.value}`",
            *("✓" if permission in ROLE_PERMISSIONS[role] else "" for role in Role),
            "✓" if permission in PLATFORM_PERMISSIONS else "",
        ]
        for permission in Permission
    ]
    return _render(head, rows)


def render_operations() -> str:
    """Write what each operation does and which permission it needs."""
    # Nobody is asked anything here, so nobody has to be there.
    database = open_database(
        app_url=_NOWHERE, platform_url=_NOWHERE, audit_key=bytes(32), pool_size=1
    )
    try:
        app = create_app(ApiState(database=database))
        rows = [list(row) for row in _list_operations(app)]
    finally:
        database.close()
    return _render(["operation", "what it does", "permission"], rows)


def _list_operations(app: FastAPI) -> Iterator[tuple[str, str, str]]:
    document = app.openapi()
    needed = {
        (method.lower(), route.path): permission
        for route in iter_route_contexts(app.routes)
        if hasattr(route, "dependant")
        for method in route.methods or ()
        for permission in _permissions_in(route.dependant)
    }
    for path, operations in sorted(document["paths"].items()):
        for method, operation in operations.items():
            first = operation.get("description", "").partition("\n\n")[0].replace("\n", " ")
            shown = f"`{method.upper()} {path.removeprefix(PREFIX)}`"
            yield shown, first, f"`{needed[method, path].value}`"


def _permissions_in(dependant: Dependant) -> Iterator[Permission]:
    permission = getattr(dependant.call, "permission", None)
    if isinstance(permission, Permission):
        yield permission
    for inner in dependant.dependencies:
        yield from _permissions_in(inner)


def _render(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for _argument in sys.argv[1:]:
        _page = Path(_argument)
        _page.write_text(fill_in(_page.read_text(encoding="utf-8")), encoding="utf-8")

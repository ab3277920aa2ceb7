"""`tenantry settings`: list all settings and what they mean."""

from rich.text import Text

from deployments.cli.invocation import DONE, Invoked
from deployments.cli.screen import answers, make_table, show_json
from deployments.settings import as_environ, describe_settings


def settings(*, call: Invoked) -> int:
    """List all settings: environment variables, their defaults, and what they mean."""
    rows = describe_settings()
    known = as_environ(call.settings)
    if call.as_json:
        show_json(
            {
                "settings": [
                    {
                        "name": row.name,
                        "kind": row.kind,
                        "default": row.default,
                        "meaning": row.meaning,
                        # Only what cannot hold a password.
                        "value": None if "secret" in row.kind else known.get(row.name),
                    }
                    for row in rows
                ]
            }
        )
        return DONE
    table = make_table("name", "default", "set to", "meaning")
    table.show_lines = True
    for row in rows:
        now = known.get(row.name, "")
        shown = "" if now == row.default else "••••" if "secret" in row.kind and now else now
        table.add_row(Text(row.name, style="cyan"), row.default, shown, row.meaning)
    answers().print(table)
    answers().print("Set them in the environment. An unknown TENANTRY_… name is refused.")
    return DONE

"""Write `.env.example`: `python -m deployments.cli.env_example > .env.example`."""

import sys
import textwrap
from collections.abc import Iterator

from deployments.settings import describe_settings

_HEAD = """\
# Every setting of Tenantry. None of them has to be set: without any, everything runs on this
# machine alone. What is commented out shows the default.
"""


def render_env_example() -> str:
    """Write all settings as an environment file, commented out, each with its meaning."""
    return "\n".join([_HEAD, *_blocks()])


def _blocks() -> Iterator[str]:
    for row in describe_settings():
        meaning = textwrap.wrap(row.meaning, width=98)
        lines = [f"# {line}" for line in meaning]
        default = row.default if " " not in row.default else ""
        if row.default and not default:
            lines.append(f"# Default: {row.default}.")
        yield "\n".join([*lines, f"# {row.name}={default}", ""])


if __name__ == "__main__":
    sys.stdout.write(render_env_example())

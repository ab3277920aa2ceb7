"""`python -m persistence.migrate_child`: migrate in a process of its own, for one that stays light.

Reads the three URLs as JSON from standard input, so that no list of processes shows them.
"""

import json
import sys

from sqlalchemy import make_url

from domain.errors import TenantryError
from persistence.migrate import migrate


def main() -> int:
    """Migrate; what went wrong is one JSON object on standard output."""
    urls = {name: make_url(url) for name, url in json.load(sys.stdin).items()}
    try:
        migrate(urls["owner"], app_url=urls["app"], platform_url=urls["platform"])
    except TenantryError as error:
        sys.stdout.write(json.dumps({"message": error.message, "hint": error.hint}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

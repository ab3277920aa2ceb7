"""Names of kinds of records, before they become the name of a file or a table."""

import re

from agents.connectors.definitions import OBJECT_TYPE_PATTERN
from agents.errors import DataNotFound
from domain.text import quote

_PATTERN = re.compile(OBJECT_TYPE_PATTERN.removesuffix("$") + r"\Z")


def check_object_type(object_type: str) -> None:
    """Refuse a name that could mean more than a name.

    Raises:
        DataNotFound: no connector can keep anything under such a name.
    """
    if not _PATTERN.match(object_type):
        raise DataNotFound(
            f"{quote(object_type)} cannot be the name of a kind of records.",
            hint="Use letters, digits and `_`, beginning with a letter, such as `companies`.",
        )

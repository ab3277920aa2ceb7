"""`ETag` and `If-Match`: whoever changes something says which state of it they have seen."""

import re
from typing import Annotated

from fastapi import Header

from domain.errors import ErrorCode, TenantryError

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=500,
        description="The `ETag` of what you have read; `*` for whatever is there.",
        examples=['"1"'],
    ),
]
"""Type of the parameter in which a route gets the header."""
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


class PreconditionMissing(TenantryError):
    """A change does not say what it was made from."""

    code = ErrorCode.PRECONDITION_MISSING

    def __init__(self) -> None:
        super().__init__(
            "The request does not say which version it changes.",
            hint="Send the `ETag` of what you have read as `If-Match`, so that nobody's change "
            "is overwritten unseen.",
        )


def etag(version: int) -> str:
    """Write a version as an entity tag."""
    return f'"{version}"'


def expected_version(if_match: str | None, *, current: int) -> int | None:
    """Give the version that the header asks for: the current one, if it is among several.

    `None` stands for any. What is no tag of ours matches nothing, and gives 0.

    Raises:
        PreconditionMissing: there is no header.
    """
    if if_match is None or not if_match.strip():
        raise PreconditionMissing
    if if_match.strip() == "*":
        return None
    tags = _TAG.findall(if_match)
    return current if str(current) in tags else 0

"""Cursors: a place in a list, opaque to clients, checked when it comes back.

They are not signed: what they hold is a position, and which rows are behind it row-level
security decides. A cursor serves only the list, order and filters that it was made for.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import Field

from api.answers import Text
from domain.errors import ErrorCode, InvalidInput

EXAMPLE_CURSOR = "WyJleGVjdXRpb25zIiwiM2YxYzA5ZTViN2QyODQ2YTMzIl0"
_MAX_CURSOR_CHARS = 600
Cursor = Annotated[
    Text,
    Field(
        max_length=_MAX_CURSOR_CHARS,
        # For the document: `read_cursor` refuses all others, and says what to do.
        json_schema_extra={"minLength": 1, "pattern": "^[A-Za-z0-9_-]+$"},
        description="`next_cursor` of the page before, with the same filters and order.",
    ),
]
"""A cursor as a query parameter."""
_POINTER = "/query/cursor"


class CursorInvalid(InvalidInput):
    """A cursor that we did not make, or made for another list."""

    code = ErrorCode.CURSOR_INVALID
    subject = "cursor"


def scope_of(*parts: object) -> str:
    """Make a short digest of a list's filters and order, for its cursors to carry."""
    text = json.dumps([str(part) for part in parts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()


def write_cursor(kind: str, scope: str, position: Sequence[str]) -> str:
    """Make a cursor.

    Args:
        kind: which list it is for, such as `executions`.
        scope: the list's filters and order, by `scope_of`.
    """
    body = json.dumps([kind, scope, *position], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def read_cursor(cursor: str, kind: str, scope: str) -> list[str]:
    """Read a cursor's position; what the texts in it mean is for the caller to check.

    Raises:
        CursorInvalid: it is none of ours, or for another list.
    """
    try:
        body = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        )
        parts = cast("object", json.loads(body))
    except (ValueError, binascii.Error, RecursionError):
        raise unreadable_cursor() from None
    if not isinstance(parts, list):
        raise unreadable_cursor()
    texts = [part for part in cast("list[object]", parts) if isinstance(part, str)]
    if len(texts) < 2 or len(texts) != len(cast("list[object]", parts)) or texts[0] != kind:
        raise unreadable_cursor()
    # What JSON can write and no text of the database can hold: it is none of ours.
    if any(sign == "\x00" or "\ud800" <= sign <= "\udfff" for each in texts for sign in each):
        raise unreadable_cursor()
    if texts[1] != scope:
        raise CursorInvalid.one(
            ErrorCode.CURSOR_INVALID,
            _POINTER,
            "The cursor was made for other filters or another order.",
            "Keep filters and order while you page, or begin without a cursor.",
        )
    return texts[2:]


def unreadable_cursor() -> CursorInvalid:
    """Make the error for a cursor that says nothing to us."""
    return CursorInvalid.one(
        ErrorCode.CURSOR_INVALID,
        _POINTER,
        "The cursor cannot be read.",
        "Send `next_cursor` of the page before unchanged, or begin without a cursor.",
    )

"""RFC 6901 JSON pointers: where in somebody's document a problem is."""

from collections.abc import Sequence
from typing import cast

from domain.text import is_storable


def join_pointer(pointer: str, *tokens: str | int) -> str:
    """Lengthen a pointer by field names and list positions (from 0), escaping as RFC 6901 says."""
    escaped = (str(token).replace("~", "~0").replace("/", "~1") for token in tokens)
    return "".join((pointer, *(f"/{token}" for token in escaped)))


def resolvable_tokens(document: object, tokens: Sequence[str | int]) -> tuple[str | int, ...]:
    """Cut a path to the part that exists in the document.

    A missing field is therefore pointed at by its parent, and so is a field whose very name
    cannot be stored: the pointer itself would be refused by Postgres, or by UTF-8.
    """
    found: list[str | int] = []
    here = document
    for token in tokens:
        if isinstance(here, dict) and isinstance(token, str) and is_storable(token):
            fields = cast("dict[str, object]", here)
            if token not in fields:
                break
            here = fields[token]
        elif isinstance(here, list) and isinstance(token, int):
            items = cast("list[object]", here)
            if not 0 <= token < len(items):
                break
            here = items[token]
        else:
            break
        found.append(token)
    return tuple(found)

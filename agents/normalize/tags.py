"""Tags and industry labels as sources write them: text with separators, lists, arrays."""

import re
from collections.abc import Iterable
from typing import cast

import numpy as np

_HARD_SEPARATORS = re.compile(r"[|;\n\r]+")
_COMMA = re.compile(r",+")
_BLANKS = re.compile(r"[\s_]+")
_MISSING = frozenset({"", "nan", "none", "null", "n/a", "-"})
_MAX_CHARS = 20_000


def split_labels(value: object) -> tuple[str, ...]:
    """List the descriptive labels of a record, as written, without repeats.

    A comma is part of a label ("Hotels, Motels & Cruise Lines"): only `|`, `;` and line ends
    separate.
    """
    return _unique(part for text in _texts(value) for part in _HARD_SEPARATORS.split(text))


def split_tags(value: object) -> tuple[str, ...]:
    """List the tags of a record in their comparable form: lower case, words joined by `-`."""
    return _unique(
        _BLANKS.sub("-", part.strip().casefold())
        for text in _texts(value)
        for piece in _HARD_SEPARATORS.split(text)
        for part in _COMMA.split(piece)
    )


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value[:_MAX_CHARS],)
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return (str(each)[:_MAX_CHARS] for each in cast("Iterable[object]", value))
    if value is None or isinstance(value, float):
        return ()
    return (str(value)[:_MAX_CHARS],)


def _unique(parts: Iterable[str]) -> tuple[str, ...]:
    tidy = (" ".join(part.split()) for part in parts)
    return tuple(dict.fromkeys(part for part in tidy if part.casefold() not in _MISSING))

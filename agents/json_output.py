"""Values of data sources as JSON that our tables can hold."""

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import cast

import numpy as np
import pandas as pd

from domain.json_checks import MAX_INTEGER
from domain.json_data import JsonValue


def to_json(value: object) -> JsonValue:
    """Make a value of a data source JSON: no NaN, no NumPy, no timestamp object, no NUL.

    Missing values of every kind become null, times ISO 8601 text, whole numbers beyond 64 bits
    and types that JSON does not have become text.
    """
    match value:
        case None | bool():
            return value
        case str():
            return clean_text(value)
        case int():
            return value if abs(value) <= MAX_INTEGER else str(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            fields = cast("Mapping[object, object]", value)
            return {clean_text(str(key)): to_json(each) for key, each in fields.items()}
        case list() | tuple() | set() | frozenset() | np.ndarray():
            return [to_json(each) for each in cast("Iterable[object]", value)]
        case np.generic():
            return to_json(cast("np.generic[object]", value).item())
        case _:
            return _scalar_to_json(value)


def clean_text(text: str) -> str:
    """Drop what Postgres refuses in text: NUL and halves of surrogate pairs."""
    if text.isascii():
        return text.replace("\x00", "")
    return "".join(
        character
        for character in text
        if character != "\x00" and not "\ud800" <= character <= "\udfff"
    )


def _scalar_to_json(value: object) -> JsonValue:
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return clean_text(str(value))

"""JSON as a table, for spreadsheets (CSV) and for programs (Parquet)."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

from domain.json_data import JsonObject, JsonValue

_ARROW: Any = pyarrow
_PARQUET: Any = parquet
_RECORDS = "records"
# How a formula begins in Excel, LibreOffice and Google Sheets; behind the last three, white
# space that they drop, may stand another.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# Beyond this a float has gaps between whole numbers.
_MAX_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of equal length; a missing value is `None`."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[JsonValue]]


def table_of(output: JsonObject) -> Table:
    """Make a table of an output: its records, or else the output itself as the only row.

    A workflow with several last agents has an output for each, by name: their records follow
    each other, with the agent's name in the first column.
    """
    records = output.get(_RECORDS)
    if isinstance(records, list):
        return _from_objects([item for item in records if isinstance(item, dict)])
    several: list[JsonObject] = []
    for name, part in output.items():
        found = part.get(_RECORDS) if isinstance(part, dict) else None
        if isinstance(found, list):
            several += [{"agent": name, **item} for item in found if isinstance(item, dict)]
    return _from_objects(several or [output])


def write_csv(table: Table) -> bytes:
    """Write CSV as RFC 4180 has it, in UTF-8.

    Texts that a spreadsheet would run as a formula get an apostrophe in front.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_guard(name) for name in table.columns])
    for row in table.rows:
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode()


def write_parquet(table: Table) -> bytes:
    """Write Parquet. A column of mixed kinds, or of lists and objects, holds them as JSON text."""
    arrays = [_column([row[number] for row in table.rows]) for number in range(len(table.columns))]
    sink = io.BytesIO()
    _PARQUET.write_table(_ARROW.table(arrays, names=list(table.columns)), sink)
    return sink.getvalue()


def _from_objects(objects: Sequence[JsonObject]) -> Table:
    columns = tuple(dict.fromkeys(name for item in objects for name in item))
    return Table(columns, [[item.get(name) for name in columns] for item in objects])


def _guard(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _cell(value: JsonValue) -> str:
    match value:
        case None:
            return ""
        case str():
            return _guard(value)
        case _:
            return _as_json(value)


def _as_json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False)


def _column(values: Sequence[JsonValue]) -> Any:
    kind = _kind(values)
    if kind is None:
        texts = [None if value is None else _as_json(value) for value in values]
        return _ARROW.array(texts, _ARROW.string())
    return _ARROW.array(values, kind)


def _kind(values: Sequence[JsonValue]) -> Any:
    """Choose a column's type, or `None` where only JSON text holds all of its values."""
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if kinds <= {str}:
        return _ARROW.string()
    if kinds == {bool}:
        return _ARROW.bool_()
    if kinds == {int} and all(abs(cast(int, value)) < 2**63 for value in there):
        return _ARROW.int64()
    if kinds <= {int, float} and all(
        isinstance(value, float) or abs(cast(int, value)) <= _MAX_EXACT_FLOAT for value in there
    ):
        return _ARROW.float64()
    return None

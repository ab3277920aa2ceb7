"""JSON as a table, for spreadsheets (CSV) and for programs (Parquet)."""

import csv
import io
import json
import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs]

from domain.json_data import JsonObject, JsonValue

_ARROW: Any = pyarrow
_PARQUET: Any = parquet
_RECORDS = "records"
_COLUMNS = "columns"
# How a formula begins in Excel, LibreOffice and Google Sheets, also in the wide and small forms
# that they take for the same; and white space that some of them drop, or split a cell at.
_FORMULA_STARTS = ("=", "+", "-", "@", "\N{MINUS SIGN}")
_DROPPED = ("\t", "\r", "\n")
# Separators and control, format and unassigned characters: nobody sees them.
_UNSEEN = ("Z", "C")
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
    each other, with the agent's name in the first column. Where an output has a list `columns`,
    its names come first, in that order.
    """
    records = output.get(_RECORDS)
    if isinstance(records, list):
        objects = [item for item in records if isinstance(item, dict)]
        return _from_objects(objects, first=_columns_of(output))
    several: list[JsonObject] = []
    first = ["agent"]
    for name, part in output.items():
        found = part.get(_RECORDS) if isinstance(part, dict) else None
        if isinstance(part, dict) and isinstance(found, list):
            several += [{"agent": name, **item} for item in found if isinstance(item, dict)]
            first += _columns_of(part)
    return _from_objects(several, first=first) if several else _from_objects([output])


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
    _PARQUET.write_table(_ARROW.Table.from_arrays(arrays, names=list(table.columns)), sink)
    return sink.getvalue()


def _columns_of(output: JsonObject) -> list[str]:
    # Postgres keeps a JSON object without its order; a list keeps it.
    columns = output.get(_COLUMNS)
    return [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []


def _from_objects(objects: Sequence[JsonObject], *, first: Sequence[str] = ()) -> Table:
    there = dict.fromkeys(name for item in objects for name in item)
    columns = tuple(dict.fromkeys([*(name for name in first if name in there), *there]))
    return Table(columns, [[item.get(name) for name in columns] for item in objects])


def _guard(text: str) -> str:
    seen = next((sign for sign in text if not unicodedata.category(sign).startswith(_UNSEEN)), "")
    is_formula = unicodedata.normalize("NFKC", seen).startswith(_FORMULA_STARTS)
    return f"'{text}" if is_formula or text.startswith(_DROPPED) else text


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
    """Make an Arrow array: text where no other type holds all the values.

    From buffers, as Arrow lays them out: `pyarrow.array` would import pandas, of 100 MB.
    """
    there = [value for value in values if value is not None]
    known = [value is not None for value in values]
    kinds = {type(value) for value in there}
    if kinds == {bool}:
        content = _bits([value is True for value in values])
        return _array(_ARROW.bool_(), known, content)
    if kinds == {int} and all(-(2**63) <= cast(int, value) < 2**63 for value in there):
        numbers = array("q", [cast(int, value) if value is not None else 0 for value in values])
        return _array(_ARROW.int64(), known, numbers.tobytes())
    if kinds and kinds <= {int, float} and all(_is_exact_float(value) for value in there):
        floats = array("d", [float(cast(float, value or 0)) for value in values])
        return _array(_ARROW.float64(), known, floats.tobytes())
    is_text = kinds <= {str}
    texts = [
        b"" if value is None else (str(value) if is_text else _as_json(value)).encode()
        for value in values
    ]
    ends = array("i", [0, *accumulate(map(len, texts))])
    return _array(_ARROW.string(), known, ends.tobytes(), b"".join(texts))


def _array(kind: Any, known: Sequence[bool], *content: bytes) -> Any:
    buffers = [_ARROW.py_buffer(part) for part in (_bits(known), *content)]
    return _ARROW.Array.from_buffers(kind, len(known), buffers)


def _bits(flags: Sequence[bool]) -> bytes:
    packed = bytearray((len(flags) + 7) // 8)
    for place, flag in enumerate(flags):
        packed[place >> 3] |= flag << (place & 7)
    return bytes(packed)


def _is_exact_float(value: JsonValue) -> bool:
    return isinstance(value, float) or abs(cast(int, value)) <= _MAX_EXACT_FLOAT

"""Records in files: CSV, Parquet, JSON lines."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

import pandas as pd

from agents.connectors.confinement import resolve_below
from agents.connectors.definitions import FileConnector
from agents.connectors.object_types import check_object_type
from agents.connectors.parquet import parquet_frame
from agents.errors import DataNotFound, DataTooLarge, DataUnreadable
from domain.text import Suggester, quote

MAX_FILE_BYTES = 256 * 1024 * 1024
_DELIMITERS = ",;\t|"


class FileRecords:
    """Reads an object type from the file of that name."""

    def __init__(self, definition: FileConnector, *, data_root: Path) -> None:
        self._definition, self._data_root = definition, data_root

    def load(self, object_type: str) -> pd.DataFrame:
        """Read the file whole. Values of CSV files stay text: "NA" is Namibia, not a gap."""
        check_object_type(object_type)
        path = self._find(object_type)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataTooLarge(
                f"The file {quote(path.name)} is larger than {MAX_FILE_BYTES // 2**20} MB.",
                hint="Split it, or put the records into a database and use a `sql` connector.",
            )
        if path.stat().st_size == 0:
            raise DataUnreadable(
                f"The file {quote(path.name)} is empty.",
                hint="Export it again: the first line must hold the names of the columns.",
            )
        return _READERS[path.suffix.lower()](path, self._definition)

    def _find(self, object_type: str) -> Path:
        folder = resolve_below(self._data_root, self._definition.folder)
        named = self._definition.files.get(object_type)
        if named is not None:
            path = resolve_below(folder, named)
            if path.is_file() and path.suffix.lower() in _READERS:
                return path
            raise self._not_found(object_type, folder=folder, named=named)
        for suffix in _READERS:
            path = resolve_below(folder, f"{object_type}{suffix}")
            if path.is_file():
                return path
        raise self._not_found(object_type, folder=folder, named=None)

    def _not_found(self, object_type: str, *, folder: Path, named: str | None) -> DataNotFound:
        there = sorted(
            path.name
            for path in (folder.iterdir() if folder.is_dir() else ())
            if path.suffix.lower() in _READERS
        )
        near = Suggester(there).nearest(named or f"{object_type}.csv")
        hint = f"Did you mean {quote(near)}? " if near else ""
        hint += (
            f"Files there: {', '.join(quote(name) for name in there[:10])}."
            if there
            else "There is no CSV, Parquet or JSON-lines file in the connector's folder."
        )
        wanted = quote(named) if named else f"{quote(object_type)} (.csv, .parquet or .jsonl)"
        return DataNotFound(f"The connector has no file {wanted}.", hint=hint)


def _read_csv(path: Path, definition: FileConnector) -> pd.DataFrame:
    text = _read_text(path, definition)
    delimiter = definition.delimiter or _guess_delimiter(text)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise _no_table(path, delimiter) from error
    # Lines longer than the heading: pandas would take their first values for names of the rows.
    if not isinstance(frame.index, pd.RangeIndex):
        raise _no_table(path, delimiter)
    return frame


def _read_json_lines(path: Path, definition: FileConnector) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for number, line in enumerate(_read_text(path, definition).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _bad_line(path, number) from error
        if not isinstance(row, dict):
            raise _bad_line(path, number)
        rows.append(cast("dict[str, object]", row))
    return pd.DataFrame(rows, dtype=object)


def _read_parquet(path: Path, _definition: FileConnector) -> pd.DataFrame:
    return parquet_frame(path.read_bytes(), shown=quote(path.name))


_Reader = Callable[[Path, FileConnector], pd.DataFrame]
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_json_lines}
)


def _read_text(path: Path, definition: FileConnector) -> str:
    # Excel puts a byte order mark before UTF-8, which would become part of the first column.
    encoding = "utf-8-sig" if definition.encoding == "utf-8" else definition.encoding
    try:
        return path.read_text(encoding=encoding).replace("\x00", "")
    except UnicodeError as error:
        raise DataUnreadable(
            f"The letters of the file {quote(path.name)} are not encoded as {definition.encoding}.",
            hint="Set `encoding` on the connector; files saved by Excel on Windows are often "
            "`windows-1252`.",
        ) from error


def _guess_delimiter(text: str) -> str:
    first = text[:10_000].lstrip("\r\n").partition("\n")[0]
    unquoted = "".join(first.split('"')[::2])
    return max(_DELIMITERS, key=unquoted.count)


def _no_table(path: Path, delimiter: str) -> DataUnreadable:
    return DataUnreadable(
        f"The file {quote(path.name)} is no table: its lines do not have the same columns.",
        hint=f"It was read with {delimiter!r} between the columns: set `delimiter` if that is "
        "another character, and close every quotation mark.",
    )


def _bad_line(path: Path, number: int) -> DataUnreadable:
    return DataUnreadable(
        f"Line {number} of the file {quote(path.name)} is not a JSON object.",
        hint='Every line must be one record, such as `{"name": "Acme", "employees": 12}`.',
    )

"""Records in files: CSV, Parquet, JSON lines."""

import csv
import io
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

import pandas as pd

from agents.connectors.confinement import resolve_below
from agents.connectors.definitions import FileConnector
from agents.connectors.limits import DEFAULT_LIMITS, Meter, ReadLimits
from agents.connectors.object_types import check_object_type
from agents.connectors.parquet import parquet_frame
from agents.errors import DataNotFound, DataTooLarge, DataUnreadable
from domain.text import Suggester, quote

MAX_FILE_BYTES = 256 * 1024 * 1024
_DELIMITERS = ",;\t|"
_MAX_HEADING_CHARS = 1_000_000
_CHUNK_ROWS = 50_000


class FileRecords:
    """Reads an object type from the file of that name."""

    def __init__(
        self, definition: FileConnector, *, data_root: Path, limits: ReadLimits = DEFAULT_LIMITS
    ) -> None:
        self._definition, self._data_root = definition, data_root
        self._limits = limits

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
        return _READERS[path.suffix.lower()](path, self._definition, limits=self._limits)

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


def _read_csv(path: Path, definition: FileConnector, *, limits: ReadLimits) -> pd.DataFrame:
    meter = Meter(limits, shown=_shown(path))
    with _open_text(path, definition) as file:
        heading = _read_heading(file)
        delimiter = definition.delimiter or max(_DELIMITERS, key=heading.count)
        # A heading of a million columns takes a minute to parse: it is counted first.
        meter.check_columns(heading.count(delimiter) + 1)
        file.seek(0)
        chunks: list[pd.DataFrame] = []
        try:
            with pd.read_csv(
                file,
                sep=delimiter,
                dtype=str,
                keep_default_na=False,
                na_filter=False,
                skipinitialspace=True,
                chunksize=_CHUNK_ROWS,
            ) as reader:
                for chunk in reader:
                    meter.add(rows=len(chunk), columns=len(chunk.columns))
                    chunks.append(chunk)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
            raise _no_table(path, delimiter) from error
    # Lines longer than the heading: pandas would take their first values for names of the rows.
    if not all(isinstance(chunk.index, pd.RangeIndex) for chunk in chunks):
        raise _no_table(path, delimiter)
    return chunks[0] if len(chunks) == 1 else pd.concat(chunks, ignore_index=True)


def _read_json_lines(path: Path, definition: FileConnector, *, limits: ReadLimits) -> pd.DataFrame:
    meter = Meter(limits, shown=_shown(path))
    rows: list[dict[str, object]] = []
    columns: dict[str, object] = {}
    with _open_text(path, definition) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            # ValueError is also what whole numbers of thousands of digits are.
            except (ValueError, RecursionError) as error:
                raise _bad_line(path, number) from error
            if not isinstance(row, dict):
                raise _bad_line(path, number)
            record = cast("dict[str, object]", row)
            columns.update(record)
            meter.add(rows=1, columns=len(columns))
            rows.append(record)
    return pd.DataFrame(rows, dtype=object)


def _read_parquet(path: Path, _definition: FileConnector, *, limits: ReadLimits) -> pd.DataFrame:
    return parquet_frame(path.read_bytes(), shown=_shown(path), limits=limits)


class _Reader(Protocol):
    def __call__(
        self, path: Path, definition: FileConnector, /, *, limits: ReadLimits
    ) -> pd.DataFrame: ...


_READERS: Mapping[str, _Reader] = MappingProxyType(
    {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".jsonl": _read_json_lines}
)


class _TextWithoutNul(io.TextIOWrapper):
    """A text file without the NUL characters in it, which no table can hold."""

    def read(self, size: int | None = -1, /) -> str:
        while text := super().read(size):
            # An empty text would mean the end of the file.
            if kept := text.replace("\x00", ""):
                return kept
        return ""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        return super().readline(size).replace("\x00", "")

    def __next__(self) -> str:
        return super().__next__().replace("\x00", "")


@contextmanager
def _open_text(path: Path, definition: FileConnector) -> Generator[io.TextIOWrapper]:
    # Excel puts a byte order mark before UTF-8, which would become part of the first column.
    encoding = "utf-8-sig" if definition.encoding == "utf-8" else definition.encoding
    try:
        with path.open("rb") as file, _TextWithoutNul(file, encoding=encoding) as text:
            yield text
    except UnicodeError as error:
        raise DataUnreadable(
            f"The letters of the file {quote(path.name)} are not encoded as {definition.encoding}.",
            hint="Set `encoding` on the connector; files saved by Excel on Windows are often "
            "`windows-1252`.",
        ) from error


def _read_heading(file: io.TextIOWrapper) -> str:
    """Read the first line that is not blank, without what stands in quotes."""
    line = "\n"
    while line and not line.strip("\r\n"):
        line = file.readline(_MAX_HEADING_CHARS)
    return "".join(line.split('"')[::2])


def _shown(path: Path) -> str:
    return f"The file {quote(path.name)}"


def _no_table(path: Path, delimiter: str) -> DataUnreadable:
    return DataUnreadable(
        f"{_shown(path)} is no table: its lines do not have the same columns.",
        hint=f"It was read with {delimiter!r} between the columns: set `delimiter` if that is "
        "another character, and close every quotation mark.",
    )


def _bad_line(path: Path, number: int) -> DataUnreadable:
    return DataUnreadable(
        f"Line {number} of the file {quote(path.name)} is not a JSON object.",
        hint='Every line must be one record, such as `{"name": "Acme", "employees": 12}`.',
    )

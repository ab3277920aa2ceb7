"""How much one read of a connector may bring, counted while it is read."""

from collections.abc import Iterable
from dataclasses import dataclass

from agents.errors import DataTooLarge

MAX_ROWS = 2_000_000
MAX_COLUMNS = 1_000
MAX_CELLS = 24_000_000
MAX_VALUE_BYTES = 256 * 1024**2
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLimits:
    """What one read may take. Whoever may write a connector's data decides how it is made: a few
    kilobytes of Parquet or JSON lines may unpack to any number of cells."""

    rows: int = MAX_ROWS
    columns: int = MAX_COLUMNS
    cells: int = MAX_CELLS
    value_bytes: int = MAX_VALUE_BYTES
    """Bytes of all values, as text or as Arrow has them."""
    connect_s: int = CONNECT_TIMEOUT_S
    read_s: float = READ_TIMEOUT_S
    """Seconds for the whole read; the reading process is ended then."""
    memory_bytes: int = 1536 * 1024**2
    """Memory that the reading process may take."""


DEFAULT_LIMITS = ReadLimits()


class Meter:
    """Counts what a read has brought so far, and refuses what is beyond the limits."""

    def __init__(self, limits: ReadLimits, *, shown: str) -> None:
        """`shown` names what is read, in errors: "The file `x.csv`"."""
        self._limits, self._shown = limits, shown
        self._rows = self._bytes = 0

    def check_columns(self, count: int) -> None:
        """Refuse a table of too many columns.

        Raises:
            DataTooLarge: it has more than the limit.
        """
        if count > self._limits.columns:
            raise DataTooLarge(
                f"{self._shown} has {count:,} columns, and at most {self._limits.columns:,} are "
                "read.",
                hint="Keep the columns that describe the records; put lists into one column.",
            )

    def add(self, *, rows: int, columns: int, value_bytes: int = 0) -> None:
        """Count some rows; `columns` is how many the whole table has by now.

        Raises:
            DataTooLarge: with these the table has too many columns, rows, cells or bytes.
        """
        self.check_columns(columns)
        self._rows += rows
        self._bytes += value_bytes
        limits = self._limits
        if self._rows > limits.rows:
            raise self._too_large(f"more than {limits.rows:,} rows")
        if self._rows * columns > limits.cells:
            raise self._too_large(f"more than {limits.cells:,} cells")
        if self._bytes > limits.value_bytes:
            raise self._too_large(f"values of more than {limits.value_bytes // 2**20:,} MB")

    def _too_large(self, what: str) -> DataTooLarge:
        return DataTooLarge(
            f"{self._shown} has {what}, more than one batch may load.",
            hint="Leave out rows and columns that no agent needs, or use a `sql` connector to a "
            "view that does.",
        )


def text_size_bytes(row: Iterable[object]) -> int:
    """Count the characters of a row's texts and the bytes of its binary values."""
    return sum(len(value) for value in row if isinstance(value, str | bytes))

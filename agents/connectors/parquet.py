"""Tables as Parquet bytes."""

import io
from typing import Any, cast

import pandas as pd
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

from agents.errors import DataTooLarge, DataUnreadable

MAX_ROWS = 1_000_000
MAX_UNPACKED_BYTES = 1024**3

# PyArrow has no types: this is its edge.
_READ_ERRORS = cast("tuple[type[Exception], ...]", (cast("Any", pa).ArrowException, OSError))


def dataset_bytes(frame: pd.DataFrame) -> bytes:
    """Pack a table for keeping: Parquet, without the index."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def parquet_frame(content: bytes, *, shown: str) -> pd.DataFrame:
    """Unpack a table; `shown` names it in errors.

    Raises:
        DataUnreadable: the bytes are no Parquet.
        DataTooLarge: unpacked, it would fill the worker's memory.
    """
    try:
        rows, unpacked_bytes = _measure(content)
        if rows > MAX_ROWS or unpacked_bytes > MAX_UNPACKED_BYTES:
            raise DataTooLarge(
                f"{shown} holds {rows:,} rows, more than one batch may load.",
                hint=f"Keep at most {MAX_ROWS:,} rows in it, or use a `sql` connector to a view.",
            )
        return pd.read_parquet(io.BytesIO(content))
    except _READ_ERRORS as error:
        raise DataUnreadable(
            f"{shown} is not a readable Parquet table.",
            hint="Write it again with a current library; CSV and JSON lines work as well.",
        ) from error


def _measure(content: bytes) -> tuple[int, int]:
    """Count the rows and the unpacked bytes without unpacking."""
    metadata = cast("Any", pq).ParquetFile(io.BytesIO(content)).metadata
    groups = range(int(metadata.num_row_groups))
    unpacked_bytes = sum(int(metadata.row_group(number).total_byte_size) for number in groups)
    return int(metadata.num_rows), unpacked_bytes

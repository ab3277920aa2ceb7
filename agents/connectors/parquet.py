"""Tables as Parquet bytes."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from agents.errors import DataTooLarge, DataUnreadable

MAX_ROWS = 1_000_000
MAX_UNPACKED_BYTES = 1024**3


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
        metadata = pq.ParquetFile(io.BytesIO(content)).metadata
        unpacked = sum(
            metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)
        )
        if metadata.num_rows > MAX_ROWS or unpacked > MAX_UNPACKED_BYTES:
            raise DataTooLarge(
                f"{shown} holds {metadata.num_rows:,} rows, more than one batch may load.",
                hint=f"Keep at most {MAX_ROWS:,} rows in it, or use a `sql` connector to a view.",
            )
        return pd.read_parquet(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DataUnreadable(
            f"{shown} is not a readable Parquet table.",
            hint="Write it again with a current library; CSV and JSON lines work as well.",
        ) from error

"""Tables as Parquet bytes."""

import io
from typing import Any, cast

import pandas as pd
import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

from agents.connectors.limits import DEFAULT_LIMITS, Meter, ReadLimits
from agents.errors import DataUnreadable

# A batch of one value that is repeated unpacks to as many copies as it has rows.
_BATCH_ROWS = 8_192

# PyArrow has no types: this is its edge.
_ARROW, _PARQUET = cast("Any", pa), cast("Any", pq)
_READ_ERRORS = cast("tuple[type[Exception], ...]", (_ARROW.ArrowException, OSError))


def dataset_bytes(frame: pd.DataFrame) -> bytes:
    """Pack a table for keeping: Parquet, without the index."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def parquet_frame(
    content: bytes, *, shown: str, limits: ReadLimits = DEFAULT_LIMITS
) -> pd.DataFrame:
    """Unpack a table, batch by batch; `shown` names it in errors.

    What the file says of its size is not enough: it counts a value that is repeated once.

    Raises:
        DataUnreadable: the bytes are no Parquet.
        DataTooLarge: unpacked, it has more than the limits allow.
        MemoryError: a single batch needs more memory than there is.
    """
    meter = Meter(limits, shown=shown)
    try:
        file = _PARQUET.ParquetFile(io.BytesIO(content))
        columns = len(file.schema_arrow.names)
        Meter(limits, shown=shown).add(rows=int(file.metadata.num_rows), columns=columns)
        parts: list[Any] = []
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            part = _without_dictionaries(_ARROW.Table.from_batches([batch]))
            meter.add(rows=part.num_rows, columns=columns, value_bytes=int(part.nbytes))
            parts.append(part)
        if not parts:
            parts.append(_without_dictionaries(file.schema_arrow.empty_table()))
        table = _ARROW.concat_tables(parts)
        return cast("pd.DataFrame", table.to_pandas(use_threads=False))
    except MemoryError:
        # ArrowMemoryError is of both kinds.
        raise
    except _READ_ERRORS as error:
        raise DataUnreadable(
            f"{shown} is not a readable Parquet table.",
            hint="Write it again with a current library; CSV and JSON lines work as well.",
        ) from error


def _without_dictionaries(table: Any) -> Any:
    """Write out values that the file keeps once: counted as what they are for every reader."""
    for number, column in enumerate(table.schema):
        if _ARROW.types.is_dictionary(column.type):
            plain = table.column(number).cast(column.type.value_type)
            table = table.set_column(number, column.name, plain)
    return table

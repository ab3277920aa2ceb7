"""Records that Tenantry keeps for an organization."""

from collections.abc import Callable

import pandas as pd

from agents.connectors.limits import DEFAULT_LIMITS, ReadLimits
from agents.connectors.object_types import check_object_type
from agents.connectors.parquet import parquet_frame
from agents.errors import DataNotFound
from domain.text import quote

ReadDataset = Callable[[str], bytes | None]
"""Finds the Parquet bytes that the organization keeps under an object type."""


class DatasetRecords:
    """Reads an object type from the rows that were uploaded under its name."""

    def __init__(self, *, read_dataset: ReadDataset, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        self._read_dataset, self._limits = read_dataset, limits

    def load(self, object_type: str) -> pd.DataFrame:
        """Read a kept data set whole."""
        check_object_type(object_type)
        content = self._read_dataset(object_type)
        if content is None:
            raise DataNotFound(
                f"Your organization keeps no data set called {quote(object_type)}.",
                hint="Upload one under that name, or correct `object_type` in the agent's config.",
            )
        shown = f"The data set {quote(object_type)}"
        return parquet_frame(content, shown=shown, limits=self._limits)

"""What a worker and its reading process say to each other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pandas as pd

from agents.connectors.limits import ReadLimits
from domain.errors import TenantryError


@dataclass(frozen=True, slots=True)
class ReadJob:
    """A read and its limits."""

    read: Callable[[], pd.DataFrame]
    limits: ReadLimits


@dataclass(frozen=True, slots=True)
class Frame:
    """The records."""

    frame: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """One of our own errors."""

    error: TenantryError


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The read needed more memory than it may have."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An error that nobody foresaw, with its traceback for the worker's log."""

    text: str


Reply: TypeAlias = Frame | Refused | OutOfMemory | Failed

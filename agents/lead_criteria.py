"""What a lead must be: the criteria that one agent reads out of a sentence and another applies."""

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_HEAD_COUNT = 100_000_000
HeadCount = Annotated[int, Field(ge=0, le=MAX_HEAD_COUNT)]
Year = Annotated[int, Field(ge=1000, le=2999)]


class LeadStatus(StrEnum):
    """What has become of a company."""

    ACTIVE = "active"
    PUBLIC = "public"
    ACQUIRED = "acquired"
    INACTIVE = "inactive"


class LeadSort(StrEnum):
    """An order that a request asks for; without one, the best scores come first."""

    LARGEST_FIRST = "largest_first"
    SMALLEST_FIRST = "smallest_first"
    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"


class LeadCriteria(BaseModel):
    """Criteria of one search. Every one that is set must hold; bounds are inclusive."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    industries: tuple[tuple[str, ...], ...] = ()
    """Alternatives: of at least one group, every industry must fit the company."""

    industries_not: tuple[str, ...] = ()
    """No industry of these may fit the company."""

    places: tuple[str, ...] = ()
    """Cities, states, countries or areas; the company must be in one of them."""

    places_not: tuple[str, ...] = ()
    """The company must be in none of these."""

    head_count_min: HeadCount | None = None
    """Smallest number of employees. A company whose number is unknown never satisfies it."""

    head_count_max: HeadCount | None = None
    """Largest number of employees. A company whose number is unknown never satisfies it."""

    founded_min: Year | None = None
    """Earliest year of foundation."""

    founded_max: Year | None = None
    """Latest year of foundation."""

    founders_min: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Fewest founders."""

    founders_max: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Most founders."""

    batches: tuple[str, ...] = ()
    """Start-up programme batches such as `W21`; the company must be of one of them."""

    statuses: tuple[LeadStatus, ...] = ()
    """Accepted statuses. Without any, everything but inactive companies."""

    sort: LeadSort | None = None
    """Order asked for."""

    limit: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many companies are wanted."""

    def is_empty(self) -> bool:
        """Say whether nothing here tells one company from another."""
        return not self.model_dump(exclude={"sort", "limit"}, exclude_defaults=True)

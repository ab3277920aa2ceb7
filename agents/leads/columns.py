"""Which column of an organization's records holds what."""

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from pydantic import BaseModel, ConfigDict, StringConstraints

from agents.errors import DataFieldMissing
from agents.normalize.text import fold
from domain.text import Suggester, quote

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class LeadFields(BaseModel):
    """Names of the records' columns. What is left out is found by its usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    id: ColumnName | None = None
    """Identifies a record."""

    name: ColumnName | None = None
    """The company's name."""

    place: ColumnName | None = None
    """Where the company sits: a city, an address, several seats."""

    country: ColumnName | None = None
    """Its country, by name or ISO code: settles what `place` leaves open."""

    industries: ColumnName | None = None
    """What it does, in descriptive words, separated by `|`."""

    tags: ColumnName | None = None
    """What it does, in tags of a fixed list, separated by `|` or commas."""

    head_count: ColumnName | None = None
    """Number of employees, however it is written."""

    status: ColumnName | None = None
    """Active, acquired, public or inactive."""

    founded: ColumnName | None = None
    """Year of foundation."""

    founders: ColumnName | None = None
    """Number of founders."""

    batch: ColumnName | None = None
    """Batch of a start-up programme."""

    website: ColumnName | None = None
    """Address of its web site."""


_USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("company_id", "id", "account_id", "record_id", "uuid", "hs_object_id"),
    "name": ("name", "company_name", "company", "account", "account_name", "organization"),
    "place": (
        "headquarters",
        "location",
        "city",
        "place",
        "office_location",
        "billing_city",
        "address",
    ),
    "country": ("country", "country_code", "billing_country"),
    "industries": ("industries", "industry", "sector", "sectors"),
    "tags": ("tags", "categories", "labels"),
    "head_count": (
        "employees",
        "head_count",
        "headcount",
        "team_size",
        "number_of_employees",
        "numberofemployees",
        "employee_count",
        "num_employees",
        "size",
    ),
    "status": ("status", "company_status", "lifecycle_status"),
    "founded": ("founded", "year_founded", "founded_year", "year_established"),
    "founders": ("num_founders", "founders", "founder_count"),
    "batch": ("batch", "cohort"),
    "website": ("website", "url", "domain", "web_site", "homepage"),
}


def find_columns(fields: LeadFields, frame: pd.DataFrame) -> dict[str, str]:
    """Match fields to columns; fields that the records do not have are left out.

    Raises:
        DataFieldMissing: a field is mapped to a column that isn't there, or no column can be
            the company's name.
    """
    there = [str(column) for column in frame.columns]
    by_key = {fold(column).replace(" ", "_"): column for column in reversed(there)}
    found: dict[str, str] = {}
    for field, usual in _USUAL_NAMES.items():
        wanted: str | None = getattr(fields, field)
        if wanted is not None:
            if wanted not in there:
                raise _no_column(field, wanted, there)
            found[field] = wanted
            continue
        known = next((by_key[name] for name in usual if name in by_key), None)
        if known is not None:
            found[field] = known
    if "name" not in found:
        raise missing_field("name", there)
    return found


def missing_field(field: str, there: list[str]) -> DataFieldMissing:
    """Say that the records have no column for a field that is needed."""
    return DataFieldMissing(
        f"No column of the records is known to hold `{field}`.",
        hint=f"Say which one it is with `fields: {{{field}: …}}`. {_shown(there)}",
    )


def _no_column(field: str, wanted: str, there: list[str]) -> DataFieldMissing:
    near = Suggester(there).nearest(wanted)
    hint = f"Did you mean {quote(near)}? " if near else ""
    return DataFieldMissing(
        f"The records have no column {quote(wanted)}, which `fields` names for `{field}`.",
        hint=hint + _shown(there),
    )


def _shown(there: list[str]) -> str:
    more = f" and {len(there) - 30} more" if len(there) > 30 else ""
    return f"Columns there: {', '.join(quote(name) for name in there[:30])}{more}."

"""Which records meet the criteria, and why the others do not."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from agents.lead_criteria import LeadCriteria, LeadStatus
from agents.leads.columns import missing_field
from agents.leads.table import LeadTable, Mask, Numbers


@dataclass(frozen=True, slots=True)
class Filtered:
    """Rows that meet all criteria, and how many failed at each, every row counted once."""

    rows: tuple[int, ...]
    dropped: dict[str, int]


def filter_leads(table: LeadTable, criteria: LeadCriteria, *, only_active: bool = True) -> Filtered:
    """Apply every criterion.

    With `only_active`, inactive companies are left out unless the criteria name statuses.

    Raises:
        DataFieldMissing: a criterion needs a field that the records do not have.
    """
    _check_fields(table, criteria)
    kept = np.ones(len(table), dtype=np.bool_)
    dropped: dict[str, int] = {}
    for reason, mask in _masks(table, criteria, only_active=only_active):
        failed = int(np.count_nonzero(kept & ~mask))
        if failed:
            dropped[reason] = failed
        kept &= mask
    return Filtered(tuple(int(row) for row in np.flatnonzero(kept)), dropped)


def _masks(
    table: LeadTable, criteria: LeadCriteria, *, only_active: bool
) -> Iterable[tuple[str, Mask]]:
    if table.has("status"):
        yield "status", _status_mask(table, criteria.statuses, only_active=only_active)
    if criteria.places:
        yield "place", _any_of(table, [table.in_place(name) for name in criteria.places])
    if criteria.places_not:
        excluded = _any_of(table, [table.in_place(name) for name in criteria.places_not])
        yield "place_excluded", ~excluded
    if criteria.industries:
        yield "industry", industry_mask(table, criteria)
    if criteria.industries_not:
        excluded = _any_of(table, [table.in_industry(name) for name in criteria.industries_not])
        yield "industry_excluded", ~excluded
    low, high = criteria.head_count_min, criteria.head_count_max
    if low is not None or high is not None:
        yield "head_count_unknown", ~np.isnan(table.head_counts)
        yield "head_count", _between(table.head_counts, low, high)
    if criteria.founded_min is not None or criteria.founded_max is not None:
        yield "founded_unknown", ~np.isnan(table.founded)
        yield "founded", _between(table.founded, criteria.founded_min, criteria.founded_max)
    if criteria.founders_min is not None or criteria.founders_max is not None:
        yield "founders", _between(table.founders, criteria.founders_min, criteria.founders_max)
    if criteria.batches:
        wanted = {batch.upper() for batch in criteria.batches}
        yield "batch", np.asarray([batch in wanted for batch in table.batches], dtype=np.bool_)


def industry_mask(table: LeadTable, criteria: LeadCriteria) -> Mask:
    """Find the records of which at least one group of industries fits whole."""
    groups: list[Mask] = []
    for group in criteria.industries:
        mask = np.ones(len(table), dtype=np.bool_)
        for name in group:
            mask &= table.in_industry(name)
        groups.append(mask)
    return _any_of(table, groups)


def _status_mask(table: LeadTable, statuses: tuple[LeadStatus, ...], *, only_active: bool) -> Mask:
    if statuses:
        return table.in_status(frozenset(statuses))
    if not only_active:
        return np.ones(len(table), dtype=np.bool_)
    return ~table.in_status(frozenset({LeadStatus.INACTIVE}))


def _between(numbers: Numbers, low: int | None, high: int | None) -> Mask:
    # NaN compares false with everything: an unknown number is in no range.
    mask = ~np.isnan(numbers)
    if low is not None:
        mask &= numbers >= low
    if high is not None:
        mask &= numbers <= high
    return mask


def _any_of(table: LeadTable, masks: list[Mask]) -> Mask:
    found = np.zeros(len(table), dtype=np.bool_)
    for mask in masks:
        found |= mask
    return found


def _check_fields(table: LeadTable, criteria: LeadCriteria) -> None:
    there = [str(column) for column in table.frame.columns]
    needs_head_count = (criteria.head_count_min, criteria.head_count_max) != (None, None)
    needs_founded = (criteria.founded_min, criteria.founded_max) != (None, None)
    needs_founders = (criteria.founders_min, criteria.founders_max) != (None, None)
    needs_industry = bool(criteria.industries or criteria.industries_not)
    needed = (
        (needs_head_count, ("head_count",)),
        (needs_founded, ("founded",)),
        (needs_founders, ("founders",)),
        (needs_industry, ("industries", "tags")),
        (bool(criteria.places or criteria.places_not), ("place", "country")),
        (bool(criteria.batches), ("batch",)),
    )
    for is_needed, fields in needed:
        if is_needed and not any(table.has(name) for name in fields):
            raise missing_field(fields[0], there)

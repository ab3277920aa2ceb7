"""How well a record that meets the criteria meets them, with reasons for people."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agents.lead_criteria import LeadCriteria, LeadStatus
from agents.leads.table import LeadTable
from agents.places.gazetteer import load_gazetteer

TIER_A, TIER_B = 80, 60
"""Lowest scores of the two upper tiers."""

Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
_COMPLETE_FIELDS = ("website", "founded", "head_count", "place")
_STATUS_WORTH = {LeadStatus.ACTIVE: 1.0, LeadStatus.PUBLIC: 1.0, LeadStatus.ACQUIRED: 0.7}


class ScoringWeights(BaseModel):
    """How much each side of a lead counts. Only sides that the request asks for are counted."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    industry: Weight = 40.0
    """How surely the company is of the industry."""

    place: Weight = 20.0
    """Whether its first seat is in the place, or only another one."""

    head_count: Weight = 25.0
    """How comfortably its number of employees fits."""

    status: Weight = 5.0
    """Active and public companies before acquired ones."""

    completeness: Weight = 10.0
    """How much is known of it: web site, year, employees, place."""


@dataclass(frozen=True, slots=True)
class LeadScore:
    """A score from 0 to 100 with its reasons, the weightiest side first."""

    score: int
    reasons: tuple[str, ...]

    @property
    def tier(self) -> str:
        """`A` from 80, `B` from 60, else `C`."""
        if self.score >= TIER_A:
            return "A"
        return "B" if self.score >= TIER_B else "C"


def score_lead(
    table: LeadTable, row: int, criteria: LeadCriteria, *, weights: ScoringWeights
) -> LeadScore:
    """Score one record that meets the criteria: the weighted mean of its sides, each 0 to 1."""
    sides = [
        (weight, worth, reason)
        for weight, worth, reason in _sides(table, row, criteria, weights=weights)
        if weight > 0
    ]
    total = sum(weight for weight, _, _ in sides)
    score = sum(weight * worth for weight, worth, _ in sides) / total if total else 0.0
    return LeadScore(round(100 * score), tuple(reason for _, _, reason in sides if reason))


def _sides(
    table: LeadTable, row: int, criteria: LeadCriteria, *, weights: ScoringWeights
) -> Iterable[tuple[float, float, str]]:
    if criteria.industries:
        yield weights.industry, *_industry_side(table, row, criteria)
    if criteria.places:
        yield weights.place, *_place_side(table, row, criteria)
    if criteria.head_count_min is not None or criteria.head_count_max is not None:
        yield weights.head_count, *_head_count_side(table, row, criteria)
    status = table.statuses[row]
    if status is not None:
        yield weights.status, _STATUS_WORTH.get(status, 0.0), f"Status: {status.value}."
    known = [name for name in _COMPLETE_FIELDS if table.has(name) and _is_known(table, row, name)]
    gaps = [name for name in _COMPLETE_FIELDS if name not in known]
    missing = f"Not known: {', '.join(gap.replace('_', ' ') for gap in gaps)}." if gaps else ""
    yield weights.completeness, len(known) / len(_COMPLETE_FIELDS), missing


def _industry_side(table: LeadTable, row: int, criteria: LeadCriteria) -> tuple[float, str]:
    best: tuple[float, str] = (0.0, "")
    for group in criteria.industries:
        matches = [table.industry_match(row, name) for name in group]
        weakest = min(match.strength for match in matches)
        because = list(dict.fromkeys(value for match in matches for value in match.because))
        # Each further value that says the same makes it a little surer, up to full worth.
        worth = weakest * min(1.0, 0.85 + 0.05 * (len(because) - len(group)) + 0.05)
        if weakest > 0 and worth > best[0]:
            shown = ", ".join(because[:4])
            doubt = "" if weakest >= 1 else " (only a broad match)"
            best = (worth, f"Works in {' and '.join(group)}{doubt}: {shown}.")
    return best


def _place_side(table: LeadTable, row: int, criteria: LeadCriteria) -> tuple[float, str]:
    locations = table.locations_of(row)
    for name in criteria.places:
        place = load_gazetteer().resolve(name)
        for position, location in enumerate(locations):
            if place.covers(location):
                if position == 0:
                    return 1.0, f"Sits in {name}."
                return 0.8, f"Has a seat in {name}, besides its first one."
    return 0.0, ""


def _head_count_side(table: LeadTable, row: int, criteria: LeadCriteria) -> tuple[float, str]:
    count = float(table.head_counts[row])
    low, high = criteria.head_count_min, criteria.head_count_max
    if low is not None and high is None:
        # Ten times the wanted number is as good as it gets; just reaching it is worth 0.7.
        ratio = count / max(low, 1)
        worth = 0.7 + 0.3 * min(1.0, math.log10(max(ratio, 1.0)))
        asked = f"at least {low:,}"
    elif low is not None and high is not None:
        worth = 1.0
        asked = f"{low:,} to {high:,}"
    else:
        worth = 1.0
        asked = f"at most {high or 0:,}"
    return worth, f"{int(count):,} employees (asked for: {asked})."


def _is_known(table: LeadTable, row: int, name: str) -> bool:
    match name:
        case "head_count":
            return not math.isnan(float(table.head_counts[row]))
        case "founded":
            return not math.isnan(float(table.founded[row]))
        case "place":
            return any(location.city for location in table.locations_of(row))
        case _:
            value = table.value(row, name)
            return isinstance(value, str) and bool(value.strip())

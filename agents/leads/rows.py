"""Qualified records in the form in which they leave: scored, ordered, JSON."""

import math
from dataclasses import dataclass

from agents.json_output import clean_text, to_json
from agents.lead_criteria import LeadCriteria, LeadSort
from agents.leads.filtering import Filtered
from agents.leads.scoring import LeadScore, ScoringWeights, score_lead
from agents.leads.table import LeadTable, Numbers
from domain.json_data import JsonObject, JsonValue


@dataclass(frozen=True, slots=True)
class _Ranked:
    row: int
    scored: LeadScore


def rank_leads(
    table: LeadTable, filtered: Filtered, criteria: LeadCriteria, *, weights: ScoringWeights
) -> list[tuple[int, LeadScore]]:
    """Score all rows that met the criteria and put them in order.

    The order is the one that was asked for, and equals go by id; without one it is by score,
    and equals go by name and id. So the same records always give the same list. Of a limit, the
    first ones are kept.
    """
    ranked = [
        _Ranked(row, score_lead(table, row, criteria, weights=weights)) for row in filtered.rows
    ]
    ranked.sort(key=lambda each: _sort_key(table, each, criteria.sort))
    return [(each.row, each.scored) for each in ranked[: criteria.limit]]


def lead_row(table: LeadTable, row: int, scored: LeadScore) -> JsonObject:
    """Write one lead."""
    status = table.statuses[row]
    return {
        "id": clean_text(table.ids[row]),
        "name": clean_text(table.names[row]),
        "tier": scored.tier,
        "score": scored.score,
        "place": _tidy(to_json(table.value(row, "place"))),
        "country": to_json(table.value(row, "country")),
        "industries": [clean_text(label) for label in table.labels_of(row)],
        "head_count": _whole(table.head_counts, row),
        "status": None if status is None else status.value,
        "founded": _whole(table.founded, row),
        "website": to_json(table.value(row, "website")),
        "reasons": list(scored.reasons),
    }


def _tidy(place: JsonValue) -> JsonValue:
    # Scraped addresses have a space before each comma.
    if not isinstance(place, str):
        return place
    return ", ".join(part.strip() for part in " ".join(place.split()).split(","))


def _sort_key(
    table: LeadTable, ranked: _Ranked, sort: LeadSort | None
) -> tuple[float, float, str, tuple[int, str]]:
    row = ranked.row
    if sort is not None:
        return (_wanted_order(table, row, sort), 0.0, "", _id_key(table.ids[row]))
    return (0.0, -ranked.scored.score, table.names[row].casefold(), _id_key(table.ids[row]))


def _wanted_order(table: LeadTable, row: int, sort: LeadSort) -> float:
    match sort:
        case LeadSort.LARGEST_FIRST:
            value = -float(table.head_counts[row])
        case LeadSort.SMALLEST_FIRST:
            value = float(table.head_counts[row])
        case LeadSort.NEWEST_FIRST:
            value = -float(table.founded[row])
        case LeadSort.OLDEST_FIRST:
            value = float(table.founded[row])
    return math.inf if math.isnan(value) else value


def _id_key(record_id: str) -> tuple[int, str]:
    # "9" before "10": numbers as text go by length first.
    return (len(record_id) if record_id.isdecimal() else 0, record_id)


def _whole(numbers: Numbers, row: int) -> int | None:
    number = float(numbers[row])
    return None if math.isnan(number) else int(number)

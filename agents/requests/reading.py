"""From a sentence to criteria: the readers in their order, and what their findings amount to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from agents.errors import RequestUnclear
from agents.lead_criteria import LeadCriteria, LeadSort, LeadStatus
from agents.places.gazetteer import Place, load_gazetteer
from agents.requests.asides import take_asides
from agents.requests.draft import MAX_REQUEST_CHARS, Draft, MentionKind, make_draft
from agents.requests.industry_words import (
    take_industries,
    take_misspelt_industries,
    unwanted_industries,
    wanted_industries,
)
from agents.requests.place_words import (
    asks_for_nearby,
    take_misspelt_places,
    take_places,
    take_unknown_places,
)
from agents.requests.polarity import settle_polarity
from agents.requests.ranking import take_ranking
from agents.requests.sizes import Bounds, show_bounds, take_no_size, take_size_words, take_sizes
from agents.requests.statuses import take_statuses, wanted_statuses
from agents.requests.unsupported import take_unsupported
from agents.requests.years import take_batches, take_founders, take_years

_EXAMPLE = '"fintech companies in New York with 50 to 200 employees"'


@dataclass(frozen=True, slots=True)
class RequestReading:
    """What a request was taken to mean."""

    criteria: LeadCriteria
    reading: str
    notes: tuple[str, ...]
    unsupported: tuple[str, ...]


def read_request(
    text: str, *, this_year: int, max_chars: int = MAX_REQUEST_CHARS
) -> RequestReading:
    """Read a request for leads.

    Args:
        this_year: counts ages such as "less than five years old".
        max_chars: longest text that is read.
    Raises:
        AgentInputInvalid: it is longer than that.
        RequestUnclear: it contradicts itself, or names nothing to search by.
    """
    draft = make_draft(text, max_chars=max_chars)
    take_asides(draft)
    take_no_size(draft)
    take_unsupported(draft)
    batches = take_batches(draft)
    founders = take_founders(draft)
    take_years(draft, this_year=this_year)
    sort, limit = take_ranking(draft)
    take_sizes(draft)
    allowed = take_statuses(draft)
    take_places(draft)
    take_industries(draft)
    take_size_words(draft)
    take_misspelt_places(draft)
    take_misspelt_industries(draft)
    take_unknown_places(draft)
    settle_polarity(draft)
    criteria = _criteria(
        draft,
        batches=batches,
        founders=founders,
        ranking=(sort, limit),
        statuses=wanted_statuses(draft, allowed),
    )
    _check_clear(draft, criteria)
    return RequestReading(
        criteria=criteria,
        reading=say_criteria(criteria),
        notes=tuple(dict.fromkeys(draft.notes)),
        unsupported=tuple(dict.fromkeys(draft.unsupported)),
    )


def say_criteria(criteria: LeadCriteria) -> str:
    """Write the criteria as one plain sentence."""
    parts = [_who(criteria)]
    if criteria.places:
        parts.append(f"in {_listed(criteria.places, 'or')}")
    if criteria.places_not:
        parts.append(f"outside {_listed(criteria.places_not, 'and')}")
    size = Bounds(criteria.head_count_min, criteria.head_count_max)
    if size != Bounds():
        parts.append(f"with {show_bounds(size)}")
    founded = Bounds(criteria.founded_min, criteria.founded_max)
    if founded != Bounds():
        parts.append(_span("founded", founded))
    founders = Bounds(criteria.founders_min, criteria.founders_max)
    if founders != Bounds():
        parts.append(_span("number of founders", founders))
    if criteria.batches:
        parts.append(f"of batch {_listed(criteria.batches, 'or')}")
    if criteria.industries_not:
        parts.append(f"nothing in {_listed(criteria.industries_not, 'or')}")
    if not criteria.statuses:
        parts.append("inactive companies left out")
    return f"Read as: {', '.join([*parts, *_ranking(criteria)])}."


def _criteria(
    draft: Draft,
    *,
    batches: tuple[str, ...],
    founders: Bounds,
    ranking: tuple[LeadSort | None, int | None],
    statuses: tuple[LeadStatus, ...],
) -> LeadCriteria:
    wanted_places, unwanted_places = _places(draft)
    size = _narrowest(draft, MentionKind.HEAD_COUNT)
    founded = _narrowest(draft, MentionKind.FOUNDED)
    if size.low is not None and size.high is not None and size.low > size.high:
        raise RequestUnclear(
            f"No company can have at least {size.low:,} and at most {size.high:,} employees.",
            hint='Say one range, such as "100 to 500 employees".',
        )
    if founded.low is not None and founded.high is not None and founded.low > founded.high:
        raise RequestUnclear(
            f"No company can be founded from {founded.low} on and until {founded.high}.",
            hint='Say one span, such as "founded between 2010 and 2015".',
        )
    return LeadCriteria(
        industries=wanted_industries(draft),
        industries_not=unwanted_industries(draft),
        places=wanted_places,
        places_not=unwanted_places,
        head_count_min=size.low,
        head_count_max=size.high,
        founded_min=founded.low,
        founded_max=founded.high,
        founders_min=founders.low,
        founders_max=founders.high,
        batches=batches,
        statuses=statuses,
        sort=ranking[0],
        limit=ranking[1],
    )


def _check_clear(draft: Draft, criteria: LeadCriteria) -> None:
    if asks_for_nearby(draft) and not criteria.places:
        raise RequestUnclear(
            "The request speaks of a place near you, and nobody here knows where that is.",
            hint=f"Name the city, state or country, such as {_EXAMPLE}.",
        )
    refused = set(criteria.industries_not)
    if criteria.industries and all(refused & set(group) for group in criteria.industries):
        raise RequestUnclear(
            f"The request wants and excludes the same: {_listed(sorted(refused), 'and')}.",
            hint="Say once whether it is wanted.",
        )
    resolve = load_gazetteer().resolve
    outside = [resolve(name) for name in criteria.places_not]
    if criteria.places and all(
        any(other.contains(resolve(name)) for other in outside) for name in criteria.places
    ):
        raise RequestUnclear(
            f"The request wants and excludes the same place: {_listed(criteria.places, 'and')}.",
            hint="Say once whether it is wanted.",
        )
    if criteria.is_empty():
        asked = f" It asks for {'; '.join(draft.unsupported)}, which no record tells." * bool(
            draft.unsupported
        )
        raise RequestUnclear(
            f"The request names nothing to search by.{asked}",
            hint=f"Say what they do, where they are or how large they are, such as {_EXAMPLE}.",
        )


def _places(draft: Draft) -> tuple[tuple[str, ...], tuple[str, ...]]:
    wanted: dict[str, None] = {}
    unwanted: dict[str, None] = {}
    for mention in draft.of_kind(MentionKind.PLACE):
        candidates = cast("Sequence[Place]", mention.value)
        name = candidates[0].name
        (unwanted if mention.negated else wanted)[name] = None
        if len(candidates) > 1:
            others = _listed([place.name for place in candidates[1:3]], "or")
            draft.notes.append(f"{name} is meant, not {others}.")
    return tuple(wanted), tuple(unwanted)


def _narrowest(draft: Draft, kind: MentionKind) -> Bounds:
    """Put all ranges of a request together: every one of them must hold."""
    bounds: list[Bounds] = []
    for mention in draft.of_kind(kind):
        given = cast("Bounds", mention.value)
        if not mention.negated:
            bounds.append(given)
        elif (inverted := given.inverted()) is not None:
            bounds.append(inverted)
        else:
            draft.unsupported.append(draft.original[mention.start : mention.end].strip())
    return Bounds(
        low=_extreme((each.low for each in bounds), largest=True),
        high=_extreme((each.high for each in bounds), largest=False),
    )


def _extreme(values: Iterable[int | None], *, largest: bool) -> int | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return max(known) if largest else min(known)


def _who(criteria: LeadCriteria) -> str:
    statuses = _listed([status.value for status in criteria.statuses], "or")
    who = f"{statuses} companies".strip()
    if not criteria.industries:
        return who
    groups = [" and ".join(group) for group in criteria.industries]
    return f"{who} that work in {_listed(groups, 'or')} (not: that buy it)"


def _ranking(criteria: LeadCriteria) -> list[str]:
    parts: list[str] = []
    if criteria.limit:
        first = "the first one" if criteria.limit == 1 else f"the first {criteria.limit:,}"
        parts.append(f"{first} only")
    if criteria.sort:
        parts.append(criteria.sort.value.replace("_", " "))
    return parts


def _span(what: str, bounds: Bounds) -> str:
    if bounds.low == bounds.high:
        return f"{what} {bounds.low}"
    if bounds.low is not None and bounds.high is not None:
        return f"{what} {bounds.low} to {bounds.high}"
    return (
        f"{what} {bounds.low} or more" if bounds.high is None else f"{what} {bounds.high} or less"
    )


def _listed(parts: Iterable[str], word: str) -> str:
    names = list(parts)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"

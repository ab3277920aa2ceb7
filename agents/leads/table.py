"""An organization's records, made comparable once for a whole batch of requests."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from agents.industries.families import find_family
from agents.industries.matching import NO_MATCH, IndustryMatch, match_labels, match_tags
from agents.lead_criteria import LeadStatus
from agents.normalize.head_counts import parse_head_count
from agents.normalize.statuses import parse_status
from agents.normalize.tags import split_labels, split_tags
from agents.normalize.years import parse_year
from agents.places.addresses import parse_country, parse_locations
from agents.places.gazetteer import Location, load_gazetteer

Mask: TypeAlias = "npt.NDArray[np.bool_]"
Numbers: TypeAlias = "npt.NDArray[np.float64]"
Labels: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few different values: each row's value is `values[codes[row]]`."""

    codes: npt.NDArray[np.intp]
    values: tuple[Any, ...]

    def spread(self, by_value: list[bool]) -> Mask:
        """Turn a truth about each value into one about each row."""
        return np.asarray(by_value, dtype=np.bool_)[self.codes]


@dataclass(slots=True)
class LeadTable:
    """Records, column by column. Numbers that are unknown are NaN.

    Masks of places, industries and statuses are kept, so that a thousand requests of a batch that
    ask for the same city compare the records once.
    """

    frame: pd.DataFrame
    columns: Mapping[str, str]
    names: list[str]
    ids: list[str]
    head_counts: Numbers
    founded: Numbers
    founders: Numbers
    statuses: list[LeadStatus | None]
    batches: list[str]
    locations: Coded
    labels: Coded
    _place_masks: dict[str, Mask] = field(default_factory=dict[str, Mask])
    _industry_masks: dict[str, Mask] = field(default_factory=dict[str, Mask])
    _status_masks: dict[frozenset[LeadStatus | None], Mask] = field(
        default_factory=dict[frozenset[LeadStatus | None], Mask]
    )
    _values: dict[str, list[object]] = field(default_factory=dict[str, list[object]])
    _industries: dict[str, list[IndustryMatch]] = field(
        default_factory=dict[str, list[IndustryMatch]]
    )

    def __len__(self) -> int:
        return len(self.names)

    def has(self, name: str) -> bool:
        """Say whether the records have a column for a field of `LeadFields`."""
        return name in self.columns

    def in_place(self, place_name: str) -> Mask:
        """Find the records with a seat in a place."""
        if place_name not in self._place_masks:
            place = load_gazetteer().resolve(place_name)
            self._place_masks[place_name] = self.locations.spread(
                [
                    any(place.covers(location) for location in cast("tuple[Location, ...]", each))
                    for each in self.locations.values
                ]
            )
        return self._place_masks[place_name]

    def industry_matches(self, name: str) -> list[IndustryMatch]:
        """Compare each different value of `labels` with an industry."""
        if name not in self._industries:
            family = find_family(name)
            matches: list[IndustryMatch] = []
            for labels, tags in cast("tuple[Labels, ...]", self.labels.values):
                by_tag = match_tags(family, tags) if tags else NO_MATCH
                by_label = match_labels(family, labels) if labels else NO_MATCH
                matches.append(max(by_tag, by_label, key=lambda match: match.strength))
            self._industries[name] = matches
        return self._industries[name]

    def in_industry(self, name: str) -> Mask:
        """Find the records of an industry."""
        if name not in self._industry_masks:
            matches = self.industry_matches(name)
            self._industry_masks[name] = self.labels.spread([each.strength > 0 for each in matches])
        return self._industry_masks[name]

    def in_status(self, wanted: frozenset[LeadStatus | None]) -> Mask:
        """Find the records of one of some statuses; None stands for no status that we know."""
        if wanted not in self._status_masks:
            self._status_masks[wanted] = np.asarray(
                [status in wanted for status in self.statuses], dtype=np.bool_
            )
        return self._status_masks[wanted]

    def industry_match(self, row: int, name: str) -> IndustryMatch:
        """Say how surely one record is of an industry."""
        return self.industry_matches(name)[int(self.labels.codes[row])]

    def locations_of(self, row: int) -> tuple[Location, ...]:
        """List the seats of one record."""
        return cast("tuple[Location, ...]", self.locations.values[int(self.locations.codes[row])])

    def labels_of(self, row: int) -> tuple[str, ...]:
        """List what one record says of its industries."""
        labels, tags = cast("Labels", self.labels.values[int(self.labels.codes[row])])
        return (*labels, *tags)

    def value(self, row: int, name: str) -> object:
        """Read a field of one record as the source has it; None when there is no such column."""
        column = self.columns.get(name)
        if column is None:
            return None
        # One look into a data frame costs some twenty microseconds, one into a list none.
        if name not in self._values:
            self._values[name] = list(cast("Any", self.frame[column]))
        return self._values[name][row]


def make_table(frame: pd.DataFrame, columns: Mapping[str, str]) -> LeadTable:
    """Make records comparable. Takes about a second per hundred thousand records."""
    frame = frame.reset_index(drop=True)

    def column(name: str) -> list[object]:
        found = columns.get(name)
        return [None] * len(frame) if found is None else list(cast("Any", frame[found]))

    rows = range(1, len(frame) + 1)
    ids = [_text(value) or str(row) for value, row in zip(column("id"), rows, strict=True)]
    places = [
        (_hashable(place), _hashable(country))
        for place, country in zip(column("place"), column("country"), strict=True)
    ]
    labels = [
        (_hashable(industries), _hashable(tags))
        for industries, tags in zip(column("industries"), column("tags"), strict=True)
    ]
    return LeadTable(
        frame=frame,
        columns=columns,
        names=[_text(value) for value in column("name")],
        ids=ids,
        head_counts=_numbers(column("head_count"), parse_head_count),
        founded=_numbers(column("founded"), parse_year),
        founders=_numbers(column("founders"), parse_head_count),
        statuses=_mapped(column("status"), parse_status),
        batches=[_text(value).upper() for value in column("batch")],
        locations=_coded(places, _locations),
        labels=_coded(labels, lambda pair: (split_labels(pair[0]), split_tags(pair[1]))),
    )


def _locations(pair: tuple[object, object]) -> tuple[Location, ...]:
    place, country = pair
    found = parse_locations(place, country=parse_country(country))
    # Some sources put the city into the country's column, and leave the other one empty.
    return found or parse_locations(country)


def _numbers(values: list[object], parse: Callable[[object], int | None]) -> Numbers:
    parsed = _mapped(values, parse)
    return np.asarray([np.nan if each is None else each for each in parsed], dtype=np.float64)


def _mapped(values: list[object], parse: Callable[[object], T]) -> list[T]:
    known: dict[Hashable, T] = {}
    found: list[T] = []
    for value in values:
        key = (type(value), _hashable(value))
        if key not in known:
            known[key] = parse(value)
        found.append(known[key])
    return found


def _coded(values: list[tuple[object, object]], parse: Callable[[Any], object]) -> Coded:
    positions: dict[object, int] = {}
    codes = np.asarray(
        [positions.setdefault(value, len(positions)) for value in values], dtype=np.intp
    )
    return Coded(codes, tuple(parse(value) for value in positions))


def _hashable(value: object) -> Any:
    """Make a list of a Parquet file or a document database a tuple."""
    if isinstance(value, np.ndarray | list | set):
        return tuple(str(each) for each in cast("list[object]", value))
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, Hashable) else str(value)


def _text(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    return str(value).strip()

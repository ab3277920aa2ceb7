"""The places that requests name, and what each of them covers.

Sources: ISO 3166 codes and names; cities that often have company seats. Where several places
share a name, the file's first is meant unless the context says otherwise.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import cast

from agents.normalize.text import fold


class PlaceKind(StrEnum):
    """How large a place is."""

    CITY = "city"
    REGION = "region"
    COUNTRY = "country"
    AREA = "area"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a company is, as far as known: folded city, state code, ISO 3166 country code."""

    city: str | None = None
    region: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Something that a request can name. It covers the locations that fit one of its members."""

    name: str
    kind: PlaceKind
    members: tuple[Location, ...]

    def covers(self, location: Location) -> bool:
        """Say whether a location lies here.

        What is not known of it is not held against it, save that a location without a city is
        in no city, and one without a state in no state.
        """
        return any(_fits(member, location) for member in self.members)

    def contains(self, other: "Place") -> bool:
        """Say whether the other place lies here with all of its members."""
        return all(self.covers(member) for member in other.members)


@dataclass(frozen=True, slots=True)
class Gazetteer:
    """Places by name, and by each folded phrase that may mean them, the likeliest first."""

    by_name: Mapping[str, Place]
    by_phrase: Mapping[str, tuple[Place, ...]]
    demonyms: frozenset[str]
    region_codes: Mapping[str, tuple[Place, ...]]
    countries: Mapping[str, Place]
    longest_phrase_words: int

    def resolve(self, name: str) -> Place:
        """Find the place that a criterion names; an unknown name is taken for a city's."""
        place = self.by_name.get(name)
        if place is None:
            known = self.by_phrase.get(fold(name))
            place = known[0] if known else None
        return place or Place(name, PlaceKind.CITY, (Location(city=fold(name)),))


@cache
def load_gazetteer() -> Gazetteer:
    """Read the place lists that ship with this package: once per process."""
    builder = _Builder()
    for code, name, aliases, demonyms in _rows("countries.tsv"):
        builder.add_country(code, name, aliases=aliases, demonyms=demonyms)
    for country, code, name, aliases in _rows("regions.tsv"):
        builder.add_region(country, code, name=name, aliases=aliases)
    for name, region, country, aliases in _rows("cities.tsv"):
        builder.add_city(name, region, country=country, aliases=aliases)
    areas = tomllib.loads(files("agents.places").joinpath("areas.toml").read_text("utf-8"))
    for area in cast("list[dict[str, object]]", areas["area"]):
        builder.add_area(area)
    return builder.build()


class _Builder:
    def __init__(self) -> None:
        self._by_name: dict[str, Place] = {}
        self._by_phrase: dict[str, list[Place]] = defaultdict(list)
        self._demonyms: set[str] = set()
        self._region_codes: dict[str, list[Place]] = defaultdict(list)
        self._countries: dict[str, Place] = {}

    def add_country(self, code: str, name: str, *, aliases: str, demonyms: str) -> None:
        plain = name.removesuffix(" (country)").removesuffix(" (island)")
        place = Place(name, PlaceKind.COUNTRY, (Location(country=code),))
        self._countries[code] = place
        self._add(place, [plain, *_split(aliases), *_split(demonyms)])
        self._demonyms.update(fold(demonym) for demonym in _split(demonyms))

    def add_region(self, country: str, code: str, *, name: str, aliases: str) -> None:
        place = Place(name, PlaceKind.REGION, (Location(region=code, country=country),))
        self._region_codes[code].append(place)
        self._add(place, [name, *_split(aliases)], first=True)

    def add_city(self, name: str, region: str, *, country: str, aliases: str) -> None:
        location = Location(fold(name), region or None, country)
        taken = self._by_phrase.get(fold(name), [])
        shown = name
        if taken:
            shown = f"{name}, {region or self._countries[country].name}"
        self._add(Place(shown, PlaceKind.CITY, (location,)), [name, *_split(aliases)])

    def add_area(self, area: Mapping[str, object]) -> None:
        name = cast("str", area["name"])
        members = [Location(country=code) for code in _texts(area, "countries")]
        for region in _texts(area, "regions"):
            country, _, code = region.partition("-")
            members.append(Location(region=code, country=country))
        for city in _texts(area, "cities"):
            city_name, _, code = city.partition(", ")
            members.append(Location(fold(city_name), code, "US"))
        place = Place(name, PlaceKind.AREA, tuple(members))
        self._add(place, [name, *_texts(area, "aliases")], first=True)

    def _add(self, place: Place, phrases: Iterable[str], *, first: bool = False) -> None:
        self._by_name[place.name] = place
        for phrase in dict.fromkeys(fold(phrase) for phrase in phrases):
            if phrase:
                known = self._by_phrase[phrase]
                known.insert(0 if first else len(known), place)

    def build(self) -> Gazetteer:
        return Gazetteer(
            by_name=MappingProxyType(self._by_name),
            by_phrase=MappingProxyType({k: tuple(v) for k, v in self._by_phrase.items()}),
            demonyms=frozenset(self._demonyms),
            region_codes=MappingProxyType({k: tuple(v) for k, v in self._region_codes.items()}),
            countries=MappingProxyType(self._countries),
            longest_phrase_words=max(phrase.count(" ") + 1 for phrase in self._by_phrase),
        )


def _fits(member: Location, location: Location) -> bool:
    if member.city is not None:
        return (
            location.city == member.city
            and (None in (member.region, location.region) or member.region == location.region)
            and (None in (member.country, location.country) or member.country == location.country)
        )
    if member.region is not None:
        return member.region == location.region and location.country in (None, member.country)
    return member.country == location.country


def _rows(file_name: str) -> Iterable[tuple[str, str, str, str]]:
    text = files("agents.places").joinpath(file_name).read_text("utf-8")
    for line in text.splitlines():
        first, second, third, fourth = line.split("\t")
        yield first, second, third, fourth


def _split(aliases: str) -> list[str]:
    return [alias for alias in aliases.split(";") if alias]


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    return cast("list[str]", table.get(key, []))

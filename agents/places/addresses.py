"""Seats of companies as records write them: "Austin, TX", an address, several seats in a row."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.normalize.text import fold
from agents.places.gazetteer import Gazetteer, Location, Place, PlaceKind, load_gazetteer

_MAX_CHARS = 600
_SEPARATORS = re.compile(r"[;|()\[\]\n\r]|\s/\s")
# Coordinates stand beside the addresses of encyclopaedias.
_COORDINATES = re.compile(r"\S*[°′″\ufeff]\S*|-?[0-9]{1,3}\.[0-9]+,?")
_CODE = re.compile(r"[A-Z]{2}")
_STREET_WORDS = frozenset(
    [
        "street",
        "st",
        "avenue",
        "ave",
        "road",
        "rd",
        "boulevard",
        "blvd",
        "drive",
        "tower",
        "building",
        "plaza",
        "square",
        "lane",
        "way",
    ]
)
_NO_PLACES = frozenset(
    {"remote", "fully remote", "distributed", "worldwide", "global", "na", "n a"}
)
_NEW_YORK = "new york"


@dataclass(frozen=True, slots=True)
class _Mention:
    part: int
    start: int
    end: int
    places: tuple[Place, ...]
    phrase: str
    whole_part: bool

    def of_kind(self, kind: PlaceKind) -> tuple[Place, ...]:
        return tuple(place for place in self.places if place.kind is kind)


def parse_country(value: object) -> str | None:
    """Read a country out of a record's country field: ISO code or name; else None."""
    text = str(value).strip() if isinstance(value, str) else ""
    gazetteer = load_gazetteer()
    if text.upper() in gazetteer.countries:
        return text.upper()
    for place in gazetteer.by_phrase.get(fold(text), ()):
        if place.kind is PlaceKind.COUNTRY:
            return place.members[0].country
    return None


def parse_locations(value: object, *, country: str | None = None) -> tuple[Location, ...]:
    """Read every seat out of a record's text, in its order, without repeats.

    `country` (ISO code, from another field of the record) settles what the text leaves open:
    whether `CA` is California or Canada, and which Cambridge is meant. A city that is not in
    our lists keeps its name; a text without any place gives the country alone, or nothing.
    """
    text = value[:_MAX_CHARS] if isinstance(value, str) else ""
    text = _COORDINATES.sub(" ", text).replace("·", " ")
    found: list[Location] = []
    chunks = _SEPARATORS.split(text)
    for chunk in chunks:
        parts = [part.strip() for part in chunk.split(",") if part.strip()]
        # Remarks in parentheses ("registered office") are no cities: only known ones count there.
        found.extend(_chunk_locations(parts, country=country, trusted=len(chunks) == 1))
    known_countries = {location.country for location in found if location.city or location.region}
    kept = [
        location
        for location in found
        if location.city or location.region or location.country not in known_countries
    ]
    if not kept and country:
        return (Location(country=country),)
    return tuple(dict.fromkeys(kept))


def _chunk_locations(parts: Sequence[str], *, country: str | None, trusted: bool) -> list[Location]:
    # "Remote, OR" is a wish, not Oregon.
    if not parts or fold(parts[0]) in _NO_PLACES:
        return []
    if len(parts) == 1 and _CODE.fullmatch(parts[0]) and country is None:
        return _bare_code(parts[0])
    mentions = _find_mentions(parts, load_gazetteer())
    groups: list[list[_Mention]] = []
    for mention in mentions:
        starts_new = mention.of_kind(PlaceKind.CITY) and not (
            groups and _qualifies(groups[-1], mention)
        )
        if starts_new or not groups:
            groups.append([mention])
        else:
            groups[-1].append(mention)
    if not groups:
        city = fold(parts[0])
        is_name = trusted and city and not any(character.isdigit() for character in city)
        return [Location(city, None, country)] if is_name else []
    return [_location_of(group, parts, country=country) for group in groups]


def _bare_code(code: str) -> list[Location]:
    regions = load_gazetteer().region_codes.get(code, ())
    if regions:
        return [regions[0].members[0]]
    known = load_gazetteer().countries.get("GB" if code == "UK" else code)
    return [known.members[0]] if known else []


def _qualifies(group: Sequence[_Mention], mention: _Mention) -> bool:
    """Say whether a mention that could be a city tells where the city before it is."""
    if mention.phrase == _NEW_YORK:
        return len(group) == 1 and group[0].part < mention.part and group[0].phrase != _NEW_YORK
    larger = [place for place in mention.places if place.kind is not PlaceKind.CITY]
    return any(
        place.contains(city)
        for place in larger
        for city in group[0].of_kind(PlaceKind.CITY)
        if group[0].part < mention.part
    )


def _location_of(
    group: Sequence[_Mention], parts: Sequence[str], *, country: str | None
) -> Location:
    cities = group[0].of_kind(PlaceKind.CITY)
    outer = [place for mention in group for place in _larger(mention, group)]
    if not cities:
        name = _name_before(group[0], parts)
    else:
        candidates = _within(cities, outer) if outer else _in_country(cities, country)
        if candidates or (not outer and country is None):
            return (candidates or cities)[0].members[0]
        name = cities[0].members[0].city
    region, named_country = _narrowest(outer, country=country)
    return Location(name, region, named_country)


def _larger(mention: _Mention, group: Sequence[_Mention]) -> tuple[Place, ...]:
    if mention is group[0] and mention.of_kind(PlaceKind.CITY):
        return ()
    if mention.phrase == _NEW_YORK:
        return (load_gazetteer().by_name["New York State"],)
    return tuple(
        place for place in mention.places if place.kind in (PlaceKind.REGION, PlaceKind.COUNTRY)
    )


def _within(cities: Sequence[Place], outer: Sequence[Place]) -> tuple[Place, ...]:
    return tuple(city for city in cities if outer and any(place.contains(city) for place in outer))


def _in_country(cities: Sequence[Place], country: str | None) -> tuple[Place, ...]:
    return tuple(city for city in cities if city.members[0].country == country)


def _name_before(mention: _Mention, parts: Sequence[str]) -> str | None:
    if mention.part == 0:
        return None
    name = fold(parts[mention.part - 1])
    return name if name and not any(character.isdigit() for character in name) else None


def _narrowest(outer: Sequence[Place], *, country: str | None) -> tuple[str | None, str | None]:
    """Choose state and country among what was named; the record's country breaks a tie."""
    regions = [place.members[0] for place in outer if place.kind is PlaceKind.REGION]
    countries = [place.members[0].country for place in outer if place.kind is PlaceKind.COUNTRY]
    agreed = countries if not regions else [*countries, *(r.country for r in regions)]
    if country in agreed:
        chosen = country
    elif regions and (not countries or regions[0].country in countries or country is None):
        chosen = regions[0].country
    else:
        chosen = countries[0] if countries else country
    region = next((each.region for each in regions if each.country == chosen), None)
    return region, chosen


def _find_mentions(parts: Sequence[str], gazetteer: Gazetteer) -> list[_Mention]:
    mentions: list[_Mention] = []
    for number, part in enumerate(parts):
        if _CODE.fullmatch(part) and (number or len(parts) == 1):
            mentions.extend(_code_mention(number, part, gazetteer))
            continue
        words = fold(part).split()
        at = 0
        while at < len(words):
            found = _longest_at(words, at, gazetteer)
            if found is None:
                at += 1
                continue
            end, places = found
            if end >= len(words) or words[end] not in _STREET_WORDS:
                whole = at == 0 and end == len(words)
                mentions.append(_Mention(number, at, end, places, " ".join(words[at:end]), whole))
            at = end
    return mentions


def _code_mention(number: int, code: str, gazetteer: Gazetteer) -> list[_Mention]:
    known = [*gazetteer.region_codes.get(code, ())]
    if code in gazetteer.countries:
        known.append(gazetteer.countries[code])
    if code == "UK":
        known.append(gazetteer.countries["GB"])
    return [_Mention(number, 0, 1, tuple(known), code, True)] if known else []


def _longest_at(
    words: Sequence[str], at: int, gazetteer: Gazetteer
) -> tuple[int, tuple[Place, ...]] | None:
    for end in range(min(len(words), at + gazetteer.longest_phrase_words), at, -1):
        phrase = " ".join(words[at:end])
        if phrase in gazetteer.demonyms:
            continue
        places = tuple(
            place
            for place in gazetteer.by_phrase.get(phrase, ())
            if place.kind is not PlaceKind.AREA
        )
        if places and not (len(phrase) <= 2 and phrase not in ("us", "uk")):
            return end, places
    return None

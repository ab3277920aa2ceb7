"""Texts that are meant to take long to read: repeated and mixed from the reader's own words."""

import contextlib
import inspect
import random
import re
import time
from types import ModuleType

from agents.errors import AgentInputInvalid, RequestUnclear
from agents.industries.families import load_families
from agents.places.gazetteer import load_gazetteer
from agents.requests import (
    asides,
    draft,
    industry_words,
    numbers,
    place_words,
    polarity,
    ranking,
    sizes,
    statuses,
    unsupported,
    words,
    years,
)
from agents.requests.draft import MAX_REQUEST_CHARS
from agents.requests.reading import read_request

_READERS: tuple[ModuleType, ...] = (
    asides,
    draft,
    industry_words,
    numbers,
    place_words,
    polarity,
    ranking,
    sizes,
    statuses,
    unsupported,
    words,
    years,
)
_MARKS = (
    *",.;:!?()[]-/&+%$€'\"¦\n",
    *("...", "--", " - ", "1,000", "50", "2.5k", "2015", "W21", "99999999", "$5m", "10%"),
    *("🦄", "US", "NY", "MA", "IN", "OR", "ﷺ", "ß", "é", "Y", "n", "I'm"),
)


def hostile_words() -> list[str]:
    """List every word that some reader compares with, places and industries among them."""
    sources = (re.sub(r"\\[a-zA-Z]", " ", inspect.getsource(module)) for module in _READERS)
    said = {word for source in sources for word in re.findall(r"[A-Za-z']{1,15}", source)}
    industries = {each for family in load_families().values() for each in family.says}
    gazetteer = load_gazetteer()
    return sorted({*said, *industries, *gazetteer.by_phrase, *gazetteer.by_name, *_MARKS})


def hostile_text(rng: random.Random, known: list[str], *, length: int) -> str:
    """Draw a text: one piece or several again and again, a mix, letters, any characters."""
    kind = rng.choice(("one", "two", "few", "after words", "mix", "letters", "unicode"))
    joint = rng.choice((" ", " ", " ", "", " , ", "-", ". "))
    case = rng.choice((str, str, str.title, str.upper))
    match kind:
        case "letters":
            return "".join(rng.choice("aeiou sntr,.-AB0'") for _ in range(length))
        case "unicode":
            ranges = (range(32, 127), range(0xA0, 0x3000), range(0x10000, 0x1FFFF))
            return "".join(chr(rng.choice(rng.choice(ranges))) for _ in range(length))
        case "mix":
            return case(joint.join(rng.choice(known) for _ in range(length // 2)))[:length]
        case _:
            count = {"one": 1, "two": 2, "few": rng.randrange(3, 6), "after words": 1}[kind]
            piece = case(joint.join(rng.choice(known) for _ in range(count))) + joint
            before = " ".join(rng.choice(known) for _ in range(3)) if kind == "after words" else ""
            return f"{before} {piece * length}"[:length]


def reading_cpu_s(text: str, *, tries: int = 1, max_chars: int = MAX_REQUEST_CHARS) -> float:
    """Measure the CPU seconds that reading takes, the fewest of some tries."""
    return min(_read_once(text, max_chars) for _ in range(tries))


def _read_once(text: str, max_chars: int) -> float:
    started = time.thread_time()
    with contextlib.suppress(RequestUnclear, AgentInputInvalid):
        read_request(text, this_year=2026, max_chars=max_chars)
    return time.thread_time() - started

"""Names as people write them: what a name may hold, its slug, the nearest known name."""

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable

from rapidfuzz import process
from rapidfuzz.distance import Indel

MAX_SLUG_CHARS = 60

_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DIGEST_CHARS = 8
_COMPARED_CHARS = 60
_CANDIDATES = 20
# Marks that turn the reading direction: they make one name look like another. Joiners, which
# emoji are built with, are of the same Unicode category and stay allowed.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def read_name(text: str, *, max_chars: int) -> str:
    """Tidy a name given by a person: no blanks around it, composed letters (Unicode NFC).

    Raises:
        ValueError: it is no name; the text says why, in words for the person who wrote it.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if len(name) > max_chars:
        raise ValueError(f"has {len(name)} characters, and at most {max_chars} are allowed")
    if any(_is_control(character) for character in name):
        raise ValueError("contains a control character")
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        raise ValueError("is blank")
    return name


def name_key(name: str) -> str:
    """Fold a name so that names that people would mix up are equal."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def slugify(name: str) -> str:
    """Make the `[a-z0-9-]` form of a name, 1 to 60 characters, for flow names, tags, addresses.

    Where letters are lost (another script, too long), a hash of the whole name takes their
    place, so that two such names don't become one slug.
    """
    folded = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(character for character in folded if not unicodedata.combining(character))
    slug = _NOT_SLUG.sub("-", plain).strip("-")
    loses_letters = any(character.isalnum() and not character.isascii() for character in plain)
    if slug and not loses_letters and len(slug) <= MAX_SLUG_CHARS:
        return slug
    digest = hashlib.sha256(name_key(name).encode("utf-8", "surrogatepass")).hexdigest()
    kept = slug[: MAX_SLUG_CHARS - _DIGEST_CHARS - 1].strip("-")
    return f"{kept}-{digest[:_DIGEST_CHARS]}".lstrip("-")


def number_slug(slug: str, number: int) -> str:
    """Tell a slug from those of other names that became the same one: `search-for-c-2`."""
    if number == 1:
        return slug
    ending = f"-{number}"
    return slug[: MAX_SLUG_CHARS - len(ending)].rstrip("-") + ending


def quote(name: str, *, max_chars: int = 60) -> str:
    """Show somebody's name inside a sentence, whatever it holds: `name`, cut and cleaned."""
    shown = name if len(name) <= max_chars else f"{name[: max_chars - 1]}…"
    return "`" + "".join("�" if _is_control(character) else character for character in shown) + "`"


def is_storable(text: str) -> bool:
    """Say whether Postgres can hold this text: no NUL and no half of a surrogate pair."""
    if text.isascii():
        return "\0" not in text
    return _UNSTORABLE.search(text) is None


class Suggester:
    """Finds the known name that a mistyped one most likely means.

    Comparing costs milliseconds once there are hundreds of names, so one suggester compares
    only its first `max_searches` words, by their first letters: names may come from somebody's
    file. A word that differs in case only is always found.
    """

    def __init__(
        self, known: Iterable[str], *, max_searches: int = 20, min_likeness: float = 0.6
    ) -> None:
        """`min_likeness` is difflib's ratio: 1 for equal words, 0 for nothing in common."""
        self._known = {name_key(name): name for name in known}
        self._compared = {key[:_COMPARED_CHARS]: name for key, name in self._known.items()}
        self._found: dict[str, str | None] = {}
        self._searches_left = max_searches
        self._min_likeness = min_likeness

    def nearest(self, word: str) -> str | None:
        """Find the nearest known name, or None when none is near enough to be meant."""
        key = name_key(word[:200])
        if key in self._known:
            return self._known[key]
        if key not in self._found:
            if self._searches_left == 0:
                return None
            self._searches_left -= 1
            self._found[key] = self._compare(key[:_COMPARED_CHARS])
        return self._found[key]

    def _compare(self, key: str) -> str | None:
        # Never below difflib's ratio, and a hundred times faster: few are left for that.
        likely = process.extract(
            key,
            list(self._compared),
            scorer=Indel.normalized_similarity,
            # A little less: rounded otherwise, it would leave out what is exactly as like.
            score_cutoff=self._min_likeness - 1e-6,
            limit=_CANDIDATES,
        )
        matches = difflib.get_close_matches(
            key, [each for each, _, _ in likely], n=1, cutoff=self._min_likeness
        )
        return self._compared[matches[0]] if matches else None


def _is_control(character: str) -> bool:
    return character in _DIRECTION_MARKS or unicodedata.category(character) in _CONTROL_CATEGORIES

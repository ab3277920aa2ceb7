"""Industries in requests: which words mean one, and how several belong together."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import cast

from agents.errors import RequestUnclear
from agents.industries.families import load_families
from agents.normalize.text import fold
from agents.requests.draft import Draft, Mention, MentionKind
from agents.requests.typos import MAX_TYPO_WORDS, TypoTargets
from agents.requests.words import EVERYDAY, PhraseStarts, list_words, runs

_LONGEST_PHRASE = 4
_MIN_TYPO_CHARS = 6
_MAX_GROUPS = 100
# Words that say how a company sells or builds, not what: "b2b, fintech" means both.
_QUALIFIERS = frozenset({"b2b", "open source", "consumer"})
_MODELS = _QUALIFIERS | {"saas", "marketplace", "ai", "hardware"}
_SOLD_AS = frozenset({"b2b", "saas"})
_GENERIC = frozenset({"software"})

_COMPANIES = (
    r"(?:compan(?:y|ies)|start-?ups?|firms?|vendors?|businesses|business|players?|providers?|shops?|"
    r"outfits?|accounts?|leads|prospects|orgs?|makers?|ones|people|stuff|things?|tech|technolog(?:y|ies)|"
    r"space|sector|industry|industries|world|field|tools?|tooling|platforms?|products?|solutions?|"
    r"services?|apps?|software|systems?|brands?|houses?|teams?|powered|driven|based|first|enabled|"
    r"focused|native|oriented|focussed|related|the|a|an|some|any|all|anything|everything|that|which|"
    r"who|are|is|be|being|also|really|both|it|their|of|kind|type|sort)"
)
_FILLER = re.compile(rf"\b{_COMPANIES}\b|['\"()-]", re.IGNORECASE)
_UNION = re.compile(
    r"\bor\b|\band\b|\bas\s+well\s+as\b|\bplus\b|[/&+;,]|\bnor\b|\balso\b", re.IGNORECASE
)
_LINK = re.compile(
    r"\b(?:for|in|within|into|serving|targeting|tackling|addressing|doing|using|with|on|applied\s+to|"
    r"(?:selling|catering|geared|aimed)\s+(?:to|at|towards?))\b",
    re.IGNORECASE,
)


def take_industries(draft: Draft) -> None:
    """Find words of industries, in the singular and the plural."""
    phrases = _phrases()
    words, at = list_words(draft), 0
    found: list[tuple[int, int, str]] = []
    while at < len(words):
        end = at + 1
        longest = min(_phrase_starts().longest_from(words[at]), _LONGEST_PHRASE)
        for stop, phrase in runs(words, at, longest=longest, text=draft.text):
            name = phrases.get(phrase)
            if name is not None:
                found.append((words[at].start, words[stop - 1].end, name))
                end = stop
                break
        at = end
    for start, stop, name in found:
        draft.take(start, stop)
        draft.add(MentionKind.INDUSTRY, start, stop, value=name)


def take_misspelt_industries(draft: Draft) -> None:
    """Find industries with a typing mistake among what nothing else explains."""
    targets = _typo_targets()
    for word in list_words(draft)[:MAX_TYPO_WORDS]:
        if len(word.key) < _MIN_TYPO_CHARS or word.key in EVERYDAY or not word.key.isalpha():
            continue
        best = targets.nearest(word.key, most_typos=1 if len(word.key) < 9 else 2)
        if best is None:
            continue
        name = _phrases()[best]
        draft.take(word.start, word.end)
        draft.add(MentionKind.INDUSTRY, word.start, word.end, value=name)
        draft.notes.append(f'"{word.text}" is read as {name}.')


def wanted_industries(draft: Draft) -> tuple[tuple[str, ...], ...]:
    """Put wanted industries together: alternatives of industries that must all fit.

    Words side by side ("b2b saas", "AI for healthcare") must both fit; words joined by "or",
    "and", a comma, `/` or `&` are alternatives.
    """
    wanted = [mention for mention in draft.of_kind(MentionKind.INDUSTRY) if not mention.negated]
    if len({mention.value for mention in wanted}) > 1:
        wanted = _without_generic(wanted)
    if not wanted:
        return ()
    factors: list[list[list[str]]] = [[[_name(wanted[0])]]]
    for before, mention in pairwise(wanted):
        join = _join_of(draft, before, mention)
        name = _name(mention)
        if name in factors[-1][-1] and name != _name(before):
            # "B2b fintech, b2b insurance": the word that comes again begins the next alternative.
            join = "union"
        if join == "link":
            factors.append([[name]])
        elif join == "union":
            factors[-1].append([*_shared_qualifiers(factors[-1][-1], name), name])
        else:
            factors[-1][-1].append(name)
    return _combine(factors)


def _combine(factors: Iterable[Sequence[Sequence[str]]]) -> tuple[tuple[str, ...], ...]:
    """Join one alternative of each factor in every way: "AI or crypto for banks or insurers".

    Factor by factor, and no further than the limit: each doubles what there is.
    """
    groups: list[tuple[str, ...]] = [()]
    for alternatives in factors:
        groups = list(
            dict.fromkeys(
                tuple(dict.fromkeys((*group, *names))) for group in groups for names in alternatives
            )
        )
        if len(groups) > _MAX_GROUPS:
            raise RequestUnclear(
                f"The request combines industries in more than {_MAX_GROUPS} ways.",
                hint="Ask for a few industries at a time, in several requests.",
            )
    return tuple(groups)


def unwanted_industries(draft: Draft) -> tuple[str, ...]:
    """List the industries that a request excludes.

    A part of a wanted industry ("crypto, but no NFT") is excluded by its own word alone.
    """
    mentions = draft.of_kind(MentionKind.INDUSTRY)
    said = {(_name(each), _said(draft, each)) for each in mentions if not each.negated}
    wanted = {name for name, _ in said}
    unwanted: dict[str, None] = {}
    for mention in mentions:
        if mention.negated:
            name, words = _name(mention), _said(draft, mention)
            is_part = name in wanted and (name, words) not in said and words != fold(name)
            unwanted[words if is_part else name] = None
    return tuple(unwanted)


def _join_of(draft: Draft, before: Mention, mention: Mention) -> str:
    gap = draft.original[before.end : mention.start]
    names = {_name(before), _name(mention)}
    if _name(before) == _name(mention):
        return "same"
    bare = _FILLER.sub(" ", gap)
    is_union = _UNION.search(bare) is not None
    if is_union and "," in bare and names & _QUALIFIERS and not re.search(r"\bor\b", bare):
        return "same"
    both = re.search(r"\bboth\b", draft.original[max(0, before.start - 24) : before.start])
    if is_union and both and names & _MODELS:
        return "same"
    if names <= _SOLD_AS and not re.search(r"\bor\b|/", bare):
        return "same"
    if is_union:
        return "union"
    return "link" if _LINK.search(bare) else "same"


def _shared_qualifiers(group: list[str], name: str) -> list[str]:
    """Carry "b2b" of "b2b fintech or insurance" to the second industry as well."""
    if len(group) < 2 or group[0] not in _QUALIFIERS or name in _MODELS:
        return []
    return [group[0]]


def _without_generic(wanted: list[Mention]) -> list[Mention]:
    return [mention for mention in wanted if mention.value not in _GENERIC] or wanted


def _said(draft: Draft, mention: Mention) -> str:
    return fold(draft.original[mention.start : mention.end])


def _name(mention: Mention) -> str:
    return cast("str", mention.value)


@cache
def _phrases() -> dict[str, str]:
    phrases: dict[str, str] = {}
    for family in load_families().values():
        for phrase in family.says:
            for form in (phrase, f"{phrase}s", _plural(phrase)):
                phrases.setdefault(form, family.name)
    return phrases


@cache
def _phrase_starts() -> PhraseStarts:
    return PhraseStarts(_phrases())


@cache
def _typo_targets() -> TypoTargets:
    return TypoTargets(
        phrase for phrase in _phrases() if len(phrase) >= _MIN_TYPO_CHARS and " " not in phrase
    )


def _plural(phrase: str) -> str:
    return f"{phrase[:-1]}ies" if phrase.endswith("y") else f"{phrase}es"

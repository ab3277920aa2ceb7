"""Families of industry words: what requests say, what records call it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import cast

from agents.normalize.text import fold


@dataclass(frozen=True, slots=True)
class IndustryFamily:
    """An industry with its words. All but `tags` and `name` are folded."""

    name: str
    says: tuple[str, ...]
    tags: frozenset[str]
    labels: tuple[str, ...]
    whole_labels: frozenset[str]
    broad: tuple[str, ...]


@cache
def load_families() -> Mapping[str, IndustryFamily]:
    """Read the families that ship with this package, by name: once per process."""
    text = files("agents.industries").joinpath("families.toml").read_text("utf-8")
    tables = cast("list[dict[str, object]]", tomllib.loads(text)["family"])
    families = (_family(table) for table in tables)
    return MappingProxyType({family.name: family for family in families})


def find_family(name: str) -> IndustryFamily:
    """Find an industry; a name that no family has means the tag or label of that very name."""
    known = load_families().get(name)
    if known is not None:
        return known
    folded = fold(name)
    return IndustryFamily(
        name=name,
        says=(folded,),
        tags=frozenset({name.casefold().replace(" ", "-")}),
        labels=(folded,) if folded else (),
        whole_labels=frozenset(),
        broad=(),
    )


def _family(table: Mapping[str, object]) -> IndustryFamily:
    labels = _texts(table, "labels")
    return IndustryFamily(
        name=cast("str", table["name"]),
        says=tuple(dict.fromkeys(fold(each) for each in _texts(table, "says"))),
        tags=frozenset(_texts(table, "tags")),
        labels=tuple(fold(label) for label in labels if not label.endswith("!")),
        whole_labels=frozenset(fold(label) for label in labels if label.endswith("!")),
        broad=tuple(fold(each) for each in _texts(table, "broad")),
    )


def _texts(table: Mapping[str, object], key: str) -> list[str]:
    return cast("list[str]", table.get(key, []))

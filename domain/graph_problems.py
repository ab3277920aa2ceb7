"""What is wrong with the graph of a workflow document, as far as it can be read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from domain.errors import ErrorCode, Problem
from domain.graph import circles, default_entries, successors_of, unreached
from domain.pointers import join_pointer
from domain.text import Suggester, name_key, quote

_MAX_NAMES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Outline:
    """Names and edges of a document in its order; None stands for one that could not be read."""

    agents: tuple[str | None, ...]
    edges: tuple[tuple[str | None, str | None], ...]
    entry: tuple[str | None, ...] | None = None
    edges_readable: bool = True
    """False when there is something under `edges`, but it is no list."""


def find_graph_problems(outline: Outline) -> list[Problem]:
    """List every problem of the graph, but none that is only the consequence of another.

    An agent counts as reachable if mending a mistyped edge or entry, or breaking a circle,
    would make it so.
    """
    if not outline.agents:
        return [
            Problem(
                ErrorCode.GRAPH_EMPTY,
                "/agents",
                "The workflow has no agents.",
                "Add at least one agent with a `name` and a `type`.",
            )
        ]
    names = tuple(dict.fromkeys(name for name in outline.agents if name is not None))
    suggester = Suggester(names)
    edges = [(a, b) for a, b in outline.edges if a is not None and b is not None]
    successors = successors_of(names, edges)
    entries = _known_entries(outline, names) or default_entries(successors)
    positions = {edge: at for at, edge in reversed(list(enumerate(outline.edges)))}
    found_circles = list(circles(successors, starts=entries))
    return [
        *_duplicates(outline.agents),
        *_dangling(outline, names, suggester),
        *_repeated(outline),
        *(_circle_problem(circle, positions) for circle in found_circles),
        *_entry_problems(outline, names, suggester),
        *_unreachable(
            outline,
            unreached(
                successors,
                entries=entries,
                excused={
                    *(name for circle in found_circles for name in circle),
                    *_maybe_reached(outline, names, suggester),
                },
            ),
        ),
    ]


def _known_entries(outline: Outline, names: tuple[str, ...]) -> tuple[str, ...]:
    known = set(names)
    return tuple(name for name in outline.entry or () if name is not None and name in known)


def _duplicates(agents: Iterable[str | None]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for position, name in enumerate(agents):
        if name is None:
            continue
        if name_key(name) in first:
            other = first[name_key(name)]
            also = (
                "" if other == name else f" (upper and lower case count as equal: {quote(other)})"
            )
            yield Problem(
                ErrorCode.GRAPH_AGENT_DUPLICATED,
                join_pointer("/agents", position, "name"),
                f"There is more than one agent named {quote(name)}{also}.",
                "Give every agent a name of its own; edges refer to agents by name.",
            )
        first.setdefault(name_key(name), name)


def _dangling(outline: Outline, names: tuple[str, ...], suggester: Suggester) -> Iterator[Problem]:
    known = set(names)
    for position, edge in enumerate(outline.edges):
        for field, name in zip(("from", "to"), edge, strict=True):
            if name is not None and name not in known:
                yield Problem(
                    ErrorCode.GRAPH_EDGE_DANGLING,
                    join_pointer("/edges", position, field),
                    f"The edge names {quote(name)}, but there is no such agent.",
                    _did_you_mean(name, suggester),
                )


def _repeated(outline: Outline) -> Iterator[Problem]:
    first: dict[tuple[str, str], int] = {}
    for position, (source, target) in enumerate(outline.edges):
        if source is None or target is None:
            continue
        if (source, target) in first:
            yield Problem(
                ErrorCode.GRAPH_EDGE_REPEATED,
                join_pointer("/edges", position),
                f"The edge from {quote(source)} to {quote(target)} is there already, "
                f"as number {first[source, target] + 1}.",
                "Remove one of the two.",
            )
        first.setdefault((source, target), position)


def _circle_problem(
    circle: tuple[str, ...], positions: Mapping[tuple[str | None, str | None], int]
) -> Problem:
    first, last = circle[0], circle[-1]
    where = join_pointer("/edges", positions[last, first])
    if len(circle) == 1:
        return Problem(
            ErrorCode.GRAPH_CYCLIC,
            where,
            f"The edge leads from {quote(first)} to itself.",
            "Remove it: an agent runs once. For repeated tries set `retries` in its `options`.",
        )
    shown = [*circle, first]
    if len(shown) > _MAX_NAMES_SHOWN:
        shown = [*shown[: _MAX_NAMES_SHOWN - 2], "…", *shown[-2:]]
    way = " → ".join(name if name == "…" else quote(name) for name in shown)
    return Problem(
        ErrorCode.GRAPH_CYCLIC,
        where,
        f"These agents form a circle: {way}.",
        f"Remove one of its edges, for instance the one from {quote(last)} to {quote(first)}: "
        "an agent starts when all agents that lead to it are done.",
    )


def _entry_problems(
    outline: Outline, names: tuple[str, ...], suggester: Suggester
) -> Iterator[Problem]:
    known, seen = set(names), set[str]()
    for position, name in enumerate(outline.entry or ()):
        if name is None:
            continue
        where = join_pointer("/entry", position)
        if name not in known:
            yield Problem(
                ErrorCode.GRAPH_ENTRY_UNKNOWN,
                where,
                f"`entry` names {quote(name)}, but there is no such agent.",
                _did_you_mean(name, suggester),
            )
        elif name in seen:
            yield Problem(
                ErrorCode.FIELD_INVALID,
                where,
                f"`entry` names {quote(name)} more than once.",
                "Remove the repetition.",
            )
        seen.add(name)


def _maybe_reached(outline: Outline, names: tuple[str, ...], suggester: Suggester) -> Iterator[str]:
    """Names that an unreadable or mistyped edge or entry may have been meant to reach."""
    known = set(names)
    led_to = {target for _, target in outline.edges}
    if not outline.edges_readable:
        yield from names
    for source, target in outline.edges:
        if target is None:
            yield from names
        elif target not in known:
            yield suggester.nearest(target) or target
            if source is not None and outline.entry is None and source not in led_to:
                yield source  # it leads on, and so would be an entry
        elif source is None or source not in known:
            yield target
    for name in outline.entry or ():
        if name is None:
            yield from names
        elif name not in known:
            yield suggester.nearest(name) or name


def _unreachable(outline: Outline, unreached_names: list[str]) -> Iterator[Problem]:
    ends = {end for source, target in outline.edges if source != target for end in (source, target)}
    positions = {name: position for position, name in reversed(list(enumerate(outline.agents)))}
    for name in unreached_names:
        where = join_pointer("/agents", positions[name])
        if name in ends:
            message = f"No way leads from the start of the workflow to {quote(name)}."
            hint = f"Add an edge to {quote(name)}, or list it (or what leads to it) under `entry`."
        else:
            message = f"{quote(name)} is connected to nothing, so it would never run."
            hint = f"Add an edge from or to {quote(name)}, list it under `entry`, or remove it."
        yield Problem(ErrorCode.GRAPH_AGENT_UNREACHABLE, where, message, hint)


def _did_you_mean(name: str, suggester: Suggester) -> str:
    nearest = suggester.nearest(name)
    if nearest is not None:
        return f"Did you mean {quote(nearest)}?"
    return "Correct the name, or add an agent of that name."

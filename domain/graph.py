"""Directed graphs of names: entries, levels, circles and reach, each in linear time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

Successors = Mapping[str, Sequence[str]]


def successors_of(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """List where each name leads; ends that are no names, and repetitions, are left out."""
    found: dict[str, dict[str, None]] = {name: {} for name in names}
    for source, target in edges:
        if source in found and target in found:
            found[source].setdefault(target)
    return {name: list(targets) for name, targets in found.items()}


def default_entries(successors: Successors) -> tuple[str, ...]:
    """Choose where the input goes in when nobody said: names that lead on and that none leads to.

    A name that leads only to itself counts as one that nothing leads to. The only name of a
    graph is its entry in any case.
    """
    if len(successors) == 1:
        return tuple(successors)
    led_to = {
        target for source, targets in successors.items() for target in targets if target != source
    }
    return tuple(name for name, targets in successors.items() if targets and name not in led_to)


def reachable(starts: Iterable[str], successors: Successors) -> set[str]:
    """Collect the names that one can get to from `starts`, these included."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(successors.get(name, ()))
    return seen


def levels(successors: Successors) -> tuple[tuple[str, ...], ...]:
    """Put every name one level below the lowest that leads to it; names keep their order.

    Names of one level do not depend on each other and may run side by side.

    Raises:
        ValueError: the graph has a circle.
    """
    missing = dict.fromkeys(successors, 0)
    for targets in successors.values():
        for target in targets:
            missing[target] += 1
    level_of = {name: 0 for name, count in missing.items() if count == 0}
    ready = list(level_of)
    for name in ready:  # grows while it is walked
        for target in successors[name]:
            missing[target] -= 1
            level_of[target] = max(level_of.get(target, 0), level_of[name] + 1)
            if missing[target] == 0:
                ready.append(target)
    if len(ready) < len(missing):
        raise ValueError("the graph has a circle")
    found: list[list[str]] = [[] for _ in range(max(level_of.values(), default=-1) + 1)]
    for name in successors:
        found[level_of[name]].append(name)
    return tuple(tuple(level) for level in found)


def circles(successors: Successors, *, starts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Find circles: names in order, of which the last leads back to the first.

    One circle for every edge that closes one on a depth-first walk from `starts` and then from
    what is left. So no graph yields more circles than it has edges, and without the closing
    edges it has no circle.
    """
    done: set[str] = set()
    for start in (*starts, *successors):
        if start in done:
            continue
        # The walk keeps its own stack: a chain of hundreds would end Python's.
        path: dict[str, int] = {start: 0}
        stack = [iter(successors[start])]
        while stack:
            target = next(stack[-1], None)
            if target is None:
                stack.pop()
                done.add(path.popitem()[0])
            elif target in path:
                yield tuple(path)[path[target] :]
            elif target not in done:
                path[target] = len(path)
                stack.append(iter(successors[target]))


def unreached(
    successors: Successors, *, entries: Iterable[str], excused: Collection[str]
) -> list[str]:
    """List the names that one cannot get to from the entries, nor from the excused names."""
    seen = reachable((*entries, *excused), successors)
    return [name for name in successors if name not in seen]

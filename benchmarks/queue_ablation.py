"""What each rule of the queue's policy earns: every case again without it, in simulated time.

    .venv/bin/python -m benchmarks.queue_ablation [--json]

The simulation is the one that the properties of `tests/unit/domain/test_fair_service.py` use. A
rule without which no figure gets worse earns nothing. What the simulation cannot show
(`max_batch_beside_small`: how long the real worker is busy) is `benchmarks.fairness`'s to show.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.queue_simulation import Arrival, SimulatedQueue
from benchmarks.shares import End, mark_tenths
from domain.queue_shares import Rules

WORKING = Rules(opening_s=0.25, is_in_step=True)
WITHOUT: dict[str, Rules] = {
    "all rules": WORKING,
    "lockstep (is_in_step)": replace(WORKING, is_in_step=False),
    "burst hold-off (opening_s)": replace(WORKING, opening_s=0.0),
    "last place for newcomers": replace(WORKING, reserves_last_place=False),
    "little starts though full": replace(WORKING, lets_little_in=False),
    "places dealt out by weight": replace(WORKING, deals_out_places=False),
    "shares scaled to the heavier": replace(WORKING, scales_to_heavier=False),
    "clock held for who is behind": replace(WORKING, holds_clock=False),
    "a tenth a turn (quanta)": replace(WORKING, quanta=1, quanta_of_much=1),
    "a quarter of much": replace(WORKING, quanta_of_much=WORKING.quanta),
    "smallest share": replace(WORKING, smallest_share=1),
    "small backlog in one run": replace(WORKING, small_backlog=0),
}
Figures = dict[str, float]


def _serve(
    weights: dict[str, float], arrivals: list[Arrival], rules: Rules, **known: object
) -> SimulatedQueue:
    queue = SimulatedQueue(weights=weights, rules=rules, **known)  # type: ignore[arg-type]
    queue.serve(arrivals)
    return queue


def _ends(queue: SimulatedQueue) -> list[End]:
    return [End(at_s, org) for at_s, org, count in queue.ends for _ in range(count)]


def _least_index(queue: SimulatedQueue) -> float:
    return min(mark.index(queue.weights) for mark in mark_tenths(_ends(queue)))


def _nine() -> dict[str, float]:
    return {f"o{number}": 1.0 for number in range(9)}


def measure_equal(rules: Rules) -> Figures:
    """Nine equal ones at once, and two workers; the least Jain index at any tenth."""
    weights = _nine()
    arrivals = [Arrival(0, org, 300) for org in weights]
    one = _serve(weights, arrivals, rules)
    two = _serve(weights, arrivals, rules, workers=2)
    return {"equal": _least_index(one), "two workers": _least_index(two), "runs": len(one.ends)}


def measure_staggered(rules: Rules) -> Figures:
    """Nine that come a tenth of a second apart."""
    weights = _nine()
    arrivals = [Arrival(0.1 * place, org, 300) for place, org in enumerate(weights)]
    return {"staggered": _least_index(_serve(weights, arrivals, rules))}


def measure_weights(rules: Rules) -> Figures:
    """By how many points a share is off what the weights make it, from the third tenth on."""
    found: Figures = {}
    for name, parts, workers in (("3:1", (3, 1), 1), ("1:3:4:4", (1, 3, 4, 4), 2)):
        weights = {f"o{number}": float(part) for number, part in enumerate(parts)}
        arrivals = [Arrival(0, org, 20_000) for org in weights]
        queue = _serve(weights, arrivals, rules, workers=workers)
        ends = _ends(queue)
        first_done = min(max(e.at_s for e in ends if e.org == org) for org in weights)
        marks = mark_tenths([end for end in ends if end.at_s <= first_done])[2:]
        worst = max(
            abs(mark.share(org) - weight / sum(parts))
            for mark in marks
            for org, weight in weights.items()
        )
        found[f"points off {name}"] = worst * 100
    return found


def measure_light(rules: Rules) -> Figures:
    """Single executions beside somebody's 20,000: the longest wait for a place, in ms."""
    singles = [Arrival(0.3 + 1.1 * number, "light", 1) for number in range(20)]
    weights = {"light": 1.0, "heavy": 1.0}
    queue = _serve(weights, [Arrival(0, "heavy", 20_000), *singles], rules)
    waits = [wait_s for _, org, _, wait_s in queue.starts if org == "light"]
    alone = _serve({"heavy": 1.0}, [Arrival(0, "heavy", 20_000)], rules)
    return {"light waits ms": max(waits) * 1000, "alone s": alone.now}


def measure_slow(rules: Rules) -> Figures:
    """How much later five quick ones end beside one whose agents take 10 s, as a ratio."""
    weights = {f"o{number}": 1.0 for number in range(6)}
    quick = {name: weight for name, weight in weights.items() if name != "o5"}
    alone = _serve(quick, [Arrival(0, org, 300) for org in quick], rules)
    beside = _serve(weights, [Arrival(0, org, 300) for org in weights], rules, waits={"o5": 10.0})
    end = max(at_s for at_s, org, _ in beside.ends if org != "o5")
    return {"beside slow": end / alone.now}


def measure_sizes(rules: Rules) -> Figures:
    """How many runs much, little and somebody alone take: each costs Prefect the same."""
    much = {f"o{number}": 1.0 for number in range(4)}
    little = _nine()
    return {
        "runs of much": len(_serve(much, [Arrival(0, org, 3_000) for org in much], rules).ends),
        "runs of little": len(_serve(little, [Arrival(0, org, 30) for org in little], rules).ends),
        "runs alone": len(_serve({"o": 1.0}, [Arrival(0, "o", 200)], rules).ends),
    }


def measure_newcomer(rules: Rules) -> Figures:
    """How long somebody waits who comes when another's slow agents have all places they can."""
    weights = {"new": 1.0, "slow": 1.0}
    arrivals = [Arrival(0, "slow", 20_000), Arrival(2.0, "new", 1)]
    queue = _serve(weights, arrivals, rules, waits={"slow": 10.0}, executions=10**6)
    return {"newcomer ms": max(w for _, org, _, w in queue.starts if org == "new") * 1000}


CASES: tuple[Callable[[Rules], Figures], ...] = (
    measure_equal,
    measure_staggered,
    measure_weights,
    measure_light,
    measure_slow,
    measure_sizes,
    measure_newcomer,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every case with each rule left out, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    table: dict[str, Figures] = {}
    for name, rules in WITHOUT.items():
        table[name] = {}
        for case in CASES:
            table[name] |= case(rules)
    if options.json:
        sys.stdout.write(json.dumps(table) + "\n")
        return 0
    columns = list(table["all rules"])
    sys.stdout.write("| without | " + " | ".join(columns) + " |\n")
    sys.stdout.write("|---" * (len(columns) + 1) + "|\n")
    for name, figures in table.items():
        cells = " | ".join(f"{figures[column]:.3f}".rstrip("0").rstrip(".") for column in columns)
        sys.stdout.write(f"| {name} | {cells} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Rules that hold for every graph and every document."""

import json
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.json_data import JsonObject
from domain.workflow_checks import find_problems
from domain.workflows import WorkflowDefinition
from tests.unit.domain.documents import check_agent, resolve

NAMES = st.sampled_from(["A", "B", "C", "D", "E", "F", "a", "Zz"])
KEYS = st.sampled_from(["name", "nam", "agents", "edges", "entry", "from", "to", "a/b", "x\x00"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def graphs(draw: st.DrawFn) -> JsonObject:
    """Draw a document of the right shape, its graph sound or not."""
    edges = draw(st.lists(st.tuples(NAMES, NAMES), max_size=10))
    found: dict[str, object] = {
        "name": draw(st.sampled_from(["Leads", "🚀", "Très long nom"])),
        "agents": [
            {"name": name, "type": draw(st.sampled_from(["search"] * 9 + ["serach"]))}
            for name in draw(st.lists(NAMES, max_size=7, unique=draw(st.booleans())))
        ],
        "edges": [{"from": source, "to": target} for source, target in edges],
    }
    if draw(st.booleans()):
        found["entry"] = draw(st.lists(NAMES, max_size=3))
    return cast("JsonObject", found)


@st.composite
def sound_graphs(draw: st.DrawFn) -> JsonObject:
    """Draw a document that must be accepted: edges lead forward, all agents are entries."""
    names = [f"Agent {number}" for number in range(draw(st.integers(1, 12)))]
    later = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    edges = draw(st.lists(st.sampled_from(later), unique=True)) if later else []
    shown = draw(st.permutations(names))
    return {
        "name": "Leads",
        "default_input": {"text": draw(st.sampled_from(["x", "ä 🚀"]))},
        "entry": list(shown),
        "agents": [
            {
                "name": name,
                "type": "search",
                "config": {"limit": draw(st.none() | st.integers(0, 9) | st.booleans())},
                "options": {"retries": draw(st.integers(0, 10))},
            }
            for name in shown
        ],
        "edges": [{"from": a, "to": b} for a, b in edges],
    }


@st.composite
def damaged_documents(draw: st.DrawFn) -> JsonObject:
    """Draw a sound document with one part replaced by any JSON, or by what is none."""
    found = draw(sound_graphs())
    places: list[tuple[dict[str, object] | list[object], str | int]] = []
    waiting: list[object] = [found]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            fields = cast("dict[str, object]", here)
            places += [(fields, key) for key in (*fields, "extra")]
            waiting += fields.values()
        elif isinstance(here, list):
            items = cast("list[object]", here)
            places += [(items, position) for position in range(len(items))]
            waiting += items
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places))
        container[key] = draw(JSON)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return found


@given(graphs())
def test_a_graph_is_either_ordered_along_its_edges_or_refused_with_a_place(document: JsonObject):
    definition, problems = find_problems(document, check_agent)
    assert (definition is None) == bool(problems)
    for problem in problems:
        resolve(document, problem.pointer)
    if definition is not None:
        order = [agent.name for agent in definition.ordered_agents()]
        assert sorted(order) == sorted(agent.name for agent in definition.agents)
        assert all(order.index(e.source) < order.index(e.target) for e in definition.edges)


@given(sound_graphs())
def test_edges_that_only_lead_forward_are_always_accepted(document: JsonObject):
    definition, problems = find_problems(document, check_agent)
    assert problems == ()
    assert definition is not None


@given(sound_graphs())
def test_a_definition_written_as_json_and_read_back_is_the_same(document: JsonObject):
    definition = WorkflowDefinition.model_validate(document)
    written = json.dumps(definition.as_json())
    again = WorkflowDefinition.model_validate_json(written)
    assert again == definition
    assert json.dumps(again.as_json()) == written


@given(sound_graphs())
def test_what_is_written_is_accepted_when_it_is_given_again(document: JsonObject):
    definition, _ = find_problems(document, check_agent)
    assert definition is not None
    assert find_problems(definition.as_json(), check_agent) == (definition, ())


@settings(max_examples=300)
@given(damaged_documents())
def test_any_damage_is_either_harmless_or_refused_with_a_place(document: JsonObject):
    definition, problems = find_problems(document, check_agent)
    assert (definition is None) == bool(problems)
    for problem in problems:
        resolve(document, problem.pointer)
        assert problem.hint
        # What is stored and sent must be encodable, whatever the document held.
        assert "\x00" not in json.dumps(problem.as_json(), ensure_ascii=False).encode().decode()


@given(JSON)
def test_any_data_is_answered_with_problems_and_no_exception(data: object):
    _, problems = find_problems(data, check_agent)
    assert problems

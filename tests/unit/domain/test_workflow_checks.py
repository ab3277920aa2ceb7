"""What is said about a workflow document, and that all of it is said at once."""

import itertools
import json
import pickle

import pytest

from domain.errors import ErrorCode
from domain.json_data import JsonObject, JsonValue
from domain.workflow_checks import check_definition, find_problems
from domain.workflows import MAX_CONFIG_BYTES, WorkflowDefinition, WorkflowInvalid
from tests.unit.domain.documents import (
    agent,
    check_agent,
    document,
    edge,
    places_of,
    problems_of,
    resolve,
)


def test_a_sound_document_becomes_a_definition():
    definition = check_definition(document("A B", "A>B"), check_agent=check_agent)
    assert [node.name for node in definition.ordered_agents()] == ["A", "B"]


def test_options_have_defaults():
    options = check_definition(document("A"), check_agent=check_agent).agents[0].options
    assert (options.retries, options.retry_delay_s, options.timeout_s) == (2, 1.0, 60.0)


def test_names_are_trimmed_and_composed():
    given = document("A B", "A>B") | {"name": "  Cafe\u0301 🚀 "}
    assert check_definition(given, check_agent=check_agent).name == "Café 🚀"


def test_a_text_as_default_input_becomes_its_text_field():
    definition = check_definition(document("A", default_input="Find"), check_agent=check_agent)
    assert definition.default_input == {"text": "Find"}


def test_every_kind_of_problem_is_reported_in_one_go():
    given: JsonObject = {
        "nmae": "x",
        "agents": [
            agent("A", options={"retries": 99, "timeout_s": "5"}),
            {"name": "B", "type": "serach"},
            agent("b"),
            agent("C", config={"limt": 1}),
            agent("Alone"),
        ],
        "edges": [edge("A>B"), edge("B>A"), edge("A>B"), edge("C>C"), edge("A>D")],
        "default_input": {},
    }
    assert set(places_of(given)) == {
        (ErrorCode.FIELD_MISSING, ""),
        (ErrorCode.FIELD_UNKNOWN, "/nmae"),
        (ErrorCode.FIELD_INVALID, "/agents/0/options/retries"),
        (ErrorCode.FIELD_INVALID, "/agents/0/options/timeout_s"),
        (ErrorCode.AGENT_TYPE_UNKNOWN, "/agents/1/type"),
        (ErrorCode.GRAPH_AGENT_DUPLICATED, "/agents/2/name"),
        (ErrorCode.AGENT_CONFIG_INVALID, "/agents/3/config/limt"),
        (ErrorCode.GRAPH_AGENT_UNREACHABLE, "/agents/2"),
        (ErrorCode.GRAPH_AGENT_UNREACHABLE, "/agents/4"),
        (ErrorCode.GRAPH_CYCLIC, "/edges/1"),
        (ErrorCode.GRAPH_EDGE_REPEATED, "/edges/2"),
        (ErrorCode.GRAPH_CYCLIC, "/edges/3"),
        (ErrorCode.GRAPH_EDGE_DANGLING, "/edges/4/to"),
        (ErrorCode.EXECUTION_INPUT_INVALID, "/default_input"),
    }


def test_the_error_carries_every_problem():
    given = document("A B", "A>Z", "Y>B")
    with pytest.raises(WorkflowInvalid) as caught:
        check_definition(given, check_agent=check_agent)
    assert caught.value.problems == problems_of(given)


def test_agents_are_checked_though_another_agent_has_no_shape():
    given = document("A", agents=[{"type": 3}, {"name": "B", "type": "serach"}])
    assert (ErrorCode.AGENT_TYPE_UNKNOWN, "/agents/1/type") in places_of(given)


def test_an_unknown_type_is_reported_though_the_config_is_no_object():
    given = document("A", agents=[{"name": "A", "type": "serach", "config": []}])
    assert places_of(given) == [
        (ErrorCode.FIELD_INVALID, "/agents/0/config"),
        (ErrorCode.AGENT_TYPE_UNKNOWN, "/agents/0/type"),
    ]


@pytest.mark.parametrize(
    ("given", "code", "pointer"),
    [
        (document("A", agents=[]), ErrorCode.GRAPH_EMPTY, "/agents"),
        (document("A B", "A>A", "A>B"), ErrorCode.GRAPH_CYCLIC, "/edges/0"),
        (document("A B", "A>B", "A>B"), ErrorCode.GRAPH_EDGE_REPEATED, "/edges/1"),
        (document("A A"), ErrorCode.GRAPH_AGENT_DUPLICATED, "/agents/1/name"),
        (document("A B C", "A>B"), ErrorCode.GRAPH_AGENT_UNREACHABLE, "/agents/2"),
        (document("A B", "A>B", entry=["B"]), ErrorCode.GRAPH_AGENT_UNREACHABLE, "/agents/0"),
        (document("A", entry=["Z"]), ErrorCode.GRAPH_ENTRY_UNKNOWN, "/entry/0"),
        (document("A", entry=["A", "A"]), ErrorCode.FIELD_INVALID, "/entry/1"),
        (document("A", entry=[]), ErrorCode.FIELD_INVALID, "/entry"),
        (document("A", name=" "), ErrorCode.FIELD_INVALID, "/name"),
        (document("A", name="a\x00b"), ErrorCode.FIELD_INVALID, "/name"),
        (document("A", name="a\nb"), ErrorCode.FIELD_INVALID, "/name"),
        (document("A", name="a\u202eb"), ErrorCode.FIELD_INVALID, "/name"),
        (document("A", name="x" * 121), ErrorCode.FIELD_INVALID, "/name"),
        (document("x" * 81), ErrorCode.FIELD_INVALID, "/agents/0/name"),
        (document("A", edges={}), ErrorCode.FIELD_INVALID, "/edges"),
        (document("A", edges=["A>A"]), ErrorCode.FIELD_INVALID, "/edges/0"),
        (document("A", description="\ud800"), ErrorCode.FIELD_INVALID, "/description"),
        (
            document("A", agents=[agent("A", config={"limit": float("nan")})]),
            ErrorCode.FIELD_INVALID,
            "/agents/0/config/limit",
        ),
        # `limt` is unknown too, but a config that is no JSON does not get as far as its agent type.
        (
            document("A", agents=[agent("A", config={"limt": float("inf")})]),
            ErrorCode.FIELD_INVALID,
            "/agents/0/config/limt",
        ),
        (
            document("A", agents=[agent("A", options={"retries": True})]),
            ErrorCode.FIELD_INVALID,
            "/agents/0/options/retries",
        ),
        (
            document("A", agents=[agent("A", config={"limit": "x" * MAX_CONFIG_BYTES})]),
            ErrorCode.WORKFLOW_TOO_LARGE,
            "/agents/0/config",
        ),
    ],
)
def test_one_thing_wrong_is_one_problem(given: JsonObject, code: ErrorCode, pointer: str):
    assert places_of(given) == [(code, pointer)]


def test_a_circle_is_named_in_the_order_of_its_agents():
    (problem,) = problems_of(document("S A B C", "S>A", "A>B", "B>C", "C>A"))
    assert problem.message == "These agents form a circle: `A` → `B` → `C` → `A`."
    assert problem.pointer == "/edges/3"


def test_both_loose_ends_of_an_edge_are_reported():
    given = document("A B", "A>B", "Q>Z")
    assert places_of(given) == [
        (ErrorCode.GRAPH_EDGE_DANGLING, "/edges/1/from"),
        (ErrorCode.GRAPH_EDGE_DANGLING, "/edges/1/to"),
    ]


def test_a_mistyped_edge_gets_the_nearest_name():
    (problem,) = problems_of(document("Analyst Qualifier", "Analyst>Qualifyer"))
    assert problem.hint == "Did you mean `Qualifier`?"


def test_what_only_a_mistyped_edge_cuts_off_is_not_reported_as_well():
    given = document("Start Middle End", "Start>Middel", "Middle>End")
    assert places_of(given) == [(ErrorCode.GRAPH_EDGE_DANGLING, "/edges/0/to")]


def test_what_only_a_circle_cuts_off_is_not_reported_as_well():
    given = document("A B C", "A>B", "B>A", "B>C")
    assert places_of(given) == [(ErrorCode.GRAPH_CYCLIC, "/edges/1")]


def test_an_unknown_field_gets_the_nearest_name():
    (problem,) = problems_of(document("A", descripton="x"))
    assert problem.hint.startswith("Did you mean `description`?")


def test_an_agent_without_edges_may_be_an_entry():
    definition = check_definition(
        document("A B C", "A>B", entry=["A", "C"]), check_agent=check_agent
    )
    assert definition.entries() == ("A", "C")


def test_no_value_is_repeated_to_whoever_reads_the_problems():
    secret = "sk-live-0123456789"
    given = document("A", agents=[agent("A", options={"retries": secret})], edges=secret)
    assert secret not in json.dumps([problem.as_json() for problem in problems_of(given)])


@pytest.mark.parametrize(("agents", "edges"), [(201, 0), (2, 2_001), (1, 100_000), (5_000, 1)])
def test_a_document_over_a_limit_is_too_large(agents: int, edges: int):
    given: JsonObject = {
        "name": "Large",
        "agents": list[JsonValue](agent(f"A{number}") for number in range(agents)),
        "edges": list[JsonValue](edge("A0>A1") for _ in range(edges)),
    }
    assert ErrorCode.WORKFLOW_TOO_LARGE in {code for code, _ in places_of(given)}


def test_a_definition_at_both_limits_is_accepted():
    names = [f"A{number}" for number in range(200)]
    edges = [f"{a}>{b}" for i, a in enumerate(names) for b in names[i + 1 : i + 12]][:2_000]
    given = document(" ".join(names), *edges, entry=list[JsonValue](names))
    assert places_of(given) == []


def test_a_long_chain_does_not_exhaust_the_stack():
    names = [f"A{number}" for number in range(1_500)]
    given = document(
        " ".join(names), *(f"{a}>{b}" for a, b in itertools.pairwise(names)), "A1499>A0"
    )
    assert set(places_of(given)) == {
        (ErrorCode.WORKFLOW_TOO_LARGE, "/agents"),
        (ErrorCode.GRAPH_CYCLIC, "/edges/1499"),
    }


def test_thousands_of_problems_end_with_one_that_says_so():
    given = document("A", **{f"field{number}": number for number in range(5_000)})
    problems = problems_of(given)
    assert len(problems) == 1_001
    assert problems[-1].message == "There are more problems, which are not listed."


@pytest.mark.parametrize("given", [None, [], "name: x", 3])
def test_what_is_no_object_is_refused_as_a_whole(given: object):
    assert places_of(given) == [(ErrorCode.FIELD_INVALID, "")]


def test_a_field_name_that_cannot_be_stored_is_pointed_at_by_its_parent():
    given = document("A", **{"a\x00b": 1})
    assert {pointer for _, pointer in places_of(given)} == {""}


def test_field_names_with_slashes_are_escaped_in_pointers():
    given = document("A", **{"a/b~c": 1})
    assert resolve(given, places_of(given)[0][1]) == 1


def test_a_definition_read_back_is_the_same():
    given = document("A B", "A>B", description="d", entry=["A"], default_input={"text": "x"})
    definition = check_definition(given, check_agent=check_agent)
    stored = json.loads(json.dumps(definition.as_json()))
    assert WorkflowDefinition.model_validate(stored) == definition


def test_a_definition_survives_pickling():
    definition = check_definition(document("A B", "A>B"), check_agent=check_agent)
    definition.ordered_agents()
    assert pickle.loads(pickle.dumps(definition)) == definition


def test_a_definition_with_a_circle_cannot_be_made():
    with pytest.raises(ValueError, match="graph is not valid"):
        WorkflowDefinition.model_validate(document("A B", "A>B", "B>A"))


def test_upstream_follows_the_order_of_the_agents():
    given = document("A B C D", "B>D", "A>D", "C>D", entry=["A", "B", "C"])
    definition = check_definition(given, check_agent=check_agent)
    assert definition.upstream_of("D") == ("A", "B", "C")


def test_levels_hold_agents_that_may_run_side_by_side():
    given = document("A B C D E", "A>B", "A>C", "B>D", "C>D", "A>D", "D>E")
    definition, _ = find_problems(given, check_agent)
    assert definition is not None
    levels = [[node.name for node in level] for level in definition.topological_levels()]
    assert levels == [["A"], ["B", "C"], ["D"], ["E"]]


def test_exits_are_the_agents_that_lead_nowhere():
    definition = check_definition(document("A B C", "A>B", "A>C"), check_agent=check_agent)
    assert definition.exits() == ("B", "C")

"""The catalogue of agents, and what it says of a config that is wrong."""

import pytest

from agents.registry import AgentTypeUnknown, default_registry
from domain.errors import ErrorCode

REGISTRY = default_registry()


def problems_of(config, type_name="sales_intelligence"):
    return REGISTRY.check_config(
        type_name, config, "/agents/1/config", agent_name="Sales Qualifier"
    )


def test_every_example_of_the_catalogue_is_a_valid_config():
    for info in REGISTRY.catalogue():
        assert REGISTRY.check_config(info.type, info.example, "", agent_name="A") == ()
        assert info.description
        assert info.config_schema["type"] == "object"


def test_all_problems_are_told_at_once_each_at_its_place():
    problems = problems_of(
        {
            "object_typ": "companies",
            "max_leads": 0,
            "fields": {"nmae": "n"},
            "weights": {"place": -1},
        }
    )
    assert {(problem.code, problem.pointer) for problem in problems} == {
        (ErrorCode.FIELD_MISSING, "/agents/1/config/connector"),
        (ErrorCode.FIELD_MISSING, "/agents/1/config/object_type"),
        (ErrorCode.FIELD_UNKNOWN, "/agents/1/config/object_typ"),
        (ErrorCode.FIELD_UNKNOWN, "/agents/1/config/fields/nmae"),
        (ErrorCode.AGENT_CONFIG_INVALID, "/agents/1/config/max_leads"),
        (ErrorCode.AGENT_CONFIG_INVALID, "/agents/1/config/weights/place"),
    }
    assert all(problem.message.endswith(".") and problem.hint for problem in problems)


def test_a_missing_connector_is_told_in_plain_words():
    (problem,) = problems_of({"object_type": "companies"})
    assert problem.message == "`Sales Qualifier` does not say which connector to read from."
    assert problem.hint.startswith("Add `connector: crm` to its config.")


def test_an_unknown_field_suggests_the_nearest():
    (problem,) = problems_of({"connector": "crm", "object_type": "companies", "max_lead": 5})
    assert problem.hint == "Did you mean `max_leads`?"


@pytest.mark.parametrize("config", [None, [], "crm", 5])
def test_a_config_that_is_no_object_is_one_problem(config):
    (problem,) = problems_of(config)
    assert (problem.code, problem.pointer) == (ErrorCode.AGENT_CONFIG_INVALID, "/agents/1/config")


def test_an_unknown_type_suggests_the_nearest():
    (problem,) = problems_of({}, type_name="Sales-Inteligence")
    assert (problem.code, problem.pointer) == (ErrorCode.AGENT_TYPE_UNKNOWN, "/agents/1/type")
    assert problem.hint.startswith("Did you mean `sales_intelligence`?")
    with pytest.raises(AgentTypeUnknown):
        REGISTRY.get("Sales-Inteligence")


def test_no_problem_quotes_what_was_given_as_a_value():
    problems = problems_of(
        {"connector": "crm", "object_type": "hunter2; drop", "max_leads": "hunter2"}
    )
    assert len(problems) == 2
    assert not any("hunter2" in problem.message + problem.hint for problem in problems)

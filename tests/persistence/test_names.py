"""Creating never replaces what has another name, and says what it replaces."""

import pytest
from sqlalchemy import event

from persistence.connectors import set_connector, set_dataset
from persistence.workflow_errors import WorkflowNameTaken
from persistence.workflows import find_named, list_workflows
from tests.support.databases import ACME, GLOBEX
from tests.support.factories import simple_workflow


def test_each_name_is_found_by_itself_and_kept_once(database):
    names = [
        "Search for C",
        "Search for C++",
        "Search for C#",
        "Search for C 2",
        "search-for-c-2-2",
    ]
    made = [simple_workflow(database, ACME, name=name) for name in names]
    simple_workflow(database, GLOBEX, name="Search for C++")
    assert len({workflow.slug for workflow in made}) == len(names)
    for name, workflow in zip(names, made, strict=True):
        with pytest.raises(WorkflowNameTaken):
            simple_workflow(database, ACME, name=name.upper())
        with database.org(ACME) as session:
            found = find_named(session, name.upper())
            assert found is not None
            assert found.id == workflow.id
    with database.org(ACME) as session:
        assert len(list_workflows(session)) == len(names)
        assert find_named(session, "Search for D") is None


def test_long_names_that_differ_at_their_end_are_found_too(database):
    names = ["x" * 60, "x" * 60 + "!", "x" * 60 + "?", "x" * 60 + "??"]
    made = [simple_workflow(database, ACME, name=name) for name in names]
    assert max(len(workflow.slug) for workflow in made) == 60
    with database.org(ACME) as session:
        found = [find_named(session, name) for name in names]
    assert [each.id for each in found if each] == [workflow.id for workflow in made]


def test_a_name_like_many_others_costs_no_more_statements(database):
    statements: list[str] = []

    def count(*given: object) -> None:
        statements.append(str(given[2]))

    event.listen(database.app, "before_cursor_execute", count)
    counts: list[int] = []
    for number in range(1, 31):
        simple_workflow(database, ACME, name="C" + "+" * number)
        counts.append(len(statements))
        statements.clear()
    assert counts[29] == counts[2]


def test_setting_a_connector_or_a_data_set_says_what_it_replaced(database):
    with database.org(ACME) as session:
        said = [set_connector(session, "crm", {"kind": kind}) for kind in ("a", "a", "b")]
        rows = [set_dataset(session, "companies", b"x", row_count=count) for count in (3, 5)]
    assert said == ["created", "unchanged", "replaced"]
    assert rows == [None, 3]

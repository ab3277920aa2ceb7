"""What may be given to an execution."""

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import ErrorCode
from domain.inputs import MAX_INPUT_BYTES, ExecutionInputInvalid, check_input, find_input_problems
from domain.json_checks import MAX_DEPTH
from domain.json_data import JsonValue


def nested(levels: int) -> dict[str, object]:
    """Make an object of so many objects inside each other."""
    found: dict[str, object] = {"a": 1}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


def test_a_text_becomes_the_text_field():
    assert check_input("Find leads") == {"text": "Find leads"}


@pytest.mark.parametrize(
    "data",
    [
        {"text": "x"},
        {"text": "", "company": "Acme"},
        {"a": [1, 2.5, None, True, {"b": "🚀"}]},
        nested(MAX_DEPTH),
    ],
)
def test_an_object_is_taken_as_it_is(data: dict[str, JsonValue]):
    assert check_input(data) == data


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ("", ""),
        (" \n", ""),
        ({}, ""),
        ({"text": " "}, ""),
        ({"text": None}, ""),
        (None, ""),
        (["x"], ""),
        (7, ""),
        (b"x", ""),
        ("a\x00b", ""),
        ({"a": ["x", "a\x00b"]}, "/a/1"),
        ({"a": {"b\x00c": 1}}, "/a"),
        ({"a": "\ud83d"}, "/a"),
        ({"a": float("nan")}, "/a"),
        ({"a": float("-inf")}, "/a"),
        ({"a": 2**63}, "/a"),
        ({"a": date(2026, 1, 1)}, "/a"),
        ({"a": {1: 2}}, "/a"),
        (nested(MAX_DEPTH + 1), "/a" * MAX_DEPTH),
        ("x" * 1_000_000, ""),
        ({"text": "x" * MAX_INPUT_BYTES}, ""),
        ({"text": "ä" * (MAX_INPUT_BYTES // 2)}, ""),
    ],
)
def test_what_no_workflow_can_take_is_refused_where_it_stands(given: object, pointer: str):
    with pytest.raises(ExecutionInputInvalid) as caught:
        check_input(given)
    assert [problem.pointer for problem in caught.value.problems] == [pointer]


def test_a_refusal_has_the_code_of_inputs():
    with pytest.raises(ExecutionInputInvalid) as caught:
        check_input({"a": float("nan")})
    assert {caught.value.code, caught.value.problems[0].code} == {ErrorCode.EXECUTION_INPUT_INVALID}


def test_a_large_input_is_told_its_size_and_the_limit():
    with pytest.raises(ExecutionInputInvalid, match="has 977 KB, and at most 256 KB are allowed"):
        check_input("x" * 1_000_000)


def test_all_problems_of_an_input_are_told_at_once():
    with pytest.raises(ExecutionInputInvalid) as caught:
        check_input({"a": float("nan"), "b": ["x\x00", 2**70], "c": "fine"})
    assert [problem.pointer for problem in caught.value.problems] == ["/a", "/b/0", "/b/1"]


@given(st.recursive(st.none() | st.text() | st.floats() | st.binary(), st.lists))
def test_any_data_is_taken_as_what_can_be_stored_or_refused_with_a_place(data: object):
    problems = find_input_problems({"a": data})
    assert all(problem.pointer.startswith("/a") and problem.hint for problem in problems)
    if not problems:
        json.dumps(check_input({"a": data}), allow_nan=False, ensure_ascii=False).encode()

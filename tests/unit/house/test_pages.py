"""Pages show what is: tables that are made, and answers that are compared."""

import json
from pathlib import Path

import pytest

from api.reference import fill_in
from domain.permissions import Permission, Role
from tests.support.pages import find_json_difference, find_text_difference, play, read_steps

REST_PAGE = Path(__file__).resolve().parents[3] / "docs" / "rest-api.md"


def test_the_tables_of_the_rest_page_are_in_step():
    """If not: python -m api.reference docs/rest-api.md."""
    page = REST_PAGE.read_text(encoding="utf-8")
    assert fill_in(page) == page


def test_the_table_of_roles_has_every_role_and_every_permission():
    page = REST_PAGE.read_text(encoding="utf-8")
    table = page.split("<!-- roles")[1].split("<!-- end of roles")[0]
    assert all(f" {role.value} " in table for role in Role)
    assert all(f"`{permission.value}`" in table for permission in Permission)


def test_a_page_without_a_place_for_a_table_is_refused():
    with pytest.raises(ValueError, match="0 places"):
        fill_in("# Nothing here\n")


def test_a_page_is_read_by_steps():
    page = "A\n```sh\necho 1\n```\nis\n```text\n1\n```\n```sh\ntrue\n```\n```sh\nfalse\n```\n"
    steps = read_steps(page)
    assert [(s.line, s.commands, s.kind, s.shown) for s in steps] == [
        (2, "echo 1\n", "text", "1\n"),
        (9, "true\n", "text", ""),
        (12, "false\n", "text", ""),
    ]


@pytest.mark.parametrize("page", ["```json\n{}\n```\n", "```sh\ntrue\n```\n```yaml\na: 1\n```\n"])
def test_an_answer_that_nothing_prints_is_refused(page: str):
    with pytest.raises(ValueError, match="no command prints"):
        read_steps(page)


def test_commands_share_variables_and_stop_at_the_first_that_fails(tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()
    commands = ("A=1", "echo $A; sleep 100 &", "echo no >&2; false | true", "echo never")
    steps = read_steps("".join(f"```sh\n{command}\n```\n" for command in commands))
    played = play(steps, folder, {"PATH": "/usr/bin:/bin"}, timeout_s=60)
    assert (played.code, played.printed, played.complaints) == (1, ["", "1\n", ""], "no\n")


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("a\nb\n", "a\r\nb  \r\n", True),
        ("id: …\n", "id: 41\n", True),
        ("id: …\n", "id: \n", False),
        ("a…\n", "ab\nc\n", False),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a\n…\nc\n", "a\nb\n", False),
        ("", "a\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_texts_are_compared_by_lines(shown: str, printed: str, is_same: bool):
    assert (find_text_difference(shown, printed) is None) is is_same


@pytest.mark.parametrize(
    ("shown", "given", "is_same"),
    [
        ('{"a": 1, "b": [true, null]}', '{"b": [true, null], "a": 1}', True),
        ('{"a": "…"}', '{"a": {"b": 1}}', True),
        ('{"a": "exec_…"}', '{"a": "exec_1"}', True),
        ('{"a": "exec_…"}', '{"a": "run_1"}', False),
        ('{"a": 1, "…": "…"}', '{"a": 1, "b": 2}', True),
        ('{"a": 1, "…": "…"}', '{"a": 1}', False),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('{"a": 1, "b": "…"}', '{"a": 1}', False),
        ('[1, "…"]', "[1, 2, 3]", True),
        ('[1, "…"]', "[1]", False),
        ("[1]", "[1, 2]", False),
        ("[1, 2]", "[1]", False),
        ("1", "true", False),
        ("1", "1.0", False),
        ('{"a": [{"b": 1}]}', '{"a": [{"b": 2}]}', False),
        ("{}", "[]", False),
    ],
)
def test_json_is_compared_by_members(shown: str, given: str, is_same: bool):
    assert (find_json_difference(json.loads(shown), json.loads(given)) is None) is is_same

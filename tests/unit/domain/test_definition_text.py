"""What the reader of definition texts takes, and how it refuses the rest."""

import json

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.definition_text import parse_definition
from domain.errors import ErrorCode
from domain.json_data import JsonValue
from domain.unreadable import WorkflowUnreadable

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run with libyaml's parser and with PyYAML's own, which other machines may have only."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")
    return request.param


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("x", "x"),
        ("'7'", "7"),
        ("7", 7),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ("12:30", "12:30"),
        ("no", "no"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("[1, {b: 2}]", [1, {"b": 2}]),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("🚀 ä", "🚀 ä"),
    ],
)
@pytest.mark.usefixtures("parser")
def test_yaml_values_mean_what_json_can_say(written: str, read: JsonValue):
    assert parse_definition(f"a: {written}") == {"a": read}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (BOMB, "Line 1, column 4: anchors"),
        ("a: *b", "Line 1, column 4: anchors"),
        ("a: !!python/object:os.system x", "Line 1, column 4: tags"),
        ("a: !x", "Line 1, column 4: tags"),
        ("a: 1\nb: 2\na: 3", "Line 3, column 1: the field `a` is there twice"),
        ('{"a": 1,\n "a": 2}', "Line 2, column 2: the field `a` is there twice"),
        ("1: x", "Line 1, column 1: a field's name must be text"),
        ("? {a: 1}\n: x", "Line 1, column 3: a field's name must be text"),
        ("a: 1\n---\nb: 2", "Line 2, column 1: a second document starts"),
        ("a: .NaN", "Line 1, column 4: NaN"),
        ("a: -.inf", "Line 1, column 4: NaN"),
        ("a: 1e999", "Line 1, column 4: NaN"),
        ('{"a": NaN}', "Line 1, column 7: NaN"),
        ('{"a": -Infinity}', "Line 1, column 7: NaN"),
        ('{"a": 1e999}', "Line 1, column 7: NaN"),
        ("a: 9223372036854775808", "Line 1, column 4: the whole number"),
        ('{"a": 9223372036854775808}', "Line 1, column 7: the whole number"),
        ('{"a": ' + "9" * 5_000 + "}", "Line 1, column 7: the whole number"),
        ('{"a":\n"\\u0000"}', "Line 2, column 1: the text holds a character"),
        ('{"a": "\\ud800"}', "Line 1, column 7: the text holds a character"),
        ('a: "\\0"', "Line 1, column 4: the text holds a character"),
        ("a: b\x00", "Line 1, column 5: there is an invisible control character (U+0000)"),
        ("a: \ud800", "Line 1, column 4: there is an invisible control character (U+D800)"),
        (b"a: b\nc: caf\xe9", "Line 2, column 7: the text is not encoded as UTF-8"),
        ("a: 1".encode("utf-16"), "Line 1, column 1: the text is not encoded as UTF-8"),
        ('{"a":' * 40 + "1" + "}" * 40, "Line 1, column 161: the text is nested deeper"),
        ('{"a": ' + "[" * 100_000, "Line 1, column 38: the text is nested deeper"),
        ("a: " + "[" * 40 + "]" * 40, "Line 1, column 35: the text is nested deeper"),
        ("a: b: c", "Line 1, column 5: the text is not valid YAML"),
        ("a:\n\tb: 1", "Line 2, column 1: the text is not valid YAML"),
        ('{"a": 1,}', "Line 1, column 8: the text is not valid JSON"),
        ('{"a": [1,\n2 , ]}', "Line 2, column 3: the text is not valid JSON"),
        ('{"a": 1,', "Line 1, column 9: the text is not valid JSON"),
        ('{"a": "b', "Line 1, column 7: the text is not valid JSON"),
        ('{"a": "\\q"}', "Line 1, column 8: the text is not valid JSON"),
        ('{"a": tru}', "Line 1, column 7: the text is not valid JSON"),
        ('{"a": 1} b', "Line 1, column 10: the text is not valid JSON"),
        ("", "The text is empty"),
        ("# nothing", "The text is empty"),
        ("hello", "The text holds no fields"),
        ("[1]", "The text holds no fields"),
    ],
)
@pytest.mark.usefixtures("parser")
def test_a_refusal_names_the_place_and_the_reason(text: str | bytes, place: str):
    with pytest.raises(WorkflowUnreadable) as caught:
        parse_definition(text)
    (problem,) = caught.value.problems
    assert problem.message.startswith(place)
    assert problem.hint


def test_a_tab_as_indent_is_told_to_be_replaced():
    with pytest.raises(WorkflowUnreadable) as caught:
        parse_definition("a:\n\tb: 1")
    assert caught.value.hint == "Indent with spaces: YAML allows no tabs there."


@pytest.mark.parametrize("text", ["x" * 600_000, b"x" * 600_000, "ä" * 300_000])
def test_a_text_over_the_limit_is_not_even_read(text: str | bytes):
    with pytest.raises(WorkflowUnreadable) as caught:
        parse_definition(text)
    assert caught.value.problems[0].code is ErrorCode.WORKFLOW_TOO_LARGE


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfa: 1", "\ufeffa: 1", b'\xef\xbb\xbf{"a": 1}'])
def test_a_byte_order_mark_is_no_content(text: str | bytes):
    assert parse_definition(text) == {"a": 1}


def test_yaml_in_braces_is_yaml():
    assert parse_definition("{a: [b, 1]}") == {"a": ["b", 1]}


def test_equal_names_in_different_objects_are_not_repeated():
    text = '{"a": {"x": 1}, "b": [{"x": 1}, {"x": "a"}], "x": "b"}'
    assert parse_definition(text) == json.loads(text)


def test_escaped_names_count_as_the_names_they_mean():
    with pytest.raises(WorkflowUnreadable, match="the field `a` is there twice"):
        parse_definition('{"a": 1, "\\u0061": 2}')


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)


def data_of(
    leaves: st.SearchStrategy[JsonValue], *, names: st.SearchStrategy[str] = TEXT
) -> st.SearchStrategy[dict[str, JsonValue]]:
    """Draw objects of objects and lists of the given leaves."""
    inner: st.SearchStrategy[JsonValue] = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
        max_leaves=20,
    )
    return st.dictionaries(names, inner, min_size=1, max_size=4)


@given(data_of(st.none() | st.booleans() | NUMBERS | TEXT), st.booleans())
def test_json_is_read_as_it_was_written(data: dict[str, JsonValue], ascii_only: bool):
    assert parse_definition(json.dumps(data, ensure_ascii=ascii_only, indent=1)) == data


@given(data_of(TEXT))
def test_quoted_yaml_is_read_as_it_was_written(data: dict[str, JsonValue]):
    assert parse_definition(yaml.safe_dump(data, default_style='"', allow_unicode=True)) == data


@given(data_of(st.none() | st.booleans() | NUMBERS, names=st.sampled_from(["ab", "c", "d-e"])))
def test_plain_yaml_is_read_as_it_was_written(data: dict[str, JsonValue]):
    text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in data.items())
    assert parse_definition(text) == data


# Fragments that lead deep into both parsers, where random characters alone would not get.
FRAGMENTS = (
    *("a: ", "b:\n", "- ", "  ", "\n", "[", "]", "{", "}", ",", "&x ", "*x", "!t ", "? ", ": "),
    *("|\n", ">\n", "'", '"', "\\u0000", "\\", "---\n", "...\n", "%YAML 1.2\n", "#", "<<: "),
    *('{"a": ', '"x"', "1e9", "-", ".nan", "\t", "\ufeff", "\x85", "\u2028", "é", "🚀", "`"),
)
YAMLISH = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


@settings(max_examples=400)
@given(st.text() | YAMLISH | st.binary() | YAMLISH.map(str.encode))
@example("\ud800")
@example("%YAML 9.9\n---\na: 1")
@example("a: \ufeff")
def test_any_text_is_read_or_refused_and_nothing_else(text: str | bytes):
    _read_or_refuse(text)


@settings(max_examples=200)
@given(st.text() | YAMLISH)
def test_any_text_is_read_or_refused_by_the_slow_parser_too(text: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CSafeLoader", raising=False)
        _read_or_refuse(text)


def _read_or_refuse(text: str | bytes) -> None:
    try:
        data = parse_definition(text)
    except WorkflowUnreadable:
        return
    # Data that gets in can be stored and sent.
    json.dumps(data, allow_nan=False, ensure_ascii=False).encode()

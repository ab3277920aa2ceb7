"""Cursors come back as they went, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cursors import CursorInvalid, read_cursor, scope_of, write_cursor

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))


@given(st.lists(TEXTS, max_size=3))
def test_a_cursor_is_read_as_it_was_written(position):
    assert read_cursor(write_cursor("list", "scope", position), "list", "scope") == position


@given(st.text())
def test_no_text_breaks_it(text):
    with pytest.raises(CursorInvalid):
        read_cursor(text, "list", "scope")


def test_a_cursor_of_another_list_or_filter_is_refused():
    cursor = write_cursor("list", scope_of("newest", "x"), ["1"])
    for kind, scope in (("other", scope_of("newest", "x")), ("list", scope_of("newest", "y"))):
        with pytest.raises(CursorInvalid):
            read_cursor(cursor, kind, scope)


@pytest.mark.parametrize("text", ["\x00", "user_\x00", "\ud800", "a\udfffb"])
def test_a_position_that_no_row_can_have_is_refused(text: str):
    with pytest.raises(CursorInvalid):
        read_cursor(write_cursor("list", "scope", [text]), "list", "scope")

"""Content negotiation as RFC 9110 has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.media_types import NotAcceptable, choose_media_type

OFFERED = ("application/json", "text/csv", "application/vnd.apache.parquet")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, 0),
        ("", 0),
        ("*/*", 0),
        ("TEXT/CSV", 1),
        ("text/*", 1),
        ("text/csv;header=present", 1),
        ("application/json;q=0.1, text/csv;q=0.2", 1),
        ("application/json, text/csv", 0),
        ("text/csv;q=0.5, */*;q=0.1", 1),
        ("application/*;q=0.4, application/vnd.apache.parquet;q=0.5", 2),
        ("*/*, application/json;q=0", 1),
        ("text/csv;q=0, */*", 0),
        ("nonsense", 0),
        ("text/csv;q=2", 0),
        ("text/csv ; q=1.000 , x", 1),
    ],
)
def test_the_type_that_the_client_likes_best_is_chosen(accept, chosen):
    assert choose_media_type(accept, OFFERED) == OFFERED[chosen]


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "*/*;q=0.000"])
def test_a_client_that_takes_none_is_told(accept):
    with pytest.raises(NotAcceptable):
        choose_media_type(accept, OFFERED)


@given(st.text(max_size=60))
def test_no_header_breaks_it(accept):
    try:
        assert choose_media_type(accept, OFFERED) in OFFERED
    except NotAcceptable:
        assert "/" in accept

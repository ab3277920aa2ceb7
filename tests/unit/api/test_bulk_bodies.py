"""Bulk bodies are read in pieces, and come out as if they were parsed whole."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.bulk_bodies import (
    BatchInputTooLarge,
    BatchInvalid,
    BatchTooRich,
    read_document,
    read_lines,
)

few = settings(max_examples=40, deadline=None)
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: bool(text.strip())
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)
inputs = st.lists(words | st.dictionaries(words, values).map(lambda d: {**d, "k": 1}), max_size=6)


async def stream(body: bytes, step: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), step):
        yield body[start : start + step]


def document(body: bytes, step: int = 65536) -> object:
    return asyncio.run(read_document(stream(body, step), max_inputs=100))


def lines(body: bytes, step: int = 65536) -> list[str]:
    return asyncio.run(read_lines(stream(body, step), max_inputs=100))


def plain(given: Sequence[object]) -> list[object]:
    return [{"text": each} if isinstance(each, str) else each for each in given]


@few
@given(inputs, st.dictionaries(words.filter(lambda name: name != "inputs"), values), st.booleans())
def test_a_document_is_what_a_parser_makes_of_it(many, others, is_indented):
    body = json.dumps({**others, "inputs": many}, indent=2 if is_indented else None)
    found = document(body.encode(), step=7)
    assert isinstance(found, dict)
    assert [json.loads(text) for text in found.pop("inputs")] == plain(many)
    assert found == others


@few
@given(inputs, st.integers(1, 40))
def test_lines_are_what_a_parser_makes_of_each(many, step):
    body = "\r\n\n".join(json.dumps(each, ensure_ascii=False) for each in many).encode()
    assert [json.loads(text) for text in lines(body, step)] == plain(many)


@pytest.mark.parametrize("size", [4_090, 4_096, 16_384, 65_536, 131_072, 200_000])
def test_an_input_that_ends_anywhere_in_a_window_is_read_whole(size: int):
    body = json.dumps(
        {"inputs": [{"n": int("7" * 15), "t": "x" * size}, "next"], "priority": 12345}
    )
    found = document(body.encode())
    assert isinstance(found, dict)
    assert [len(text) for text in found["inputs"]][1:] == [len('{"text":"next"}')]
    assert json.loads(found["inputs"][0])["t"] == "x" * size
    assert found["priority"] == 12345


@pytest.mark.parametrize("mark", ["[],", "{},", "1,"])
def test_what_holds_too_much_is_refused_in_either_form(mark: str):
    rich = f'{{"a": [{mark * 100_001}1]}}'
    with pytest.raises(BatchInputTooLarge):
        document(f'{{"inputs": [{rich}]}}'.encode())
    with pytest.raises(BatchInputTooLarge):
        document(f'{{"labels": {rich}}}'.encode())
    with pytest.raises(BatchInputTooLarge):
        lines(rich.encode())


def test_what_holds_too_much_together_is_refused():
    line = b'{"a": [' + b"1," * 40_000 + b"1]}\n"
    assert len(lines(line * 10)) == 10
    with pytest.raises(BatchTooRich):
        lines(line * 110)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a" 1}', b'{"a": 1,}', b'{"inputs": [1', b"{} x", b"[" * 99_999, b"\xff"]
)
def test_what_is_no_json_is_refused(body: bytes):
    with pytest.raises(BatchInvalid):
        document(body)

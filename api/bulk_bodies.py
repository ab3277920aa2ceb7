"""Read the bodies of bulk requests bit by bit, and keep nothing but their inputs as JSON texts.

Parsed values take up to forty times as much memory as their text. And the parser gives other
requests no turn while it is at work, so it gets only small pieces: what a piece may hold is counted
before it is parsed.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import cast

from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.inputs import MAX_INPUT_BYTES, as_input, find_input_problems
from domain.json_data import encode_json

MAX_LINE_BYTES = 3 * MAX_INPUT_BYTES
"""Of one input as it is sent: `\\u0416` is six bytes for a letter of two."""

_MAX_MARKS = 50_000
"""Commas and brackets in one input: about what a parser handles in 10 ms."""

_MAX_TOTAL_MARKS = 4_000_000
"""The same in all inputs of a request: checking them takes some four seconds."""

_MAX_PROBLEMS = 1_000
# Larger inputs are checked in a thread: the walk through them would delay other requests.
_LARGE_CHARS = 16 * 1024
_SLICE_S = 0.002
_FIRST_WINDOW = 4 * 1024
_WINDOW_STEP = 64 * 1024
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class BatchInvalid(InvalidInput):
    """A batch that is refused whole."""

    code = ErrorCode.REQUEST_INVALID
    subject = "batch"


class BatchInputTooLarge(TenantryError):
    """One input of a batch is larger than any that is parsed."""

    code = ErrorCode.REQUEST_TOO_LARGE

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is larger than {MAX_LINE_BYTES // 1024} KB, or has more than "
            f"{_MAX_MARKS:,} commas and brackets.",
            hint="Split it into several inputs, or let a connector read the large part.",
        )


class BatchTooRich(TenantryError):
    """The inputs of a batch have more values together than are checked for one request."""

    code = ErrorCode.REQUEST_TOO_LARGE

    def __init__(self) -> None:
        super().__init__(
            f"The inputs have more than {_MAX_TOTAL_MARKS:,} commas and brackets together.",
            hint="Send them in several requests with the same `batch_id`.",
        )


class _Unreadable(Exception):
    """What stands at a place is not JSON."""


class _Inputs:
    """The inputs of one request as they are read, and what is wrong with them."""

    def __init__(self, max_inputs: int) -> None:
        self.encoded: list[str] = []
        self._max_inputs = max_inputs
        self._problems: list[Problem] = []
        self._marks = 0
        self._since = time.perf_counter()

    def count_marks(self, text: str, what: str) -> None:
        """Count what a text holds that is to be parsed.

        Raises:
            BatchInputTooLarge: it is too much for one input.
            BatchTooRich: it is too much for one request.
        """
        marks = _marks_in(text)
        if marks > _MAX_MARKS:
            raise BatchInputTooLarge(what)
        self._marks += marks
        if self._marks > _MAX_TOTAL_MARKS:
            raise BatchTooRich

    async def take(self, given: object, chars: int) -> None:
        """Check a parsed input; let others have their turn meanwhile."""
        if chars > _LARGE_CHARS:
            encoded, problems = await asyncio.to_thread(self._check, given)
        else:
            encoded, problems = self._check(given)
        self._add(encoded, problems)
        await self.rest()

    async def refuse(self, what: str) -> None:
        """Note that an input is not JSON."""
        self._add("", [_unreadable(what, self._pointer)])
        await self.rest()

    async def rest(self) -> None:
        """Let other requests have their turn, if this one has had its own."""
        if time.perf_counter() - self._since > _SLICE_S:
            await asyncio.sleep(0)
            self._since = time.perf_counter()

    def finish(self) -> list[str]:
        """Give the inputs, if nothing is wrong with any.

        Raises:
            BatchInvalid: with every problem of them.
        """
        if self._problems:
            raise BatchInvalid(self._problems[:_MAX_PROBLEMS])
        return self.encoded

    @property
    def _pointer(self) -> str:
        return f"/inputs/{len(self.encoded)}"

    def _check(self, given: object) -> tuple[str, list[Problem]]:
        problems = find_input_problems(given, pointer=self._pointer)
        return ("" if problems else encode_json(as_input(given)), problems)

    def _add(self, encoded: str, problems: list[Problem]) -> None:
        if len(self.encoded) == self._max_inputs:
            raise BatchInvalid.one(
                ErrorCode.FIELD_INVALID,
                "/inputs",
                f"There are more than {self._max_inputs:,} inputs.",
                "Send them in several requests with the same `batch_id`.",
            )
        self.encoded.append(encoded)
        self._problems += problems
        if len(self._problems) >= _MAX_PROBLEMS:
            self.finish()


async def read_lines(chunks: AsyncIterator[bytes], *, max_inputs: int) -> list[str]:
    """Read NDJSON: each line is parsed, checked and dropped before the next one.

    Raises:
        BatchInvalid: with all that is wrong with the lines, or there are too many.
        BatchInputTooLarge: a line is.
    """
    inputs, number, rest = _Inputs(max_inputs), 0, b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            await _take_line(inputs, line, number)
        if len(rest) > MAX_LINE_BYTES:
            raise BatchInputTooLarge(f"Line {number + 1}")
    await _take_line(inputs, rest, number + 1)
    return inputs.finish()


async def _take_line(inputs: _Inputs, line: bytes, number: int) -> None:
    if not line.strip():
        return
    what = f"Line {number}"
    if len(line) > MAX_LINE_BYTES:
        raise BatchInputTooLarge(what)
    try:
        text = line.decode("utf-8")
        inputs.count_marks(text, what)
        given = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        await inputs.refuse(what)
    else:
        await inputs.take(given, len(line))


async def read_document(chunks: AsyncIterator[bytes], *, max_inputs: int) -> object:
    """Read one JSON document, whose `inputs` are parsed one by one and given as JSON texts.

    Raises:
        BatchInvalid: it is not JSON, or with all that is wrong with its inputs.
        BatchInputTooLarge: one of them, or another value in it, is.
    """
    body = b"".join([chunk async for chunk in chunks])
    try:
        return await _Document(body.decode("utf-8"), max_inputs).read()
    except (_Unreadable, UnicodeDecodeError):
        raise BatchInvalid([_unreadable("The body", "")]) from None


class _Document:
    """A JSON text, and how far it is read."""

    def __init__(self, text: str, max_inputs: int) -> None:
        self._text, self._at = text, 0
        self._inputs = _Inputs(max_inputs)

    async def read(self) -> object:
        """Read all of it; a field that comes twice counts as it came last."""
        if not self._skip("{"):
            value = (await self._value("The body"))[0]
            self._end()
            return value
        fields: dict[str, object] = {}
        more = not self._skip("}")
        while more:
            name, _ = await self._value("A field's name")
            if not isinstance(name, str) or not self._skip(":"):
                raise _Unreadable
            is_list = name == "inputs" and self._skip("[")
            fields[name] = await self._list() if is_list else (await self._value(f"/{name}"))[0]
            more = self._skip(",")
            if not more and not self._skip("}"):
                raise _Unreadable
        self._end()
        return fields

    async def _list(self) -> list[str]:
        self._inputs.encoded = []
        more = not self._skip("]")
        while more:
            given, chars = await self._value(f"/inputs/{len(self._inputs.encoded)}")
            await self._inputs.take(given, chars)
            more = self._skip(",")
            if not more and not self._skip("]"):
                raise _Unreadable
        return self._inputs.finish()

    async def _value(self, what: str) -> tuple[object, int]:
        """Read the value that stands here, and say how long it is.

        It is cut out in growing windows until one holds it whole, so that nothing is parsed whose
        marks were not counted.
        """
        self._skip("")
        size = _FIRST_WINDOW
        while True:
            window = self._text[self._at : self._at + size]
            is_last = self._at + size >= len(self._text)
            try:
                value, end = cast("tuple[object, int]", _DECODER.raw_decode(window))
            except (ValueError, RecursionError) as error:
                if is_last or isinstance(error, RecursionError):
                    raise _Unreadable from None
            else:
                # A number that ends with its window may go on behind it.
                if end < len(window) or is_last:
                    self._inputs.count_marks(window[:end], what)
                    self._at += end
                    return value, end
            if _marks_in(window) > _MAX_MARKS:
                raise BatchInputTooLarge(what)
            if size >= MAX_LINE_BYTES:
                raise BatchInputTooLarge(what)
            await self._inputs.rest()
            size = min(size * 4, size + _WINDOW_STEP)

    def _skip(self, mark: str) -> bool:
        """Pass over blanks, and over this mark if it stands here."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _end(self) -> None:
        self._skip("")
        if self._at < len(self._text):
            raise _Unreadable


def _marks_in(text: str) -> int:
    return text.count(",") + text.count("[") + text.count("{")


def _unreadable(what: str, pointer: str) -> Problem:
    return Problem(
        ErrorCode.REQUEST_INVALID,
        pointer,
        f"{what} is not JSON in UTF-8, or is nested too deep.",
        "Write it with a JSON library.",
    )

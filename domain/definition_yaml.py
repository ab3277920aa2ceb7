"""YAML text as JSON data: only what JSON can say, by one way of writing."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import yaml

from domain.json_checks import MAX_DEPTH, MAX_INTEGER
from domain.json_data import JsonValue
from domain.text import is_storable, quote
from domain.unreadable import WorkflowUnreadable, unreadable, unreadable_at

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAB_HINT = "Indent with spaces: YAML allows no tabs there."
# Written by libyaml's and PyYAML's parsers; what people did to get them, and what to do.
_HINTS = (
    ("mapping values are not allowed", "Put text that holds `: ` in quotes, or mend the indent."),
    ("expected ':'", "Write `name: value`, with a blank after the colon."),
    ("unexpected end of stream", "Close the quote or bracket that was opened before."),
    ("unknown escape", "Use single quotes: in double quotes a backslash starts an escape."),
    ("cannot start any token", "Put text that starts with a sign such as `@`, `%` in quotes."),
    ("document start", "Put text with special signs in quotes; lines must not follow `...`."),
    ("expected ',' or", "Add a comma, or close the bracket, before this place."),
    ("expected", "Fields of one object must start in the same column, items with `- `."),
)


def read_yaml(text: str) -> JsonValue:
    """Read YAML text that holds no control characters; None for a text without content.

    Raises:
        WorkflowUnreadable: the text is not YAML, or holds what JSON cannot say.
    """
    builder = _Builder()
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at_tab = mark is not None and text[mark.index : mark.index + 1] == "\t"
        hint = _TAB_HINT if at_tab else _hint(error.problem or error.context or "")
        message = "the text is not valid YAML here."
        if mark is None:
            raise unreadable(message[0].upper() + message[1:], hint=hint) from error
        raise unreadable_at(mark.line + 1, mark.column + 1, message, hint=hint) from error
    except yaml.YAMLError as error:
        raise unreadable(
            "The text is not valid YAML.", hint="Look for characters that do not belong there."
        ) from error
    return builder.root


def _events(text: str) -> Iterator[yaml.Event]:
    # libyaml is ten times as fast; the wheels have it, a PyYAML built from source may not.
    loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return yaml.parse(text, Loader=loader)


def _hint(problem: str) -> str:
    for words, hint in _HINTS:
        if words in problem:
            return hint
    return "Look for a missing quote, colon or bracket just before this place."


@dataclass(slots=True)
class _Open:
    """An object or a list that is being read; `name` is the field whose value comes next."""

    value: list[JsonValue] | dict[str, JsonValue]
    name: str | None = field(default=None)


class _Builder:
    """Makes data of YAML events, without recursion, and refuses while it reads.

    PyYAML's own constructor follows aliases, drops repeated keys and makes dates: it cannot be
    told not to.
    """

    def __init__(self) -> None:
        self.root: JsonValue = None
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _refusal(
                    event,
                    "a second document starts.",
                    hint="Give every workflow a text of its own.",
                )
        elif isinstance(event, yaml.NodeEvent):
            self._take_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _take_node(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refusal(
                event,
                "anchors (`&name`) and aliases (`*name`) are not allowed.",
                hint="Write the part out where it is needed; put text that starts so in quotes.",
            )
        if getattr(event, "tag", None) is not None:
            raise _refusal(
                event,
                "tags (`!name`) are not allowed.",
                hint="Remove the tag; put text that starts with `!` in quotes.",
            )
        if isinstance(event, yaml.ScalarEvent):
            self._place(event, _scalar(event))
            return
        if len(self._open) == MAX_DEPTH:
            raise _refusal(
                event,
                f"the text is nested deeper than {MAX_DEPTH} levels.",
                hint="Put fewer objects and lists inside each other.",
            )
        value: list[JsonValue] | dict[str, JsonValue] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        self._place(event, value)
        self._open.append(_Open(value))

    def _place(self, event: yaml.Event, value: JsonValue) -> None:
        if not self._open:
            self.root = value
            return
        within = self._open[-1]
        if isinstance(within.value, list):
            within.value.append(value)
        elif within.name is not None:
            within.value[within.name] = value
            within.name = None
        elif not isinstance(value, str):
            raise _refusal(
                event, "a field's name must be text.", hint="Put the name before the `:` in quotes."
            )
        elif value in within.value:
            raise _refusal(
                event, f"the field {quote(value)} is there twice.", hint="Remove one of the two."
            )
        else:
            within.name = value


def _scalar(event: yaml.ScalarEvent) -> JsonValue:
    text = event.value
    if not is_storable(text):
        raise _refusal(
            event,
            "the text holds a character that cannot be stored (NUL, or half a surrogate pair).",
            hint="Remove the escape `\\0`, `\\x00`, `\\ud…`; it often comes from a binary file.",
        )
    if event.style:  # quoted, or a block: always text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) <= len(str(-MAX_INTEGER)) and abs(int(text)) <= MAX_INTEGER:
            return int(text)
        raise _refusal(
            event,
            "the whole number does not fit in 64 bits.",
            hint="Write it as text, in quotes.",
        )
    is_fraction = _FRACTION.fullmatch(text) is not None
    if _NOT_FINITE.fullmatch(text) or (is_fraction and not math.isfinite(float(text))):
        raise _refusal(
            event,
            "NaN and infinity are not JSON numbers.",
            hint="Use `null`, leave the field out, or put the text in quotes.",
        )
    return float(text) if is_fraction else text


def _refusal(event: yaml.Event, message: str, *, hint: str) -> WorkflowUnreadable:
    mark = event.start_mark
    if mark is None:  # the parsers always set it; PyYAML's types leave it open
        return unreadable(message[0].upper() + message[1:], hint=hint)
    return unreadable_at(mark.line + 1, mark.column + 1, message, hint=hint)

"""What pydantic found wrong with a document, in words for the person who wrote it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from domain.errors import ErrorCode, Problem
from domain.pointers import join_pointer, resolvable_tokens
from domain.text import Suggester, quote

# pydantic's error types: what to say, and what to do. Braces name pydantic's own limits.
# https://docs.pydantic.dev/latest/errors/validation_errors/
_RULES: Mapping[str, tuple[str, str]] = {
    "string_type": ("must be text", "Give text; numbers, true and false need quotes."),
    "int_type": ("must be a whole number", "Write a whole number, without quotes."),
    "int_from_float": ("must be a whole number", "Write a number without a fraction."),
    "int_parsing": ("must be a whole number", "Write a whole number, without quotes."),
    "float_type": ("must be a number", "Write a number, without quotes."),
    "float_parsing": ("must be a number", "Write a number, without quotes."),
    "decimal_type": ("must be a number", "Write a number."),
    "decimal_parsing": ("must be a number", "Write a number."),
    "finite_number": ("must be a finite number", "Write an ordinary number."),
    "bool_type": ("must be true or false", "Write `true` or `false`, without quotes."),
    "bool_parsing": ("must be true or false", "Write `true` or `false`, without quotes."),
    "dict_type": ("must be an object", "Write `name: value` lines below it, or `{{…}}`."),
    "model_type": ("must be an object", "Write `name: value` lines below it, or `{{…}}`."),
    "list_type": ("must be a list", "Start every item with `- `, or write `[…]`."),
    "tuple_type": ("must be a list", "Start every item with `- `, or write `[…]`."),
    "set_type": ("must be a list", "Start every item with `- `, or write `[…]`."),
    "greater_than": ("must be more than {gt}", "Give a number above {gt}."),
    "greater_than_equal": ("must be at least {ge}", "Give {ge} or more."),
    "less_than": ("must be less than {lt}", "Give a number below {lt}."),
    "less_than_equal": ("must be at most {le}", "Give {le} or less."),
    "string_too_short": ("is too short", "Give at least {min_length} characters."),
    "string_too_long": ("is too long", "Give at most {max_length} characters."),
    "too_short": ("has too few items", "Give at least {min_length}."),
    "too_long": ("has too many items", "Give at most {max_length}."),
    "literal_error": ("is none of the allowed values", "Choose one of {expected}."),
    "enum": ("is none of the allowed values", "Choose one of {expected}."),
    "string_pattern_mismatch": ("has the wrong form", "Match the pattern `{pattern}`."),
}
# One document can hold tens of thousands of wrong fields. Nobody reads on for so long.
_MAX_ERRORS = 2_000
_OTHERWISE = ("is not valid", "Compare it with an example of this document.")


def list_shape_problems(
    error: ValidationError,
    *,
    model: type[BaseModel],
    document: object,
    pointer: str = "",
    code: ErrorCode | None = None,
) -> list[Problem]:
    """Translate all errors of one validation into problems (the first 2,000, if there are more).

    Values are never repeated, for they may be secret; numbers out of range are.

    Args:
        error: what `model.model_validate(document)` raised.
        pointer: where `document` stands in what the person wrote.
        code: given to every problem; without it `field.missing`, `.unknown` or `.invalid`.
    """
    suggesters: dict[type[BaseModel], Suggester] = {}
    problems: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False)[:_MAX_ERRORS]:
        loc = detail["loc"]
        found = resolvable_tokens(document, loc)
        owner = _model_at(model, loc[:-1]) if loc else None
        match detail["type"]:
            case "missing":
                kind, message, hint = _missing(loc, found, owner)
            case "extra_forbidden":
                kind, message, hint = _unknown(loc, owner, suggesters)
            case error_type:
                context = cast("Mapping[str, object]", detail.get("ctx", {}))
                message, hint = _invalid(error_type, context, given=detail["input"])
                message = f"{_subject(found)} {message}."
                kind, hint = ErrorCode.FIELD_INVALID, hint + _described(owner, loc)
        where = join_pointer(pointer, *found)
        problems.setdefault((where, message), Problem(code or kind, where, message, hint))
    return list(problems.values())


def _missing(
    loc: Sequence[str | int], found: Sequence[str | int], owner: type[BaseModel] | None
) -> tuple[ErrorCode, str, str]:
    name = quote(str(loc[-1]))
    place = f" in {_subject(found, first=False)}" if found else ""
    return (
        ErrorCode.FIELD_MISSING,
        f"{name} is missing{place}.",
        f"Add {name}." + _described(owner, loc),
    )


def _unknown(
    loc: Sequence[str | int],
    owner: type[BaseModel] | None,
    suggesters: dict[type[BaseModel], Suggester],
) -> tuple[ErrorCode, str, str]:
    message = f"There is no field {quote(str(loc[-1]))} here."
    if owner is None:
        return ErrorCode.FIELD_UNKNOWN, message, "Remove it, or correct its name."
    known = [info.alias or name for name, info in owner.model_fields.items()]
    nearest = suggesters.setdefault(owner, Suggester(known)).nearest(str(loc[-1]))
    advice = f"Did you mean {quote(nearest)}?" if nearest else "Remove it, or correct its name."
    fields = ", ".join(quote(name) for name in known) or "none"
    return ErrorCode.FIELD_UNKNOWN, message, f"{advice} Possible fields: {fields}."


def _invalid(error_type: str, context: Mapping[str, object], *, given: object) -> tuple[str, str]:
    if error_type == "value_error":
        # A validator of ours (or of an agent type) said it in its own plain words.
        return str(context.get("error", _OTHERWISE[0])).rstrip("."), "Correct the value."
    message, hint = _RULES.get(error_type, _OTHERWISE)
    if error_type.endswith(("_type", "_parsing", "_than", "_equal", "_from_float")):
        message = f"{message}, but is {_kind(given)}"
    return message.format_map(context), hint.format_map(context)


def _kind(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int() | float():
            shown = f"{value:.10g}" if isinstance(value, float) else str(value)[:20]
            return shown
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case _:
            return "something else"


def _subject(tokens: Sequence[str | int], *, first: bool = True) -> str:
    """Name a place for a sentence: a field by its name, a list's item by its number from 1."""
    if not tokens:
        return "The document" if first else "the document"
    last = tokens[-1]
    if isinstance(last, str):
        return quote(last)
    item = "Item" if first else "item"
    return f"{item} {last + 1} of {_subject(tokens[:-1], first=False)}"


def _described(owner: type[BaseModel] | None, loc: Sequence[str | int]) -> str:
    """Add the first paragraph of a field's own docstring, if it has one."""
    info = _field_of(owner, loc[-1]) if owner and loc else None
    if info is None or not info.description:
        return ""
    paragraph = info.description.split("\n\n")[0]
    return f" It means: {' '.join(paragraph.split())}"


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """Follow field names and positions to the model that stands there, if one does."""
    here: type[BaseModel] | None = model
    for token in loc:
        if isinstance(token, int):
            continue  # the item's model was found with the list that holds it
        info = _field_of(here, token) if here else None
        here = _model_within(info.annotation) if info else None
    return here


def _field_of(model: type[BaseModel] | None, token: str | int) -> FieldInfo | None:
    if model is None:
        return None
    for name, info in model.model_fields.items():
        if token in (info.alias, name):
            return info
    return None


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_within, get_args(annotation))), None)

"""What is wrong with an agent's config, said to the person who wrote it."""

import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agents.interface import AgentConfig
from domain.errors import ErrorCode, Problem
from domain.json_data import JsonObject
from domain.pointers import join_pointer, resolvable_tokens
from domain.text import Suggester, quote


def find_config_problems(
    config: object,
    *,
    model: type[AgentConfig],
    agent_name: str,
    pointer: str,
    example: JsonObject,
) -> tuple[Problem, ...]:
    """List everything that is wrong with a config, each with its pointer below `pointer`."""
    try:
        model.model_validate(config)
    except ValidationError as error:
        writer = _Writer(model, agent_name=agent_name, config=config, example=example)
        return tuple(
            writer.problem(details, pointer=pointer)
            for details in error.errors(include_url=False, include_context=True)
        )
    return ()


class _Writer:
    def __init__(
        self, model: type[BaseModel], *, agent_name: str, config: object, example: JsonObject
    ) -> None:
        self._model, self._name = model, quote(agent_name)
        self._config, self._example = config, example

    def problem(self, details: ErrorDetails, *, pointer: str) -> Problem:
        kind, location = details["type"], details["loc"]
        path = ".".join(str(token) for token in location)
        if not location:
            return Problem(
                ErrorCode.AGENT_CONFIG_INVALID,
                pointer,
                f"The config of {self._name} is not a list of settings.",
                f"Write settings with their values, such as {self._shown_example()}.",
            )
        if kind == "missing":
            return Problem(
                ErrorCode.FIELD_MISSING,
                join_pointer(pointer, *location),
                self._missing_message(path, location),
                f"Add `{path}: {self._example_of(location)}` to its config. "
                f"{self._meaning(location)}".strip(),
            )
        shown_location = resolvable_tokens(self._config, location) or location[:1]
        at = join_pointer(pointer, *shown_location)
        if kind == "extra_forbidden":
            return Problem(
                ErrorCode.FIELD_UNKNOWN,
                at,
                f"{self._name} has no setting called {quote(str(location[-1]))}.",
                self._unknown_hint(location),
            )
        return Problem(
            ErrorCode.AGENT_CONFIG_INVALID,
            at,
            f"The setting {quote(path)} of {self._name} {_expectation(details)}.",
            f"Write for instance `{path}: {self._example_of(location)}`. "
            f"{self._meaning(location)}".strip(),
        )

    def _missing_message(self, path: str, location: Sequence[str | int]) -> str:
        if path == "connector":
            return f"{self._name} does not say which connector to read from."
        if path == "object_type":
            return f"{self._name} does not say which kind of records to read."
        return f"{self._name} lacks the setting {quote(str(location[-1]))}."

    def _unknown_hint(self, location: Sequence[str | int]) -> str:
        parent = _model_at(self._model, location[:-1])
        known = list(parent.model_fields) if parent else []
        near = Suggester(known).nearest(str(location[-1]))
        if near:
            return f"Did you mean {quote(near)}?"
        names = ", ".join(quote(name) for name in known)
        return f"Remove it. Settings there are: {names}." if known else "Remove it."

    def _meaning(self, location: Sequence[str | int]) -> str:
        parent = _model_at(self._model, location[:-1])
        field = parent.model_fields.get(str(location[-1])) if parent else None
        described = (field.description or "") if field else ""
        return " ".join(described.split())

    def _example_of(self, location: Sequence[str | int]) -> str:
        value: object = self._example
        for token in location:
            if isinstance(value, Mapping) and token in value:
                value = cast("Mapping[object, object]", value)[token]
            else:
                return self._default_of(location)
        return str(value)

    def _default_of(self, location: Sequence[str | int]) -> str:
        parent = _model_at(self._model, location[:-1])
        field = parent.model_fields.get(str(location[-1])) if parent else None
        if field is None or field.is_required() or field.default is None:
            return "…"
        default = field.get_default(call_default_factory=False)
        return "…" if isinstance(default, BaseModel) or default is None else str(default)

    def _shown_example(self) -> str:
        return "`" + ", ".join(f"{key}: {value}" for key, value in self._example.items()) + "`"


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    here: type[BaseModel] | None = model
    for token in location:
        if here is None:
            return None
        field = here.model_fields.get(str(token))
        here = _model_in(field.annotation) if field else None
    return here


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            found = _model_in(option)
            if found:
                return found
    return None


_EXPECTATIONS: Mapping[str, str] = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be `true` or `false`",
    "bool_parsing": "must be `true` or `false`",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a list of settings",
    "model_type": "must be a list of settings",
    "model_attributes_type": "must be a list of settings",
    "string_pattern_mismatch": "may hold only letters, digits and `_`, and begin with no digit",
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "greater_than": ("gt", "must be more than {}"),
    "less_than": ("lt", "must be less than {}"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
    "literal_error": ("expected", "must be one of {}"),
    "enum": ("expected", "must be one of {}"),
}


def _expectation(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind in _EXPECTATIONS:
        return _EXPECTATIONS[kind]
    if kind in _LIMITS:
        name, sentence = _LIMITS[kind]
        limit = str(details.get("ctx", {}).get(name, "what is allowed")).replace("'", "`")
        return sentence.format(limit)
    if kind == "value_error":
        # Our own validators write this text; it never quotes what was given.
        said = re.sub(r"^Value error,\s*", "", details["msg"])
        return said.rstrip(".")
    return "has a value that it cannot take"

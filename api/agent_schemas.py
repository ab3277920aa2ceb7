"""Checks agents' configs by the catalogue's JSON Schemas: this process loads no agent."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]
from referencing import Registry

from domain.catalog import AgentType
from domain.errors import ErrorCode, Problem
from domain.json_data import JsonObject, JsonValue
from domain.pointers import join_pointer, resolvable_tokens
from domain.text import Suggester, quote
from domain.workflow_checks import AgentCheck

# One config can be wrong in thousands of places; nobody reads on for so long.
_MAX_PROBLEMS = 200
_KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a list of settings",
    "null": "empty",
}
_LIMITS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "pattern": "must match the pattern `{}`",
    "const": "must be {}",
}


def agent_check(types: Iterable[AgentType]) -> AgentCheck:
    """Make the check of one agent's type and config, for `find_problems`.

    It names the same places and codes as the agents' own check; schemas are stricter in that
    they never take `"5"` for 5.
    """
    by_name = {each.type: each for each in types}
    checks: dict[str, _ConfigCheck] = {}

    def check(
        type_name: str, config: JsonObject, *, agent_name: str, pointer: str
    ) -> Sequence[Problem]:
        found = by_name.get(type_name)
        if found is None:
            return (_unknown_type(type_name, tuple(by_name), pointer),)
        own = checks.setdefault(type_name, _ConfigCheck(found))
        return own.find_problems(config, agent_name=agent_name, pointer=f"{pointer}/config")

    return check


def _unknown_type(type_name: str, known: Sequence[str], pointer: str) -> Problem:
    message = f"There is no agent type {quote(type_name)}."
    if not known:
        hint = "The catalogue is empty: the operator must run `tenantry migrate`."
    else:
        likely = Suggester(known).nearest(type_name.replace("-", "_").replace(" ", "_"))
        names = ", ".join(quote(name) for name in known)
        hint = f"Did you mean {quote(likely)}? " if likely else ""
        hint += f"Agent types: {names}."
    return Problem(ErrorCode.AGENT_TYPE_UNKNOWN, f"{pointer}/type", message, hint)


def _whole_pattern(
    _validator: Validator, pattern: str, instance: object, _schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    # In Python `$` also matches before a line's end, in JSON Schema's dialect it does not.
    strict = re.sub(r"(?<!\\)\$$", r"\\Z", pattern)
    if isinstance(instance, str) and not re.search(strict, instance):
        yield ValidationError("does not match")


# jsonschema has no types for its classes made at run time.
_Validator = cast(Any, extend(Draft202012Validator, {"pattern": _whole_pattern}))


class _ConfigCheck:
    """One agent type's schema, and how its problems are said."""

    def __init__(self, kind: AgentType) -> None:
        self._schema, self._example = kind.config_schema, kind.example
        # An empty registry: a reference to somewhere else is never fetched.
        self._validator = _Validator(kind.config_schema, registry=Registry[Any]())

    def find_problems(
        self, config: JsonObject, *, agent_name: str, pointer: str
    ) -> tuple[Problem, ...]:
        name = quote(agent_name)
        found: dict[tuple[str, str], Problem] = {}
        errors: Iterable[ValidationError] = self._validator.iter_errors(config)
        for error in islice(errors, _MAX_PROBLEMS):
            for problem in self._problems(error, config, name=name, pointer=pointer):
                found.setdefault((problem.pointer, problem.message), problem)
        return tuple(islice(found.values(), _MAX_PROBLEMS))

    def _problems(
        self, error: ValidationError, config: JsonObject, *, name: str, pointer: str
    ) -> Iterator[Problem]:
        path = tuple(error.absolute_path)
        rules = cast("Mapping[str, Any]", error.schema)
        match error.validator:
            case "required":
                for field in cast("Sequence[str]", error.validator_value):
                    if field not in cast("Mapping[str, object]", error.instance):
                        yield self._missing((*path, field), name=name, pointer=pointer)
            case "additionalProperties":
                given = cast("Mapping[str, object]", error.instance)
                known = tuple(rules.get("properties", {}))
                suggester = Suggester(known)
                for field in (field for field in given if field not in known):
                    at = resolvable_tokens(config, (*path, field)) or path
                    yield Problem(
                        ErrorCode.FIELD_UNKNOWN,
                        join_pointer(pointer, *at),
                        f"{name} has no setting called {quote(field)}.",
                        _unknown_hint(field, known, suggester),
                    )
            case "anyOf" | "oneOf":
                nearest = _nearest_branch(error)
                if nearest is None:
                    yield self._refused(path, _kinds_of(rules), name=name, pointer=pointer)
                for inner in nearest or ():
                    yield from self._problems(inner, config, name=name, pointer=pointer)
            case _:
                yield self._refused(path, _expectation(error), name=name, pointer=pointer)

    def _missing(self, path: Sequence[str | int], *, name: str, pointer: str) -> Problem:
        dotted = ".".join(map(str, path))
        return Problem(
            ErrorCode.FIELD_MISSING,
            join_pointer(pointer, *path),
            f"{name} lacks the setting {quote(dotted)}.",
            f"Add `{dotted}: {self._sample(path)}` to its config. {self._meaning(path)}".strip(),
        )

    def _refused(
        self, path: Sequence[str | int], expectation: str, *, name: str, pointer: str
    ) -> Problem:
        dotted = ".".join(map(str, path))
        if not path:
            message = f"The config of {name} {expectation}."
            return Problem(
                ErrorCode.AGENT_CONFIG_INVALID, pointer, message, "Compare it with the example."
            )
        return Problem(
            ErrorCode.AGENT_CONFIG_INVALID,
            join_pointer(pointer, *path),
            f"The setting {quote(dotted)} of {name} {expectation}.",
            f"Write for instance `{dotted}: {self._sample(path)}`. {self._meaning(path)}".strip(),
        )

    def _meaning(self, path: Sequence[str | int]) -> str:
        return " ".join(str(self._rules_at(path).get("description", "")).split())

    def _sample(self, path: Sequence[str | int]) -> str:
        here: JsonValue = self._example
        for token in path:
            if not isinstance(here, dict) or token not in here:
                default = self._rules_at(path).get("default")
                return "…" if default is None else _show(default)
            here = here[str(token)]
        return _show(here)

    def _rules_at(self, path: Sequence[str | int]) -> Mapping[str, Any]:
        here: Mapping[str, Any] = self._schema
        for token in path:
            here = self._resolved(here)
            if isinstance(token, int):
                here = here.get("items", {})
            else:
                here = here.get("properties", {}).get(token, {})
        return here

    def _resolved(self, rules: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = str(rules.get("$ref", ""))
        name = reference.removeprefix("#/$defs/")
        definitions = cast("Mapping[str, Mapping[str, Any]]", self._schema.get("$defs", {}))
        return definitions.get(name, rules) if reference else rules


def _show(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _nearest_branch(error: ValidationError) -> Sequence[ValidationError] | None:
    """Find the alternative that the value is of the right kind for, if there is one."""
    branches: dict[object, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    for inners in branches.values():
        if not any(inner.validator == "type" and not inner.path for inner in inners):
            return inners
    return None


def _unknown_hint(field: str, known: Sequence[str], suggester: Suggester) -> str:
    nearest = suggester.nearest(field)
    if nearest:
        return f"Did you mean {quote(nearest)}?"
    names = ", ".join(quote(name) for name in known)
    return f"Remove it. Settings there are: {names}." if known else "Remove it."


def _expectation(error: ValidationError) -> str:
    rule, limit = str(error.validator), error.validator_value
    if rule == "type":
        wanted = cast("str | list[str]", limit)
        return f"must be {_say_kinds([wanted] if isinstance(wanted, str) else wanted)}"
    if rule == "enum":
        options = ", ".join(quote(str(option)) for option in cast("list[object]", limit))
        return f"must be one of {options}"
    return _LIMITS.get(rule, "has a value that it cannot take").format(limit)


def _kinds_of(rules: Mapping[str, Any]) -> str:
    branches = cast("list[Mapping[str, Any]]", rules.get("anyOf") or rules.get("oneOf") or [])
    kinds = [str(branch["type"]) for branch in branches if "type" in branch]
    return f"must be {_say_kinds(kinds)}" if kinds else "has a value that it cannot take"


def _say_kinds(kinds: Sequence[str]) -> str:
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)

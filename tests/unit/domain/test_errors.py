"""Promises that every error of the ground floor keeps."""

import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Iterator

import pytest

import domain
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.executions import ExecutionStatus
from domain.permissions import Permission

# Arguments for the errors that take their own; all others take what their base does.
ARGUMENTS: dict[str, tuple[tuple[object, ...], dict[str, object]]] = {
    "QueueFull": ((), {"waiting": 30, "limit": 30}),
    "PermissionMissing": ((Permission.AUDIT_READ,), {}),
    "TransitionRefused": (
        ("exec_1",),
        {"current": ExecutionStatus.COMPLETED, "wanted": ExecutionStatus.RUNNING},
    ),
}


def subclasses(kind: type[TenantryError]) -> Iterator[type[TenantryError]]:
    """Walk all classes below one, whatever module they are in."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def domain_errors() -> list[type[TenantryError]]:
    """List the errors of the ground floor, of which every module is imported first."""
    for module in pkgutil.iter_modules(domain.__path__, "domain."):
        importlib.import_module(module.name)
    found = {kind for kind in subclasses(TenantryError) if kind.__module__.startswith("domain.")}
    return sorted(found, key=lambda kind: kind.__name__)


def example_of(kind: type[TenantryError]) -> TenantryError:
    """Make an error, with a text for every argument that says nothing else."""
    if kind.__name__ in ARGUMENTS:
        args, kwargs = ARGUMENTS[kind.__name__]
        return kind(*args, **kwargs)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if issubclass(kind, InvalidInput):
        return kind([Problem(kind.code, "/a", "It is wrong.", "Mend it.")] * 2)
    wanted = [p for p in inspect.signature(kind).parameters.values() if p.name != "self"]
    args = tuple("x_1" for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD)
    named = {p.name: "x_1" for p in wanted if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    return kind(*args, **named)


@pytest.mark.parametrize("kind", domain_errors(), ids=lambda kind: kind.__name__)
class TestEveryError:
    """One class per situation, and each of them keeps these."""

    def test_survives_pickling(self, kind: type[TenantryError]):
        error = example_of(kind)
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), again.args, vars(again)) == (kind, error.args, vars(error))

    def test_tells_what_happened_and_what_to_do(self, kind: type[TenantryError]):
        error = example_of(kind)
        assert error.hint
        assert str(error) == error.message

    def test_has_a_public_code(self, kind: type[TenantryError]):
        assert kind.code in ErrorCode


def test_an_invalid_input_without_a_problem_cannot_be_made():
    with pytest.raises(ValueError, match="at least one problem"):
        InvalidInput([])


def test_codes_are_a_noun_and_a_participle():
    assert all(code.value.count(".") == 1 and code.value.islower() for code in ErrorCode)

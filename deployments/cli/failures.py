"""How an error reaches people, programs and the log."""

import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from rich.padding import Padding
from rich.text import Text

from deployments.cli.screen import clean, remarks, show_json
from deployments.embedded.layout import Home
from domain.clock import utc_now
from domain.errors import ErrorCode, InvalidInput, Problem, TenantryError
from domain.json_data import JsonObject, JsonValue

LineOf = Callable[[str], int | None]
"""Finds the line, from 1, on which a JSON pointer's value stands in the text it came from."""


def no_line(_pointer: str) -> int | None:
    """Find no line: for data that was no text."""
    return None


def show_error(error: TenantryError, *, as_json: bool, line_of: LineOf = no_line) -> None:
    """Show an error on standard error; for programs also as the one document on standard output."""
    problems = error.problems if isinstance(error, InvalidInput) else ()
    if as_json:
        body: JsonObject = {
            "code": error.code.value,
            "message": error.message,
            "hint": error.hint,
            "problems": cast("list[JsonValue]", problems_json(problems, line_of=line_of)),
        }
        show_json({"error": body})
    subject = type(error).subject if isinstance(error, InvalidInput) else ""
    if len(problems) == 1 and not problems[0].pointer:
        _show_simple(problems[0].message, hint=problems[0].hint, code=problems[0].code)
        return
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems):,} problems"
        show_problems(problems, heading=f"The {subject} is refused: {count}.", line_of=line_of)
        return
    _show_simple(error.message, hint=error.hint, code=error.code)


# More than anybody reads at once; the first of a large document usually explain the rest.
_SHOWN = 20


def show_problems(problems: Sequence[Problem], *, heading: str, line_of: LineOf = no_line) -> None:
    """List problems on standard error: where, what, what to do."""
    console = remarks()
    console.print(Text.assemble(("✗ ", "bold red"), (heading, "bold")))
    for problem in problems[:_SHOWN]:
        line = line_of(problem.pointer)
        place = Text(clean(problem.pointer) or "as a whole", style="cyan")
        if line is not None and problem.pointer:
            place.append(f"  line {line}", style="dim")
        place.append(f"  {problem.code.value}", style="dim")
        console.print()
        console.print(Padding.indent(place, 2))
        console.print(Padding.indent(Text(clean(problem.message)), 4))
        console.print(Padding.indent(_arrow(problem.hint), 4))
    if len(problems) > _SHOWN:
        console.print(f"\n  … and {len(problems) - _SHOWN:,} more: `--json` lists all of them.")


def problems_json(problems: Sequence[Problem], *, line_of: LineOf = no_line) -> list[JsonObject]:
    """Write problems for programs; `line` is there where it is known."""
    found: list[JsonObject] = []
    for problem in problems:
        body: JsonObject = {**problem.as_json()}
        line = line_of(problem.pointer) if problem.pointer else None
        if line is not None:
            body["line"] = line
        found.append(body)
    return found


def show_unexpected(error: BaseException, *, home: Path | None, as_json: bool) -> None:
    """Say that something of ours is broken; what exactly goes into a log."""
    log = _write_log(error, home=home)
    message = f"Something unexpected went wrong ({type(error).__name__})."
    hint = f"The details are in {log}; please report them."
    if as_json:
        code = ErrorCode.INTERNAL
        body: JsonObject = {"code": code.value, "message": message, "hint": hint, "problems": []}
        show_json({"error": body})
    _show_simple(message, hint=hint, code=ErrorCode.INTERNAL)


def _show_simple(message: str, *, hint: str, code: ErrorCode) -> None:
    console = remarks()
    console.print(Text.assemble(("✗ ", "bold red"), clean(message), (f"  {code.value}", "dim")))
    console.print(Padding.indent(_arrow(hint), 2))


def _arrow(hint: str) -> Text:
    return Text.assemble(("→ ", "green"), clean(hint))


def _write_log(error: BaseException, *, home: Path | None) -> Path:
    lines = traceback.format_exception(error)
    text = f"{utc_now().isoformat()} {' '.join(sys.argv[1:3])}\n{''.join(lines)}\n"
    if home is not None:
        log = Home(home).log_of("cli")
        try:
            Home(home).make_folders()
            with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError:
            # The home may be what is broken.
            pass
        else:
            return log
    with tempfile.NamedTemporaryFile(
        "w", prefix="tenantry-cli-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    return Path(file.name)

"""Pages of `docs/` whose commands are run as they are written, and whose answers must come.

Blocks marked `sh` are commands. The `json` or `text` block behind one shows all that it prints; a
command without such a block prints nothing. `…` on a page stands for what is not the same each
time, or is left out: a part of a text, a whole value, a line by itself for any number of lines,
the member `"…": "…"` for more members of an object, a last `"…"` for more entries of a list.
"""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANY = "…"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Step:
    """Commands of a page, and what it says they print."""

    line: int
    commands: str
    kind: str
    shown: str

    def find_difference(self, printed: str) -> str | None:
        """Say how what was printed differs from what the page shows, if it does."""
        if self.kind != "json":
            return find_text_difference(self.shown, printed)
        try:
            return find_json_difference(json.loads(self.shown), json.loads(printed))
        except json.JSONDecodeError as error:
            return f"no JSON ({error}): {printed[:500]}"


def read_steps(page: str) -> list[Step]:
    """Read the commands of a page.

    Raises:
        ValueError: the page shows an answer without a question.
    """
    steps: list[Step] = []
    question: tuple[int, str] | None = None
    for fence in _FENCE.finditer(page):
        language, content = fence[1], fence[2]
        line = page.count("\n", 0, fence.start()) + 1
        if language == "sh":
            if question is not None:
                steps.append(Step(*question, "text", ""))
            question = (line, content)
        elif language in {"json", "text"} and question is not None:
            steps.append(Step(*question, language, content))
            question = None
        else:
            raise ValueError(f"line {line}: a block of `{language}` that no command prints")
    if question is not None:
        steps.append(Step(*question, "text", ""))
    return steps


@dataclass(frozen=True)
class Played:
    """What came of a page's commands."""

    code: int
    printed: list[str]
    """What each step printed, as far as they got."""
    complaints: str
    """What the last of them said on standard error."""


def play(
    steps: Sequence[Step], folder: Path, environ: Mapping[str, str], *, timeout_s: float
) -> Played:
    """Run the commands of all steps in one bash, which stops at the first that fails.

    Args:
        folder: where they run; what they print is kept beside it.
    """
    outs = [folder.parent / f"{number}.out" for number in range(len(steps))]
    errs = [folder.parent / f"{number}.err" for number in range(len(steps))]
    parts = [
        f"{{\n{step.commands}\n}} >'{out}' 2>'{err}'\n"
        for step, out, err in zip(steps, outs, errs, strict=True)
    ]
    with subprocess.Popen(
        ["bash", "-c", "".join(["set -euo pipefail\n", *parts])],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            code = process.wait(timeout_s)
        finally:
            # What it left in the background, if anything.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    there = [out for out in outs if out.exists()]
    return Played(
        code,
        [out.read_bytes().decode(errors="replace") for out in there],
        errs[len(there) - 1].read_text(errors="replace"),
    )


def find_text_difference(shown: str, printed: str) -> str | None:
    """Compare texts by lines; white space at the end of a line does not count."""
    pattern = "".join(
        "(?:.*\n)*?" if line == ANY else f"{_text_pattern(line)}\n" for line in _lines(shown)
    )
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(printed))):
        return None
    return f"the page shows\n{shown}\nbut this came:\n{printed}"


def find_json_difference(shown: Any, given: Any, *, place: str = "$") -> str | None:
    """Compare JSON; return the first place that differs, and how."""
    if shown == ANY:
        return None
    differences: list[str | None] = []
    match shown, given:
        case dict(), dict():
            named = shown.keys() - {ANY}
            more = given.keys() - named
            if named - given.keys() or (ANY in shown) != bool(more):
                return f"{place} shows the members {sorted(shown)}, but has {sorted(given)}"
            differences = [
                find_json_difference(shown[name], given[name], place=f"{place}.{name}")
                for name in sorted(named)
            ]
        case list(), list():
            is_open = bool(shown) and shown[-1] == ANY
            named_count = len(shown) - is_open
            if len(given) < len(shown) or (not is_open and len(given) > len(shown)):
                return f"{place} shows {len(shown)} entries, but has {len(given)}"
            differences = [
                find_json_difference(shown[number], given[number], place=f"{place}[{number}]")
                for number in range(named_count)
            ]
        case str(), str() if re.fullmatch(_text_pattern(shown), given):
            return None
        case _ if type(shown) is type(given) and shown == given:
            return None
        case _:
            return f"{place} shows {shown!r}, but is {given!r}"
    return next((difference for difference in differences if difference), None)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def _text_pattern(shown: str) -> str:
    return ".+?".join(re.escape(part) for part in shown.split(ANY))

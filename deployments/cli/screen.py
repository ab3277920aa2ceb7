"""What people see: answers on standard output, everything else on standard error."""

import json
import os
import sys
import threading
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from domain.json_data import JsonValue

# Wide enough for every table of ours: what reads a pipe wants whole lines, not a page.
_PIPE_WIDTH = 200
_MAX_WIDTH = 10_000
_SHOW_AFTER_S = 1.0
# They turn the direction of reading, so that a name looks like another one.
_DIRECTION_MARKS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich's own ends the process with 1, which means a bad result here.
        raise BrokenPipeError


def answers() -> Console:
    """Give the console for what was asked for."""
    return _console(stderr=False)


def remarks() -> Console:
    """Give the console for progress and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return _Console(
        stderr=stderr,
        # Names and outputs are tenants' text: `[red]` in them means nothing.
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _piped_width(),
    )


def _piped_width() -> int:
    """Give the width of what is piped: as `COLUMNS` says, which rich reads for terminals only."""
    wanted = os.environ.get("COLUMNS", "")
    return int(wanted) if wanted.isdecimal() and 0 < int(wanted) <= _MAX_WIDTH else _PIPE_WIDTH


def show_json(document: JsonValue) -> None:
    """Write one JSON document to standard output."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def make_table(*columns: str, title: str | None = None) -> Table:
    """Make an empty table in our layout; a column's name that ends with `#` is of numbers."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for column in columns:
        is_number = column.endswith("#")
        table.add_column(
            column.removesuffix("#"),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=column == "id",
        )
    return table


def make_facts(*facts: tuple[str, str | Text | None]) -> Table:
    """Lay out names and values below each other; a value of `None` is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        if value is not None:
            grid.add_row(name, clean(value) if isinstance(value, str) else value)
    return grid


def clean(text: str) -> str:
    """Take out of somebody's text what would steer the terminal instead of being shown."""
    return "".join("�" if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in {"Cc", "Cs"} or character in _DIRECTION_MARKS


STATUS_STYLES = {
    "COMPLETED": "green",
    "FAILED": "bold red",
    "CANCELLED": "yellow",
    "RUNNING": "cyan",
    "PAUSED": "magenta",
    "PENDING": "blue",
    "SKIPPED": "dim",
}


def show_status(status: str) -> Text:
    """Colour a status."""
    return Text(status, style=STATUS_STYLES.get(status, ""))


def show_time(at: datetime | None) -> str:
    """Write a time for people: UTC, to the second."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def show_seconds(seconds: float | None) -> str:
    """Write a length of time for people."""
    if seconds is None:
        return ""
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def show_cost(cost: Decimal) -> str:
    """Write an amount of US dollars for people."""
    return f"{cost.normalize():f} USD" if cost else "0 USD"


class Progress:
    """Says what is going on, once it takes longer than a second.

    On a terminal as one line with a spinner, elsewhere as one plain line per text. Later texts
    replace earlier ones; after the `with` block texts are dropped.
    """

    def __init__(self, text: str | None = None, *, show_after_s: float = _SHOW_AFTER_S) -> None:
        self._console = remarks()
        self._lock = threading.Lock()
        self._text, self._said = text, ""
        self._is_due, self._is_over = False, False
        self._status: Status | None = None
        self._timer = threading.Timer(show_after_s, self._become_due)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            if self._status is not None:
                self._status.stop()

    def say(self, text: str) -> None:
        """Say what is going on now."""
        with self._lock:
            self._text = text
            self._show()

    def _become_due(self) -> None:
        with self._lock:
            self._is_due = True
            self._show()

    def _show(self) -> None:
        if self._is_over or not self._is_due or self._text is None or self._text == self._said:
            return
        self._said = self._text
        shown = Text(f"{clean(self._text)} …")
        if not self._console.is_terminal:
            self._console.print(shown)
        elif self._status is None:
            self._status = self._console.status(shown)
            self._status.start()
        else:
            self._status.update(shown)

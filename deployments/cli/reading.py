"""Files that people name on the command line; `-` is standard input."""

import json
import os
import sys
from pathlib import Path

from deployments.cli.screen import remarks
from domain.definition_json import read_json
from domain.errors import ErrorCode, TenantryError
from domain.inputs import ExecutionInputInvalid, check_input
from domain.json_data import JsonObject
from domain.text import quote
from domain.unreadable import WorkflowUnreadable

STANDARD_INPUT = "-"
# Far above every limit on what is in the file, which tells better what is wrong.
_MAX_BYTES = 64 * 1024 * 1024


class FileUnreadable(TenantryError):
    """A file that was named on the command line can't be read."""

    code = ErrorCode.FILE_UNREADABLE


def read_file(name: str) -> bytes:
    """Read a file, or standard input for `-`; of more than 64 MB the beginning.

    Raises:
        FileUnreadable: there is no such file, or we may not read it.
    """
    if name == STANDARD_INPUT:
        if sys.stdin.isatty():
            remarks().print("Reading what you type; end with Ctrl-D on a line of its own.")
        return sys.stdin.buffer.read(_MAX_BYTES)
    try:
        with check_file(name).open("rb") as file:
            return file.read(_MAX_BYTES)
    except OSError as error:
        raise _refused(name, error) from error


def check_file(name: str) -> Path:
    """Make sure that there is a file of this name that may be read.

    Raises:
        FileUnreadable: there is none.
    """
    path = Path(name).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
        is_readable = exists and os.access(path, os.R_OK)
    except (OSError, ValueError) as error:  # a name that no file can have
        raise _missing(name) from error
    if is_folder:
        raise FileUnreadable(
            f"{quote(name)} is a folder.", hint="Name a file in it, or `-` for standard input."
        )
    if not exists:
        raise _missing(name)
    if not is_readable:
        raise FileUnreadable(
            f"{quote(name)} may not be read by you.",
            hint="Ask its owner, or change its permissions with `chmod`.",
        )
    return path


def read_execution_input(name: str) -> JsonObject:
    """Read an execution's input: a JSON object, or else a text.

    Raises:
        FileUnreadable: there is no such file.
        ExecutionInputInvalid: with every problem found.
    """
    try:
        text = read_file(name).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ExecutionInputInvalid.one(
            ErrorCode.EXECUTION_INPUT_INVALID,
            "",
            "The input is not encoded as UTF-8.",
            "Save it as UTF-8; in most editors under `Save as`, `Encoding`.",
        ) from error
    if not text.startswith("{") and not name.endswith(".json"):
        return check_input(text)
    try:
        return check_input(read_json(text))
    except json.JSONDecodeError as error:
        raise ExecutionInputInvalid.one(
            ErrorCode.EXECUTION_INPUT_INVALID,
            "",
            f"The input is not valid JSON in line {error.lineno}, column {error.colno}.",
            "Look for a missing comma, colon, quote or brace just before this place; a text must "
            "not begin with `{`.",
        ) from error
    except WorkflowUnreadable as error:
        raise ExecutionInputInvalid.one(
            ErrorCode.EXECUTION_INPUT_INVALID, "", error.problems[0].message, error.hint
        ) from error


def _missing(name: str) -> FileUnreadable:
    return FileUnreadable(
        f"There is no file {quote(name)}.",
        hint=f"Check the name; relative names begin in {Path.cwd()}.",
    )


def _refused(name: str, error: OSError) -> FileUnreadable:
    return FileUnreadable(
        f"{quote(name)} can't be read: {error.strerror}.", hint="Name a file that you can open."
    )

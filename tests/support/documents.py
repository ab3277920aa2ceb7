"""What a command that goes on prints first."""

import json
from typing import IO, Any


def read_document(stream: IO[str]) -> Any:
    """Read one JSON object, of several lines, from a command that is running.

    One that ends before it has printed it fails the test.
    """
    lines: list[str] = []
    while line := stream.readline():
        lines.append(line)
        if line == "}\n":
            return json.loads("".join(lines))
    raise AssertionError(f"the command has ended, and said only: {''.join(lines)!r}")

"""A process that uses the embedded stack, driven by lines of JSON.

It prints one line when the stack is open and one after each request; at the end of its input it
leaves the stack and prints `closed`. Run as `python -m tests.processes.embedded.user_process`.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

from deployments.embedded.specs import ServiceSpec
from deployments.embedded.stack import EmbeddedStack, open_stack
from deployments.settings import load_settings
from domain.errors import TenantryError


def describe(stack: EmbeddedStack, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "postgres" in names:
        found["database_url"] = stack.database_url
    return found


def parse_spec(raw: dict[str, Any]) -> ServiceSpec:
    spec = ServiceSpec(**raw)
    return replace(spec, argv=tuple(spec.argv), after=tuple(spec.after))


def answer(**content: object) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> int:
    settings = load_settings(os.environ)
    names = tuple(sys.argv[1:])
    try:
        with open_stack(settings, names) as stack:
            answer(**describe(stack, names))
            for line in sys.stdin:
                asked = json.loads(line)
                names += tuple(asked["names"])
                stack.ensure(*asked["names"], extra=[parse_spec(raw) for raw in asked["extra"]])
                stack.wait_ready()
                answer(**describe(stack, names))
    except TenantryError as error:
        answer(code=error.code, message=error.message, hint=error.hint)
        return 1
    answer(closed=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

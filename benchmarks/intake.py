"""How many executions a second the API takes in, beside a bare route that inserts the same row.

    .venv/bin/python -m benchmarks.intake [--seconds 8] [--rounds 3] [--json]

Both servers are processes of their own with one worker, asked in turns by the same 16 clients
over kept connections; the median of the rounds counts. Bulk: 10,000 inputs a request, as NDJSON.
"""

import argparse
import http.client
import json
import statistics
import sys
import threading
import time
from datetime import timedelta

from deployments.embedded.stack import open_stack
from deployments.settings import load_settings
from domain.clock import utc_now
from persistence.sessions import Database
from persistence.tokens import add_token
from tests.support.api_process import serving
from tests.support.databases import (
    ACME,
    ADMIN,
    add_organizations,
    cluster_of,
    open_roles,
)
from tests.support.factories import simple_workflow
from tests.support.homes import temporary_home

CLIENTS = 16


def post_for(port: int, path: str, headers: dict[str, str], *, seconds: float) -> float:
    """Post from all clients at once; return accepted requests a second."""
    counts = [0] * CLIENTS
    ends_at = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"workflow_id": "simple", "input": {"text": "find leads"}})
        while time.monotonic() < ends_at:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.ACCEPTED:
                raise RuntimeError(f"{path} answered {answer.status}")
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started)


def post_bulk(port: int, headers: dict[str, str]) -> float:
    """Post 10,000 inputs in one request; return executions a second."""
    lines = "\n".join(json.dumps({"text": f"find leads {n}"}) for n in range(10_000))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    started = time.monotonic()
    connection.request(
        "POST",
        "/api/v1/executions/bulk?workflow_id=simple",
        lines.encode(),
        {**headers, "Content-Type": "application/x-ndjson"},
    )
    answer = connection.getresponse()
    text = answer.read()
    took_s = time.monotonic() - started
    connection.close()
    if answer.status != http.client.ACCEPTED:
        raise RuntimeError(f"bulk answered {answer.status}: {text[:500]!r}")
    return 10_000 / took_s


def prepare(database: Database) -> str:
    """Make an organization with a workflow; return a token for it."""
    add_organizations(database)
    simple_workflow(database, ACME)
    with database.org(ACME, user_id=ADMIN) as session:
        _, secret = add_token(
            session, ADMIN, name="bench", expires_at=utc_now() + timedelta(hours=1)
        )
    return secret


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[float]] = {"api": [], "bare": [], "bulk": []}
    with temporary_home() as home:
        settings = load_settings({"TENANTRY_HOME": str(home)})
        with open_stack(settings, ("postgres",)) as stack:
            cluster = cluster_of(stack.superuser_url, stack.database_url)
            url = cluster.copy(cluster.make_template())
            with open_roles(url) as database:
                secret = prepare(database)
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            with serving("api.service", url) as ours, serving("benchmarks.bare_route", url) as bare:
                for _ in range(options.rounds):
                    for name, port, path in (
                        ("bare", bare, "/executions"),
                        ("api", ours, "/api/v1/executions"),
                    ):
                        rate = post_for(port, path, headers, seconds=options.seconds)
                        found[name].append(rate)
                    found["bulk"].append(post_bulk(ours, headers))
    median = {name: statistics.median(rates) for name, rates in found.items()}
    ratio = median["api"] / median["bare"]
    if options.json:
        sys.stdout.write(json.dumps({"per_s": found, "api_over_bare": ratio}) + "\n")
        return
    for name, rates in found.items():
        sys.stdout.write(
            f"{name:5} {median[name]:8.0f} executions/s   ({min(rates):.0f} to {max(rates):.0f})\n"
        )
    sys.stdout.write(f"api over bare: {ratio:.2f}\n")


if __name__ == "__main__":
    main()

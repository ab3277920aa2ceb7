"""A Prefect whose database is restarting: it answers 500, having done what was asked or not."""

import json
from collections import Counter
from contextlib import AbstractContextManager

import httpx

from tests.support.prefect_proxy import PrefectProxy, serving


class BrokenPrefect(PrefectProxy):
    """Passes everything on, but answers the first two proposals of a flow's states with 500.

    The first of them is not passed on, the answer of the second is lost. Pending is no state of a
    flow's: Prefect's own worker proposes it, and the steward sees to what it leaves behind.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.proposals: Counter[str] = Counter()
        """How often each state was proposed, by its type."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        proposals = 0
        if request.url.path.endswith("/set_state"):
            kind = json.loads(request.content)["state"]["type"]
            self.proposals[kind] += 1
            proposals = 0 if kind == "PENDING" else self.proposals[kind]
        if proposals == 1:
            return httpx.Response(500)
        answer = self.target.send(request)
        return httpx.Response(500) if proposals == 2 else answer


def broken_prefect(url: str) -> AbstractContextManager[BrokenPrefect]:
    """Stand before a Prefect server until the block ends."""
    return serving(BrokenPrefect(url))

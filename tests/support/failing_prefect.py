"""A Prefect that fails at the requests of one workflow, and answers all others."""

from contextlib import AbstractContextManager

import httpx

from tests.support.prefect_proxy import PrefectProxy, serving


class FailingPrefect(PrefectProxy):
    """Passes on what it is asked, but for requests with a marked body."""

    def __init__(self, url: str, *, answers_500_to: bytes, hangs_up_on: bytes) -> None:
        super().__init__(url)
        self.answers_500_to, self.hangs_up_on = answers_500_to, hangs_up_on
        self.is_down = False
        """Whether it answers 500 to everything, `/ready` included, as without its database."""

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        """Answer a request; `None` hangs up."""
        if self.hangs_up_on in request.content:
            return None
        if self.is_down or self.answers_500_to in request.content:
            return httpx.Response(500)
        return self.target.send(request)


def failing_prefect(
    url: str, *, answers_500_to: bytes, hangs_up_on: bytes
) -> AbstractContextManager[FailingPrefect]:
    """Stand before a Prefect server until the block ends."""
    return serving(FailingPrefect(url, answers_500_to=answers_500_to, hangs_up_on=hangs_up_on))

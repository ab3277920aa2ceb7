"""A client of the REST API that does not give up: it asks again until it is answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx

from domain.ids import OrgId
from domain.json_data import JsonObject
from tests.chaos.clock import Clock
from tests.chaos.load import Wish

_PATIENCE_S = 240.0
_PAUSE_S = 0.5
_TIMEOUT_S = 15.0
_AT_A_TIME = 48
_MOST_BATCHES = 200


@dataclass(slots=True)
class Answer:
    """What the API has said to a wish."""

    wish: Wish
    ids: set[str] = field(default_factory=set)
    """All ids that it was ever given for it: one, or those of a batch."""
    is_accepted: bool = False
    """Whether it was answered. A batch is asked for once: unanswered, it is there or not."""
    cancel_was_asked: bool = False


@dataclass(slots=True)
class Client:
    """Sends wishes, each at its time, and keeps what was answered."""

    url: str
    tokens: Mapping[OrgId, str]
    answers: list[Answer] = field(default_factory=list)
    troubles: Counter[str] = field(default_factory=Counter)
    """What went wrong on the way, by kind: errors of the connection, and statuses."""
    refusals: list[str] = field(default_factory=list)
    """Answers that no fault excuses."""

    async def send_all(self, wishes: Sequence[Wish], clock: Clock) -> None:
        """Send everything, in the order of the times; ends when all is answered, or given up."""
        slots = asyncio.Semaphore(_AT_A_TIME)
        async with httpx.AsyncClient(base_url=f"{self.url}/api/v1", timeout=_TIMEOUT_S) as http:

            async def send(wish: Wish) -> None:
                async with slots:
                    answer = await self._ask_until_accepted(http, wish)
                if wish.cancel_after_s is not None and answer.is_accepted:
                    await asyncio.sleep(wish.cancel_after_s)
                    async with slots:
                        await self._cancel(http, answer)

            async with asyncio.TaskGroup() as group:
                for wish in wishes:
                    await clock.wait_until(wish.at_s)
                    group.create_task(send(wish))

    async def _ask_until_accepted(self, http: httpx.AsyncClient, wish: Wish) -> Answer:
        answer = await self._ask_for(http, wish)
        number = 0
        # A batch has no key: one that was not answered is left, and another one is sent.
        while wish.is_batch and not answer.is_accepted:
            number += 1
            if number == _MOST_BATCHES:
                self.refusals.append(f"{wish.name}: not accepted in {_MOST_BATCHES} batches")
                break
            await asyncio.sleep(_PAUSE_S)
            answer = await self._ask_for(http, wish.anew(number))
        return answer

    async def _ask_for(self, http: httpx.AsyncClient, wish: Wish) -> Answer:
        answer = Answer(wish)
        self.answers.append(answer)
        body: JsonObject = {"workflow_id": wish.workflow, "priority": wish.priority}
        if wish.is_batch:
            body |= {"inputs": list(wish.inputs), "batch_id": wish.name}
            path = "/executions/bulk?execution_ids=true"
        else:
            body |= {"input": wish.inputs[0], "idempotency_key": wish.name}
            path = "/executions"
        found = await self._post(http, wish.org_id, path, body, tries=1 if wish.is_batch else None)
        if found is None:
            return answer
        if found.status_code != HTTPStatus.ACCEPTED:
            self.refusals.append(f"{wish.name}: {found.status_code} {found.text[:300]}")
            return answer
        answer.is_accepted = True
        said = found.json()
        answer.ids |= set(said["execution_ids"]) if wish.is_batch else {said["id"]}
        return answer

    async def _cancel(self, http: httpx.AsyncClient, answer: Answer) -> None:
        (id,) = answer.ids
        answer.cancel_was_asked = True
        path = f"/executions/{id}/cancel"
        found = await self._post(http, answer.wish.org_id, path, {}, tries=None)
        # It may have ended by itself.
        if found is not None and found.status_code not in (
            HTTPStatus.ACCEPTED,
            HTTPStatus.CONFLICT,
        ):
            self.refusals.append(f"cancel {id}: {found.status_code} {found.text[:300]}")

    async def _post(
        self,
        http: httpx.AsyncClient,
        org_id: OrgId,
        path: str,
        body: JsonObject,
        *,
        tries: int | None,
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {self.tokens[org_id]}"}
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                found = await http.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                self.troubles[type(error).__name__] += 1
            else:
                if found.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                    return found
                self.troubles[str(found.status_code)] += 1
            if tries is not None:
                tries -= 1
                if tries == 0:
                    return None
            if time.monotonic() > deadline:
                self.refusals.append(f"{path}: not answered in {_PATIENCE_S:.0f} s")
                return None
            await asyncio.sleep(_PAUSE_S)

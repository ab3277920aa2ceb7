"""The agent that reads a request for leads, without a language model."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from agents.errors import AgentInputInvalid
from agents.interface import Agent, AgentConfig, AgentContext
from agents.json_output import clean_text
from agents.per_item import run_per_item
from agents.requests.draft import MAX_REQUEST_CHARS
from agents.requests.reading import read_request
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentInput, AgentOutcome, AgentValue


class LeadRequestConfig(AgentConfig):
    """How requests are read."""

    max_chars: Annotated[int, Field(ge=1, le=MAX_REQUEST_CHARS)] = MAX_REQUEST_CHARS
    """Longest request that is accepted, in characters; longer ones are refused."""


class LeadRequest(Agent[LeadRequestConfig]):
    """Reads a sentence by rules: industries, places, sizes, years, statuses, exclusions."""

    type = "lead_request"
    description = (
        "Reads a request such as `fintech in New York with 50+ employees` and turns it into "
        "criteria, saying which reading it took."
    )
    example: ClassVar[JsonObject] = {}
    Config = LeadRequestConfig
    concurrency = 1

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[LeadRequestConfig]
    ) -> Sequence[AgentOutcome]:
        """Read the text of every item."""
        this_year = datetime.now(UTC).year

        async def handle(item: AgentInput) -> AgentValue:
            # In a thread: heartbeats, time-outs and other runs share the worker's event loop.
            return await asyncio.to_thread(
                _read, item, max_chars=context.config.max_chars, this_year=this_year
            )

        return await run_per_item(items, handle, context=context, concurrency=self.concurrency)


def _read(item: AgentInput, *, max_chars: int, this_year: int) -> AgentValue:
    text = item.input_data.get("text")
    if text is None or (isinstance(text, str) and not text.strip()):
        raise AgentInputInvalid(
            "The request is empty.",
            hint='Say which leads are wanted in `text`, such as "fintech in Boston, 50+ people".',
        )
    if not isinstance(text, str):
        raise AgentInputInvalid(
            "The request in `text` is not a text.",
            hint='Give a sentence in quotes, such as "fintech in Boston, 50+ people".',
        )
    if clean_text(text) != text:
        raise AgentInputInvalid(
            "The request holds a character that cannot be stored (NUL, or half a surrogate pair).",
            hint="Remove it; it is often left over from a binary file.",
        )
    found = read_request(text, this_year=this_year, max_chars=max_chars)
    criteria: dict[str, JsonValue] = found.criteria.model_dump(mode="json", exclude_defaults=True)
    return AgentValue(
        data={
            "criteria": criteria,
            "reading": found.reading,
            "notes": list(found.notes),
            "unsupported": list(found.unsupported),
        }
    )

"""The agent that reads a request for leads, without a language model."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import Field

from agents.errors import AgentInputInvalid
from agents.interface import Agent, AgentConfig, AgentContext
from agents.json_output import clean_text
from agents.per_item import run_per_item
from agents.requests.reading import read_request
from domain.json_data import JsonObject, JsonValue
from domain.outcomes import AgentInput, AgentOutcome, AgentValue

MAX_TEXT_CHARS = 20_000


class LeadRequestConfig(AgentConfig):
    """How requests are read."""

    max_chars: Annotated[int, Field(ge=1, le=MAX_TEXT_CHARS)] = MAX_TEXT_CHARS
    """Longest request that is accepted, in characters."""


class LeadRequest(Agent[LeadRequestConfig]):
    """Reads a sentence by rules: industries, places, sizes, years, statuses, exclusions."""

    type = "lead_request"
    description = (
        "Reads a request such as `fintech in New York with 50+ employees` and turns it into "
        "criteria, saying which reading it took."
    )
    example: ClassVar[JsonObject] = {}
    Config = LeadRequestConfig

    async def run(
        self, items: Sequence[AgentInput], context: AgentContext[LeadRequestConfig]
    ) -> Sequence[AgentOutcome]:
        """Read the text of every item."""
        this_year = datetime.now(UTC).year

        async def handle(item: AgentInput) -> AgentValue:
            return _read(item, max_chars=context.config.max_chars, this_year=this_year)

        return await run_per_item(items, handle, context=context)


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
    if len(text) > max_chars:
        raise AgentInputInvalid(
            f"The request has {len(text):,} characters, and at most {max_chars:,} are read.",
            hint="Say in a sentence or two which leads are wanted.",
        )
    if clean_text(text) != text:
        raise AgentInputInvalid(
            "The request holds a character that cannot be stored (NUL, or half a surrogate pair).",
            hint="Remove it; it is often left over from a binary file.",
        )
    found = read_request(text, this_year=this_year)
    criteria: dict[str, JsonValue] = found.criteria.model_dump(mode="json", exclude_defaults=True)
    return AgentValue(
        data={
            "criteria": criteria,
            "reading": found.reading,
            "notes": list(found.notes),
            "unsupported": list(found.unsupported),
        }
    )

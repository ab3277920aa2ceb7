"""How executions are asked for: the fields that a single one and a batch share."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

from api.answers import READ_WHOLE, Text
from api.request_models import RequestModel, check_field_count
from domain.errors import ErrorCode, InvalidInput

MAX_BATCH = 10_000
"""Inputs in one request."""

_LABEL_KEY = "[A-Za-z0-9][A-Za-z0-9._/-]{0,62}"
_MAX_LABEL_CHARS = 200
_MAX_LABELS = 20


def _no_number(given: object) -> object:
    # Pydantic would read `5` as five seconds after 1970.
    if isinstance(given, str | datetime) and not re.fullmatch(r"[-+.\d]+", str(given)):
        return given
    raise ValueError("must be a time such as `2026-03-01T12:00:00Z`")


def _in_utc(given: datetime) -> datetime:
    # Postgres takes no offset of 16 hours or more.
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]
"""A time with its zone, as ISO 8601 text; in UTC once it is read."""

Name = Annotated[Text, Field(min_length=1, max_length=200)]
WorkflowReference = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=200,
        description="The workflow's id, slug or name.",
        examples=["wf_01jd3m3k7e9c5v2x8w4z6a1b0d"],
    ),
]
Version = Annotated[
    Annotated[int, Field(strict=True, ge=1, le=2**31 - 1), READ_WHOLE] | None,
    Field(
        description="A version of the workflow; without it, the newest that can run.",
    ),
]
Priority = Annotated[
    int, Field(strict=True, ge=1, le=5, description="1 comes first, 5 last."), READ_WHOLE
]
Deadline = Annotated[
    Moment | None, Field(description="When the answer is of no use any more; within 366 days.")
]
LabelKey = Annotated[str, Field(pattern=f"^{_LABEL_KEY}$")]
LabelValue = Annotated[Text, Field(max_length=_MAX_LABEL_CHARS)]
Labels = Annotated[
    dict[LabelKey, LabelValue],
    BeforeValidator(check_field_count),
    Field(
        max_length=_MAX_LABELS,
        description="Free words to find executions by.",
        examples=[{"campaign": "spring", "owner": "ohio team"}],
    ),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": _MAX_LABELS,
            "propertyNames": {"pattern": f"^{_LABEL_KEY}$"},
            "additionalProperties": {
                "type": "string",
                "maxLength": _MAX_LABEL_CHARS,
                "pattern": "^[^\\x00]*$",
            },
        }
    ),
]
_LABEL_PAIR = f"^{_LABEL_KEY}:[^\\x00]{{0,{_MAX_LABEL_CHARS}}}$"
LabelPair = Annotated[
    Text,
    Field(
        pattern=_LABEL_PAIR,
        # `Text` has a pattern for the document, which would hide this one.
        json_schema_extra={"pattern": _LABEL_PAIR},
        max_length=64 + _MAX_LABEL_CHARS,
        description="`key:value`",
        examples=["campaign:spring"],
    ),
]
Input = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "pattern": "\\S"},
                {"type": "object", "minProperties": 1},
            ]
        }
    ),
]


class ExecutionRequest(RequestModel):
    """An execution to queue."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "workflow_id": "lead-generation",
                    "input": "Find 20 software companies in Ohio with 50 to 200 employees",
                    "idempotency_key": "order-4711",
                    "labels": {"campaign": "spring"},
                },
                {
                    "workflow_id": "wf_01jd3m3k7e9c5v2x8w4z6a1b0d",
                    "input": {"text": "Find leads in Ohio", "region": "Midwest"},
                    "version": 3,
                    "priority": 1,
                    "deadline": "2026-03-01T12:00:00Z",
                },
            ]
        },
    )

    workflow_id: WorkflowReference
    input: Input = Field(description="A sentence, or an object with the workflow's fields.")
    version: Version = None
    priority: Priority = 3
    idempotency_key: Name | None = Field(
        default=None,
        description="The same key again answers the first execution, and queues nothing. The "
        "header `Idempotency-Key` means the same.",
    )
    deadline: Deadline = None
    labels: Labels = Field(default_factory=dict[str, str])


class LabelsInvalid(InvalidInput):
    """Labels in a query that cannot be told apart."""

    code = ErrorCode.FIELD_INVALID
    subject = "query"


def read_label_pairs(pairs: list[str]) -> dict[str, str]:
    """Read `key:value` texts.

    Raises:
        LabelsInvalid: a key has two values, which no execution has.
    """
    labels: dict[str, str] = {}
    for number, pair in enumerate(pairs):
        key, _, value = pair.partition(":")
        if labels.setdefault(key, value) != value:
            raise LabelsInvalid.one(
                ErrorCode.FIELD_INVALID,
                f"/query/label/{number}",
                f"The label `{key}` is given twice, with different values.",
                "An execution has one value for each key: give one of them.",
            )
    return labels

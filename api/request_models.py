"""What the models of bodies and queries have in common: they are closed, and cheap to refuse."""

from typing import cast

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

# More than any of them has. Pydantic tells of each wrong field by itself: a body of one MiB has
# room for a hundred thousand, which take seconds to tell and ten times as many bytes.
_MAX_FIELDS = 64


def check_field_count(data: object) -> object:
    """Refuse an object of very many fields as a whole, before any of them is looked at."""
    given = cast("dict[object, object]", data) if isinstance(data, dict) else {}
    if len(given) > _MAX_FIELDS:
        raise PydanticCustomError(
            "too_many_fields", "There are more than {limit} fields", {"limit": _MAX_FIELDS}
        )
    return cast("object", data)


class RequestModel(BaseModel):
    """A model of what a client sends."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_count(cls, data: object) -> object:
        return check_field_count(data)

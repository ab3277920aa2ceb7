"""The header `Idempotency-Key`: the same request again is answered, and not done again."""

from typing import Annotated

from fastapi import Header

from api.answers import Text

KeyHeader = Annotated[
    Text | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same request with the same key answers what the first one did, and does "
        "nothing; another request with it is refused.",
    ),
]

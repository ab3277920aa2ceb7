"""pydantic's errors in plain words, for any model: agent configs use it too."""

from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import ErrorCode, Problem
from domain.shape_problems import list_shape_problems


class Limits(BaseModel):
    """A model inside the model."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    most: Annotated[int, Field(gt=0, lt=10)] = 1
    """How many at most."""


class Config(BaseModel):
    """One field of every kind that agent configs have."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    count: Annotated[int, Field(ge=1, le=5)] = 1
    share: Annotated[float, Field(allow_inf_nan=False)] = 0.5
    price: Decimal = Decimal(1)
    on: bool = True
    mode: Literal["fast", "exact"] = "fast"
    code: Annotated[str, Field(pattern="^[a-z]+$", min_length=2, max_length=4)] = "abc"
    tags: Annotated[list[str], Field(min_length=1, max_length=2)] = ["x"]
    weights: dict[str, float] = {}
    limits: Limits = Limits()
    many: list[Limits] = []
    either: int | list[str] = 1


def problems_of(document: object, **more: ErrorCode) -> list[Problem]:
    """List what is wrong with a config that stands at `/agents/0/config`."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(document)
    return list_shape_problems(
        caught.value, model=Config, document=document, pointer="/agents/0/config", **more
    )


@pytest.mark.parametrize(
    ("document", "pointer", "message"),
    [
        ({"count": 9}, "/count", "`count` must be at most 5, but is 9."),
        ({"count": 0}, "/count", "`count` must be at least 1, but is 0."),
        ({"count": "x"}, "/count", "`count` must be a whole number, but is text."),
        ({"count": 1.5}, "/count", "`count` must be a whole number, but is 1.5."),
        ({"count": None}, "/count", "`count` must be a whole number, but is empty."),
        ({"share": []}, "/share", "`share` must be a number, but is a list."),
        ({"share": float("nan")}, "/share", "`share` must be a finite number."),
        ({"price": "x"}, "/price", "`price` must be a number, but is text."),
        ({"on": "maybe"}, "/on", "`on` must be true or false, but is text."),
        ({"mode": "slow"}, "/mode", "`mode` is none of the allowed values."),
        ({"code": "A1"}, "/code", "`code` has the wrong form."),
        ({"code": "a"}, "/code", "`code` is too short."),
        ({"code": "abcde"}, "/code", "`code` is too long."),
        ({"tags": []}, "/tags", "`tags` has too few items."),
        ({"tags": ["a", "b", "c"]}, "/tags", "`tags` has too many items."),
        ({"tags": ["a", 1]}, "/tags/1", "Item 2 of `tags` must be text, but is 1."),
        ({"weights": []}, "/weights", "`weights` must be an object, but is a list."),
        ({"limits": 1}, "/limits", "`limits` must be an object, but is 1."),
        ({"limits": {"most": 10}}, "/limits/most", "`most` must be less than 10, but is 10."),
        ({"many": [{}, {"most": 0}]}, "/many/1/most", "`most` must be more than 0, but is 0."),
        ({"cuont": 1}, "/cuont", "There is no field `cuont` here."),
        ([], "", "The document must be an object, but is a list."),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(document: object, pointer: str, message: str):
    (problem,) = problems_of(document)
    assert (problem.pointer, problem.message) == (f"/agents/0/config{pointer}", message)
    assert "{" not in problem.hint.replace("{…}", "")


def test_the_hint_repeats_what_the_field_means():
    (problem,) = problems_of({"limits": {"most": 10}})
    assert problem.hint == "Give a number below 10. It means: How many at most."


def test_an_unknown_field_of_an_inner_model_gets_that_models_names():
    (problem,) = problems_of({"many": [{"mots": 1}]})
    assert problem.hint == "Did you mean `most`? Possible fields: `most`."


def test_alternatives_point_at_the_value_that_fits_none():
    assert {problem.pointer for problem in problems_of({"either": {}})} == {
        "/agents/0/config/either"
    }


def test_a_caller_may_choose_the_code():
    (problem,) = problems_of({"count": 9}, code=ErrorCode.AGENT_CONFIG_INVALID)
    assert problem.code is ErrorCode.AGENT_CONFIG_INVALID

"""API tokens: made once, shown once."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from api.access import Access, allow
from api.answers import PROBLEMS, Text
from api.idempotency import KeyHeader
from api.request_models import RequestModel
from api.routes.execution_wishes import Moment
from domain.clock import utc_now
from domain.errors import ErrorCode, InvalidInput, TenantryError
from domain.ids import TokenId
from domain.json_data import JsonObject
from domain.permissions import Permission
from persistence.idempotency import claim_key, hash_content, keep_answer
from persistence.tokens import ApiToken, add_token, get_live_token, list_tokens, revoke_token

router = APIRouter(prefix="/tokens", tags=["tokens"], responses=PROBLEMS)

_MAX_LIFE = timedelta(days=366)
_OPERATION = "tokens"
Own = Annotated[Access, Depends(allow(Permission.TOKENS_OWN))]


class TokenWish(RequestModel):
    """A token to make."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "nightly import", "scopes": ["executions.execute"]}]
        },
    )

    name: Annotated[Text, Field(min_length=1, max_length=120)]
    scopes: list[Permission] | None = Field(
        default=None, max_length=50, description="What it may do; without it, all that you may."
    )
    expires_at: Moment | None = Field(
        default=None,
        description="At most 366 days from now, and no later than the end of the token that "
        "asks; without it, in 90 days, or with that one.",
    )


class Token(BaseModel):
    """What is known of a token."""

    id: str = Field(examples=["tok_01jd3m3k7e9c5v2x8w4z6a1b0d"])
    user_id: str = Field(examples=["user_anna"])
    name: str = Field(examples=["nightly import"])
    prefix: str = Field(
        description="How the token begins, to tell it from others.", examples=["tnt_dOyQ4H"]
    )
    parent_id: str | None = Field(
        description="The token that it was made with: it ends with it.", examples=[None]
    )
    scopes: list[Permission] | None
    created_at: datetime
    expires_at: datetime = Field(examples=["2027-02-21T12:00:00Z"])
    revoked_at: datetime | None = Field(examples=[None])
    last_used_at: datetime | None

    @classmethod
    def of(cls, token: ApiToken) -> "Token":
        """Show a token."""
        return cls(
            id=token.id,
            user_id=token.user_id,
            name=token.name,
            prefix=token.prefix,
            parent_id=token.parent_id,
            scopes=list(token.scopes) if token.scopes is not None else None,
            created_at=token.created_at,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
            last_used_at=token.last_used_at,
        )


class NewToken(Token):
    """A token and, this once, its secret."""

    secret: str = Field(
        description="Keep it now: it is shown this once, and kept nowhere.",
        examples=["tnt_dOyQ4HVKNlmE8IX6qFyR"],
    )


class TokenList(BaseModel):
    """Tokens, newest first."""

    items: list[Token]


class TokenWishInvalid(InvalidInput):
    """A token that cannot be made as asked for."""

    code = ErrorCode.REQUEST_INVALID
    subject = "token"


class TokenMadeBefore(TenantryError):
    """A token was made by the first request with this key, and its secret is told no more."""

    code = ErrorCode.EXECUTION_IDEMPOTENCY_CONFLICT

    def __init__(self, token_id: str) -> None:
        super().__init__(
            f"The first request with this key made the token `{token_id}`.",
            hint="A secret is told once. If it was lost, revoke that token, and make another with "
            "a new key.",
        )


@router.post("", status_code=201)
def create_token(wish: TokenWish, access: Own, key: KeyHeader = None) -> NewToken:
    """Make a token for yourself, with your permissions or some of them; it dies with yours.

    A secret is told once: the same `Idempotency-Key` again makes no other token, and is refused.
    """
    now = utc_now()
    expires_at = wish.expires_at or now + timedelta(days=90)
    if not now < expires_at <= now + _MAX_LIFE:
        raise TokenWishInvalid.one(
            ErrorCode.FIELD_INVALID,
            "/expires_at",
            "The token's end is not between now and 366 days from now.",
            "Leave it out for 90 days, or choose a nearer time.",
        )
    # A narrowed token makes no token that may do more than itself.
    scopes = wish.scopes if wish.scopes is not None else list(access.principal.permissions)
    for permission in scopes:
        access.principal.check_can(permission)
    parent_id = access.principal.token_id
    with access.open() as session:
        content: JsonObject = {**wish.model_dump(mode="json"), "user": access.principal.user_id}
        made = None if key is None else claim_key(session, _OPERATION, key, hash_content(content))
        if made is not None:
            raise TokenMadeBefore(str(made["id"]))
        parent = get_live_token(session, parent_id)
        if wish.expires_at is not None and wish.expires_at > parent.expires_at:
            raise TokenWishInvalid.one(
                ErrorCode.FIELD_INVALID,
                "/expires_at",
                "The token would outlive the one that it is made with.",
                "Leave it out for the same end, or make it with a token that lives longer.",
            )
        token, secret = add_token(
            session,
            access.principal.user_id,
            name=wish.name,
            expires_at=expires_at,
            scopes=sorted(scopes),
            parent_id=parent_id,
        )
        if key is not None:
            keep_answer(session, _OPERATION, key, {"id": token.id})
    return NewToken(**Token.of(token).model_dump(), secret=secret)


@router.get("")
def list_own_tokens(access: Own) -> TokenList:
    """List your tokens; an administrator sees everybody's."""
    sees_all = access.principal.can(Permission.TOKENS_WRITE)
    with access.open() as session:
        tokens = list_tokens(session, of=None if sees_all else access.principal.user_id)
    return TokenList(items=[Token.of(token) for token in tokens])


@router.delete("/{token_id}")
def revoke(token_id: Annotated[Text, Path()], access: Own) -> Token:
    """Revoke a token of yours and all made with it, for good; administrators anybody's."""
    sees_all = access.principal.can(Permission.TOKENS_WRITE)
    with access.open() as session:
        token = revoke_token(
            session, TokenId(token_id), of=None if sees_all else access.principal.user_id
        )
    return Token.of(token)

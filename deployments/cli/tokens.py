"""`tenantry tokens`: let programs in through the API."""

from datetime import datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.text import Text

from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.screen import answers, clean, make_facts, make_table, show_json, show_time
from domain.clock import utc_now
from domain.ids import TokenId
from domain.json_data import JsonObject
from domain.permissions import Permission
from domain.text import Suggester, quote, read_name
from persistence.members import get_member
from persistence.tokens import ApiToken, add_token, list_tokens, revoke_token

_NAME_CHARS = 120

app = App(name="tokens", help="Make, list and revoke tokens for the API.")


@app.command
def create(
    *,
    name: str,
    scope: Annotated[list[str] | None, Parameter(negative="")] = None,
    days: Annotated[int, Parameter(validator=Number(gte=1, lte=366))] = 90,
    call: Invoked,
) -> int:
    """Make a token for yourself (or for `--user`), and show it this once.

    Args:
        name: What it is for, such as `nightly import`.
        scope: A permission that it has, such as `executions.read`; give several. Without any:
            all that its owner's role allows.
        days: How long it lets in.
    """
    try:
        shown_name = read_name(name, max_chars=_NAME_CHARS)
    except ValueError as error:
        raise CommandInvalid(
            f"The token's name {error}.", hint="Say in a few words what it is for."
        ) from error
    scopes = None if scope is None else sorted({_read_scope(text) for text in scope})
    with open_desk(call) as desk, desk.session() as session:
        member = get_member(session, call.user_id)
        token, secret = add_token(
            session,
            member.user_id,
            name=shown_name,
            expires_at=utc_now() + timedelta(days=days),
            scopes=scopes,
        )
    if call.as_json:
        show_json({**_document(token), "secret": secret})
        return DONE
    console = answers()
    console.print(Text.assemble(("✓ ", "green"), (token.id, "bold"), " is made. Keep it now:"))
    console.print(f"\n{secret}\n")
    console.print("  It is shown this once, and kept nowhere.")
    console.print(
        make_facts(
            ("  acts as", f"{token.user_id} in {token.org_id}"),
            ("  may", ", ".join(token.scopes) if token.scopes else "all that its owner may"),
            ("  until", f"{show_time(token.expires_at)} UTC"),
        )
    )
    return DONE


@app.command(name="list")
def list_(*, call: Invoked) -> int:
    """List the organization's tokens, the newest first."""
    with open_desk(call) as desk, desk.session() as session:
        tokens = list_tokens(session)
    if call.as_json:
        show_json({"tokens": [_document(token) for token in tokens]})
        return DONE
    if not tokens:
        answers().print("No tokens yet: `tenantry tokens create --name laptop`")
        return DONE
    table = make_table("id", "name", "user", "begins", "state", "until", "last used")
    for token in tokens:
        table.add_row(
            token.id,
            clean(token.name),
            token.user_id,
            token.prefix,
            _state(token),
            show_time(token.expires_at),
            show_time(token.last_used_at) or "never",
        )
    answers().print(table)
    return DONE


@app.command
def revoke(token_id: Annotated[str, Parameter(name="ID")], /, *, call: Invoked) -> int:
    """Revoke a token, at once and for good.

    Args:
        token_id: Its id, `tok_…`; not the token itself.
    """
    with open_desk(call) as desk, desk.session() as session:
        token = revoke_token(session, TokenId(token_id))
    if call.as_json:
        show_json(_document(token))
        return DONE
    answers().print(Text.assemble(("✓ ", "green"), (token.id, "bold"), " lets nobody in any more."))
    return DONE


def _read_scope(text: str) -> Permission:
    try:
        return Permission(text)
    except ValueError as error:
        nearest = Suggester(Permission).nearest(text)
        meant = f"Did you mean {quote(nearest)}? " if nearest else ""
        raise CommandInvalid(
            f"{quote(text)} is no permission.",
            hint=f"{meant}Permissions are: {', '.join(Permission)}.",
        ) from error


def _state(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at <= utc_now() else "valid"


def _document(token: ApiToken) -> JsonObject:
    return {
        "id": token.id,
        "org_id": token.org_id,
        "user_id": token.user_id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": [scope.value for scope in token.scopes] if token.scopes is not None else None,
        "created_at": token.created_at.isoformat(),
        "expires_at": token.expires_at.isoformat(),
        "revoked_at": _time(token.revoked_at),
        "last_used_at": _time(token.last_used_at),
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None

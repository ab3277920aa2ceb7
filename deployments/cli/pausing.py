"""`tenantry pause` and `tenantry resume`: whether anything starts, for all organizations."""

from rich.text import Text

from deployments.cli.invocation import DONE, Invoked
from deployments.cli.opening import open_quietly
from deployments.cli.screen import answers, clean, show_json, show_time
from domain.json_data import JsonObject, JsonValue
from domain.waiting import PauseScope
from persistence.pauses import Pause, add_pause, list_pauses, remove_pause


def pause(*, reason: str | None = None, call: Invoked) -> int:
    """Start nothing any more, for any organization; what runs goes on, what comes is queued.

    Args:
        reason: Why, for who looks later.
    """
    with open_quietly(call) as installation, installation.database.for_platform() as session:
        added = add_pause(session, PauseScope.INSTALLATION, by=call.user_id, reason=reason)
        found = list_pauses(session)
    if call.as_json:
        show_json(_document(found))
        return DONE
    since = show_time(added.paused_at)
    answers().print(
        Text.assemble(("✓ ", "green"), f"Paused since {since}. Go on with `tenantry resume`.")
    )
    return DONE


def resume(*, call: Invoked) -> int:
    """Start what waits again. No error where nothing was paused."""
    with open_quietly(call) as installation, installation.database.for_platform() as session:
        removed = remove_pause(session, PauseScope.INSTALLATION)
        found = list_pauses(session)
    if call.as_json:
        show_json(_document(found))
        return DONE
    console = answers()
    if removed is None:
        console.print("It was not paused.")
    elif not found:
        console.print(Text.assemble(("✓ ", "green"), "It goes on."))
    for each in found:
        console.print(
            f"Prefect's work pool is paused since {show_time(each.paused_at)}: resume it there."
        )
    return DONE


def _document(pauses: list[Pause]) -> JsonObject:
    found: list[JsonValue] = [
        {
            "scope": each.scope.value,
            "paused_at": each.paused_at.isoformat(),
            "paused_by": each.paused_by,
            "reason": clean(each.reason) if each.reason else None,
        }
        for each in pauses
    ]
    return {"paused": bool(found), "pauses": found}

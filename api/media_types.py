"""Content negotiation: which of a route's media types a client likes best (RFC 9110, 12.5.1)."""

import re
from collections.abc import Sequence

from domain.errors import ErrorCode, TenantryError

_MAX_RANGES = 50
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class NotAcceptable(TenantryError):
    """A client takes none of the media types that there are."""

    code = ErrorCode.MEDIA_TYPE_REFUSED

    def __init__(self, offered: Sequence[str]) -> None:
        super().__init__(
            "The answer exists in none of the media types that the request accepts.",
            hint=f"Accept one of: {', '.join(offered)}.",
        )


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """Choose the media type with the highest `q`; of equal ones the one that stands first here.

    For each type the most exact range counts: `text/csv` before `text/*` before `*/*`. What is
    no media range is passed over, and a header of nothing else is none.

    Raises:
        NotAcceptable: none of them is accepted.
    """
    ranges = _read_ranges(accept or "")
    if not ranges:
        return offered[0]
    qualities = [_quality_of(media_type, ranges) for media_type in offered]
    best = max(qualities)
    if best == 0:
        raise NotAcceptable(offered)
    return offered[qualities.index(best)]


def _read_ranges(accept: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for item in accept.split(",")[:_MAX_RANGES]:
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        kind, slash, subtype = name.partition("/")
        if not (kind and slash and subtype) or (kind == "*" and subtype != "*"):
            continue
        given = [p.removeprefix("q=") for p in parameters if p.startswith("q=")]
        if not given:
            ranges[name] = 1.0
        elif _QUALITY.fullmatch(given[0]):
            ranges[name] = float(given[0])
    return ranges


def _quality_of(media_type: str, ranges: dict[str, float]) -> float:
    kind = media_type.partition("/")[0]
    for name in (media_type, f"{kind}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0

"""Time: always aware, always UTC."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Say what time it is, as an aware UTC time."""
    return datetime.now(UTC)

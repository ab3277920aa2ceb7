"""What can go wrong between us and the services that we start ourselves."""

from pathlib import Path

from domain.errors import ErrorCode, TenantryError


class StackStartFailed(TenantryError):
    """A service of the embedded stack could not be started, or died too often."""

    code = ErrorCode.STACK_START_FAILED

    @classmethod
    def with_log(cls, message: str, log: Path, *, since: int = 0) -> "StackStartFailed":
        """Make the error for a service that wrote the reason to its log.

        Args:
            since: size of the log, in bytes, when the failed attempt began.
        """
        tail = read_tail(log, since=since)
        said = f" Its last lines:\n{tail}" if tail else ""
        return cls(message, hint=f"Look into {log}.{said}")


class StackBusy(TenantryError):
    """Another process holds the embedded stack for longer than we wait."""

    code = ErrorCode.STACK_BUSY
    retryable = True


def read_tail(log: Path, *, since: int = 0, lines: int = 12, limit_bytes: int = 8192) -> str:
    """Return the last lines that a log got after its first `since` bytes; empty without one."""
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            file.seek(max(since, size - limit_bytes))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])

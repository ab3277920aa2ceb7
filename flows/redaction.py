"""Keep the text of exceptions out of Prefect, where all its users see states and logs."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from domain.errors import ErrorCode, TenantryError
from domain.executions import LeaseLost

_LOG = logging.getLogger("tenantry.flows")


class RunBroken(TenantryError):
    """Something broke off for a reason that is no agent's."""

    code = ErrorCode.INTERNAL

    def __init__(self, kind: str) -> None:
        super().__init__(f"The run broke off ({kind}).", hint="The worker's log has the details.")


@contextmanager
def redact_errors(where: str) -> Generator[None]:
    """Log whatever is raised within, and raise an error without its text in its place."""
    try:
        yield
    except LeaseLost:
        # Ours, without content, and no fault: the run belongs to another worker now.
        raise
    except Exception as error:
        _LOG.exception("%s broke off", where)
        raise RunBroken(type(error).__name__) from None

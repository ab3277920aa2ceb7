"""What can go wrong inside agents and connectors, sorted by who must act."""

from domain.errors import ErrorCode, TenantryError


class AgentInputInvalid(TenantryError):
    """An item holds nothing that the agent can work on."""

    code = ErrorCode.AGENT_INPUT_INVALID


class RequestUnclear(TenantryError):
    """A request contradicts itself, or says too little to search by."""

    code = ErrorCode.REQUEST_UNCLEAR


class ConnectorNotFound(TenantryError):
    """The organization has no connector of that name."""

    code = ErrorCode.CONNECTOR_NOT_FOUND


class ConnectorInvalid(TenantryError):
    """A connector's definition asks for what no connector may do."""

    code = ErrorCode.CONNECTOR_INVALID


class ConnectorUnreachable(TenantryError):
    """The place where the records are kept does not answer: it may later."""

    code = ErrorCode.CONNECTOR_UNREACHABLE
    retryable = True


class ConnectorTimedOut(TenantryError):
    """The records did not come in time: a server that is silent, a query that does not end."""

    code = ErrorCode.CONNECTOR_TIMED_OUT
    retryable = True


class ReaderFailed(TenantryError):
    """The process that read the records ended before it had answered."""

    code = ErrorCode.DATA_UNREADABLE

    def __init__(self, shown: str) -> None:
        super().__init__(
            f"Reading {shown} broke off.",
            hint="The records are damaged, or need more memory than one read may take: export "
            "them again with fewer rows and columns.",
        )


class DataNotFound(TenantryError):
    """The connector works, but keeps nothing under that name."""

    code = ErrorCode.DATA_NOT_FOUND


class DataUnreadable(TenantryError):
    """The records are there but are not what the connector was told to expect."""

    code = ErrorCode.DATA_UNREADABLE


class DataTooLarge(TenantryError):
    """More records than one batch may load."""

    code = ErrorCode.DATA_TOO_LARGE


class DataFieldMissing(TenantryError):
    """A column that the agent needs is not among the columns of the records."""

    code = ErrorCode.DATA_FIELD_MISSING

"""Give the agents of one run the connectors of its organization, and of no other."""

import logging

from pydantic import TypeAdapter, ValidationError

from agents.connectors.definitions import ConnectorDefinition
from agents.connectors.opening import OrgConnectors
from agents.interface import Connectors
from flows.runtime import Runtime
from persistence.connectors import find_dataset, list_connectors
from persistence.sessions import OrgSession

_LOG = logging.getLogger("tenantry.connectors")
_DEFINITION: TypeAdapter[ConnectorDefinition] = TypeAdapter(ConnectorDefinition)


def make_connectors(runtime: Runtime, session: OrgSession) -> Connectors:
    """Read the connector definitions of a session's organization.

    Records are read when an agent asks, in transactions of their own.

    A definition that is no longer valid is left out, with a line in the log: the agents that
    name it say that it is missing, and the others work.
    """

    org_id = session.org_id

    def read_dataset(name: str) -> bytes | None:
        with runtime.database.org(org_id) as own:
            return find_dataset(own, name)

    stored = list_connectors(session)
    definitions: dict[str, ConnectorDefinition] = {}
    for name, settings in stored.items():
        try:
            definitions[name] = _DEFINITION.validate_python(settings)
        except ValidationError as error:
            _LOG.error(
                "connector %r of %s is not valid: %d problems", name, org_id, error.error_count()
            )
    return OrgConnectors(
        definitions, data_root=runtime.data_root / org_id, read_dataset=read_dataset
    )

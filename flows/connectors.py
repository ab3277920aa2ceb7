"""Give the agents of one run the connectors of its organization, and of no other."""

from agents.connectors.definitions import OrgConnectors, parse_connector
from agents.interface import Connectors
from domain.ids import OrgId
from flows.runtime import Runtime
from persistence.connectors import find_dataset, list_connectors


def make_connectors(runtime: Runtime, org_id: OrgId) -> Connectors:
    """Read an organization's connector definitions; records are read when an agent asks."""

    def read_dataset(name: str) -> bytes | None:
        with runtime.database.org(org_id) as session:
            return find_dataset(session, name)

    with runtime.database.org(org_id) as session:
        stored = list_connectors(session)
    return OrgConnectors(
        {name: parse_connector(settings) for name, settings in stored.items()},
        data_root=runtime.data_root / org_id,
        read_dataset=read_dataset,
    )

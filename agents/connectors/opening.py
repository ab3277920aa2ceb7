"""From a connector's definition to the connector."""

from collections.abc import Mapping
from pathlib import Path

from agents.connectors.datasets import DatasetRecords, ReadDataset
from agents.connectors.definitions import ConnectorDefinition, FileConnector, SqlConnector
from agents.connectors.files import FileRecords
from agents.connectors.sql import SqlRecords
from agents.errors import ConnectorNotFound
from agents.interface import Connector
from domain.text import Suggester, quote


def open_connector(
    definition: ConnectorDefinition, *, data_root: Path, read_dataset: ReadDataset
) -> Connector:
    """Make the connector that a definition describes. Nothing is read before `load`.

    `data_root` is the organization's own folder: no connector reads a file outside it.
    """
    if isinstance(definition, FileConnector):
        return FileRecords(definition, data_root=data_root)
    if isinstance(definition, SqlConnector):
        return SqlRecords(definition, data_root=data_root)
    return DatasetRecords(read_dataset=read_dataset)


class OrgConnectors:
    """The connectors of one organization, by the names that it gave them."""

    def __init__(
        self,
        definitions: Mapping[str, ConnectorDefinition],
        *,
        data_root: Path,
        read_dataset: ReadDataset,
    ) -> None:
        self._definitions = dict(definitions)
        self._data_root, self._read_dataset = data_root, read_dataset

    def open(self, name: str) -> Connector:
        """Find a connector by its name.

        Raises:
            ConnectorNotFound: the organization has none of that name.
        """
        definition = self._definitions.get(name)
        if definition is None:
            near = Suggester(self._definitions).nearest(name)
            names = ", ".join(quote(each) for each in sorted(self._definitions)[:10])
            hint = f"Did you mean {quote(near)}? " if near else ""
            hint += f"Connectors: {names}." if names else "Add a connector first."
            raise ConnectorNotFound(
                f"Your organization has no connector called {quote(name)}.", hint=hint
            )
        return open_connector(
            definition, data_root=self._data_root, read_dataset=self._read_dataset
        )

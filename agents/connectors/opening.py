"""From a connector's definition to the connector."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from agents.connectors.datasets import DatasetRecords, ReadDataset
from agents.connectors.definitions import ConnectorDefinition, FileConnector, SqlConnector
from agents.connectors.files import FileRecords
from agents.connectors.limits import DEFAULT_LIMITS, ReadLimits
from agents.connectors.object_types import check_object_type
from agents.connectors.reader import read_apart
from agents.connectors.sql import SqlRecords
from agents.errors import ConnectorNotFound
from agents.interface import Connector
from domain.addresses import AddressRules
from domain.text import Suggester, quote

NO_RULES = AddressRules()


def open_connector(
    definition: ConnectorDefinition,
    *,
    data_root: Path,
    read_dataset: ReadDataset,
    rules: AddressRules = NO_RULES,
    limits: ReadLimits = DEFAULT_LIMITS,
) -> Connector:
    """Make the connector that a definition describes, for reading in this process.

    Nothing is read before `load`. `data_root` is the organization's own folder: no connector
    reads a file outside it.
    """
    if isinstance(definition, FileConnector):
        return FileRecords(definition, data_root=data_root, limits=limits)
    if isinstance(definition, SqlConnector):
        return SqlRecords(definition, data_root=data_root, rules=rules, limits=limits)
    return DatasetRecords(read_dataset=read_dataset, limits=limits)


@dataclass(frozen=True, slots=True)
class _ReadRequest:
    """One read, as the reading process is told of it: all that it gets to know."""

    definition: ConnectorDefinition
    data_root: Path
    object_type: str
    dataset: bytes | None
    rules: AddressRules
    limits: ReadLimits

    def __call__(self) -> pd.DataFrame:
        connector = open_connector(
            self.definition,
            data_root=self.data_root,
            read_dataset=lambda _name: self.dataset,
            rules=self.rules,
            limits=self.limits,
        )
        return connector.load(self.object_type)


class ApartConnector:
    """Reads in a process of its own, which may fill its memory or hang without harm to others."""

    def __init__(
        self,
        definition: ConnectorDefinition,
        *,
        data_root: Path,
        read_dataset: ReadDataset,
        rules: AddressRules,
        limits: ReadLimits,
    ) -> None:
        self._definition, self._data_root = definition, data_root
        self._read_dataset, self._rules, self._limits = read_dataset, rules, limits

    def load(self, object_type: str) -> pd.DataFrame:
        """Read one object type whole."""
        check_object_type(object_type)
        is_kept = self._definition.kind == "dataset"
        request = _ReadRequest(
            self._definition,
            self._data_root,
            object_type,
            dataset=self._read_dataset(object_type) if is_kept else None,
            rules=self._rules,
            limits=self._limits,
        )
        return read_apart(
            request, shown=quote(object_type), limits=self._limits, turn=str(self._data_root)
        )


class OrgConnectors:
    """The connectors of one organization, by the names that it gave them."""

    def __init__(
        self,
        definitions: Mapping[str, ConnectorDefinition],
        *,
        data_root: Path,
        read_dataset: ReadDataset,
        rules: AddressRules = NO_RULES,
        limits: ReadLimits = DEFAULT_LIMITS,
    ) -> None:
        self._definitions = dict(definitions)
        self._data_root, self._read_dataset = data_root, read_dataset
        self._rules, self._limits = rules, limits

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
        return ApartConnector(
            definition,
            data_root=self._data_root,
            read_dataset=self._read_dataset,
            rules=self._rules,
            limits=self._limits,
        )

"""How an organization describes where its records are."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

OBJECT_TYPE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
ObjectType = Annotated[str, StringConstraints(pattern=OBJECT_TYPE_PATTERN)]
"""Name of a kind of records (`companies`): letters, digits, `_`, no digit first, at most 63
characters. It becomes a file's or a table's name, so nothing else may ever get through."""

RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=400)]


class _Definition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class FileConnector(_Definition):
    """CSV, Parquet or JSON-lines files below the organization's data folder."""

    kind: Literal["file"]

    folder: RelativePath = "."
    """Folder of the files, relative to the data folder."""

    files: dict[ObjectType, RelativePath] = Field(default_factory=dict[str, str])
    """File of each object type, relative to `folder`, where it isn't called like the type."""

    encoding: Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1", "shift_jis"] = "utf-8"
    """How CSV and JSON-lines files encode letters."""

    delimiter: Literal[",", ";", "\t", "|"] | None = None
    """What separates the fields of a CSV file; without one it is taken from the first line."""


class SqlConnector(_Definition):
    """Tables and views of a PostgreSQL or SQLite database, read only."""

    kind: Literal["sql"]

    url: SecretStr
    """`postgresql+psycopg://user:password@host:5432/name`, or `sqlite:///file.db` for a file
    below the organization's data folder."""

    schema_name: ObjectType | None = None
    """Schema of the tables; without one, the database's own default."""

    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 200_000
    """A table with more rows is refused, so that one workflow can't fill the worker's memory."""


class DatasetConnector(_Definition):
    """Rows that were uploaded to Tenantry and are kept with the organization."""

    kind: Literal["dataset"]


ConnectorDefinition = Annotated[
    FileConnector | SqlConnector | DatasetConnector, Field(discriminator="kind")
]

"""`tenantry data`: load records that Tenantry keeps for an organization."""

from typing import Literal

import pandas as pd
from cyclopts import App
from rich.text import Text

from agents.connectors.definitions import FileConnector
from agents.connectors.files import FileRecords
from agents.connectors.object_types import check_object_type
from agents.connectors.parquet import dataset_bytes
from agents.errors import DataUnreadable
from deployments.cli.invocation import DONE, CommandInvalid, Invoked
from deployments.cli.opening import open_desk
from deployments.cli.reading import check_file
from deployments.cli.screen import Progress, answers, clean, make_facts, show_json
from domain.text import quote
from persistence.connectors import list_connectors, set_dataset

_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".jsonl"})
_SHOWN_COLUMNS = 12

Encoding = Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1", "shift_jis"]
Delimiter = Literal["comma", "semicolon", "tab", "pipe"]
_DELIMITERS: dict[str, Literal[",", ";", "\t", "|"]] = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "pipe": "|",
}

app = App(name="data", help="Load records that Tenantry keeps.")


@app.command
def load(
    name: str,
    file: str,
    /,
    *,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter | None = None,
    call: Invoked,
) -> int:
    """Load a file, in place of what was loaded under that name before.

    Agents read it through a connector of kind `dataset`, with NAME as `object_type`.

    Args:
        name: What the records are, such as `companies`.
        file: A .csv, .tsv, .parquet or .jsonl file.
        encoding: How a .csv or .jsonl file encodes letters.
        delimiter: What separates the fields of a .csv file; else taken from its first line.
    """
    frame = _read(name, file, encoding=encoding, delimiter=delimiter)
    content = _pack(frame, file)
    with open_desk(call) as desk, desk.session() as session:
        replaced = set_dataset(session, name, content, row_count=len(frame))
        kinds = {key: value.get("kind") for key, value in list_connectors(session).items()}
    columns = [str(column) for column in frame.columns]
    if call.as_json:
        show_json(
            {
                "name": name,
                "rows": len(frame),
                "size_bytes": len(content),
                "columns": [*columns],
                "replaced_rows": replaced,
            }
        )
        return DONE
    console = answers()
    rows = "one row is" if len(frame) == 1 else f"{len(frame):,} rows are"
    instead = "" if replaced is None else f", in place of {replaced:,} that were there"
    console.print(Text.assemble(("✓ ", "green"), (name, "bold"), f": {rows} loaded{instead}."))
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    shown = ", ".join(columns[:_SHOWN_COLUMNS]) + more
    console.print(make_facts(("  columns", shown)))
    connector = next((key for key, kind in kinds.items() if kind == "dataset"), None)
    if connector is None:
        console.print(
            "  Agents read it through a connector: "
            "`echo 'kind: dataset' | tenantry connectors set uploads -f -`"
        )
    else:
        console.print(f"  In an agent's config: connector: {clean(connector)}, object_type: {name}")
    return DONE


def _read(name: str, file: str, *, encoding: Encoding, delimiter: Delimiter | None) -> pd.DataFrame:
    check_object_type(name)
    # The reader keeps tenants inside a folder; here the folder is wherever the file is.
    path = check_file(file).resolve()
    if path.suffix.lower() not in _SUFFIXES:
        raise CommandInvalid(
            f"{quote(path.name)} is of no kind that can be loaded.",
            hint="Give a .csv, .tsv, .parquet or .jsonl file.",
        )
    definition = FileConnector(
        kind="file",
        files={name: path.name},
        encoding=encoding,
        delimiter=_DELIMITERS[delimiter] if delimiter else None,
    )
    with Progress(f"Reading {path.name}"):
        try:
            return FileRecords(definition, data_root=path.parent).load(name)
        except DataUnreadable as error:
            hint = error.hint.replace("Set `encoding` on the connector", "Give `--encoding`")
            raise DataUnreadable(
                error.message, hint=hint.replace("set `delimiter`", "give `--delimiter`")
            ) from error


def _pack(frame: pd.DataFrame, file: str) -> bytes:
    if not len(frame.columns) or not len(frame):
        raise DataUnreadable(
            f"The file {quote(file)} holds no rows.",
            hint="The first line must hold the names of the columns, the others the records.",
        )
    try:
        return dataset_bytes(frame)
    except (ValueError, TypeError, NotImplementedError) as error:  # pyarrow's derive from these
        raise DataUnreadable(
            f"The rows of {quote(file)} do not fit into one table.",
            hint="Give every field values of one kind only: all text, or all numbers.",
        ) from error

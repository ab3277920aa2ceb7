"""An execution's output, as JSON or as a table."""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Response

from api.access import Access, allow
from api.answers import Text
from api.media_types import choose_media_type
from api.tables import Table, table_of, write_csv, write_parquet
from domain.errors import ErrorCode, TenantryError
from domain.executions import Execution
from domain.ids import ExecutionId
from domain.json_data import JsonObject
from domain.permissions import Permission
from persistence.execution_details import get_record, note_output_read

router = APIRouter()
Reader = Annotated[Access, Depends(allow(Permission.EXECUTIONS_READ))]

_JSON = "application/json"
_CSV = "text/csv"
_PARQUET = "application/vnd.apache.parquet"
_TABLES: dict[str, tuple[str, Callable[[Table], bytes]]] = {
    _CSV: ("csv", write_csv),
    _PARQUET: ("parquet", write_parquet),
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The output. A table has the output's records, or the output as one row.",
        "content": {
            _JSON: {
                "schema": {"type": "object"},
                "example": {"records": [{"company": "Buckeye Software", "employees": 120}]},
            },
            _CSV: {
                "schema": {"type": "string"},
                "example": "company,employees\r\nBuckeye Software,120\r\n",
            },
            _PARQUET: {"schema": {"type": "string", "format": "binary"}},
        },
    },
}


class OutputMissing(TenantryError):
    """An execution has no output, or not yet."""

    code = ErrorCode.EXECUTION_OUTPUT_MISSING

    def __init__(self, execution: Execution) -> None:
        super().__init__(
            f"Execution `{execution.id}` is {execution.status.value} and has no output.",
            hint="Only a COMPLETED execution has one; what its agents did is under `/agents`.",
        )


@router.get("/{execution_id}/output", response_class=Response, responses=_RESPONSES)
def read_output(
    execution_id: Annotated[Text, Path(max_length=100)],
    access: Reader,
    accept: Annotated[str | None, Header(max_length=2_000)] = None,
) -> Response:
    """Read an execution's output as JSON, CSV or Parquet, as `Accept` says.

    The audit trail notes that you read it.
    """
    media_type = choose_media_type(accept, (_JSON, *_TABLES))
    with access.open() as session:
        execution = get_record(session, ExecutionId(execution_id)).execution
        if execution.output is None:
            raise OutputMissing(execution)
        note_output_read(session, execution.id, media_type)
    return _render(execution.id, execution.output, media_type)


def _render(id: ExecutionId, output: JsonObject, media_type: str) -> Response:
    headers = {"Vary": "Accept"}
    if media_type not in _TABLES:
        content = json.dumps(output, ensure_ascii=False, allow_nan=False).encode()
        return Response(content, media_type=media_type, headers=headers)
    suffix, write = _TABLES[media_type]
    headers["Content-Disposition"] = f'attachment; filename="{id}.{suffix}"'
    return Response(write(table_of(output)), media_type=media_type, headers=headers)

"""What a workflow shall run on: given on the command line, or the workflow's own default."""

from deployments.cli.invocation import CommandInvalid
from deployments.cli.reading import read_execution_input
from domain.catalog import Workflow
from domain.errors import ErrorCode, TenantryError
from domain.inputs import check_input
from domain.json_data import JsonObject
from domain.text import quote
from persistence.sessions import OrgSession
from persistence.workflows import get_definition


class InputMissing(TenantryError):
    """A workflow was started without an input, and has none of its own."""

    code = ErrorCode.EXECUTION_INPUT_MISSING

    def __init__(self, workflow_name: str) -> None:
        super().__init__(
            f"{quote(workflow_name)} needs an input, and has no default one.",
            hint="Give `--input TEXT` or `--input-file FILE`, or a `default_input` to the "
            "workflow.",
        )


def read_given_input(text: str | None, file: str | None) -> JsonObject | None:
    """Read the input that the command line gives, if any.

    Raises:
        CommandInvalid: there are two.
        FileUnreadable: there is no such file.
        ExecutionInputInvalid: with every problem found.
    """
    if text is not None and file is not None:
        raise CommandInvalid(
            "There are two inputs.", hint="Give either `--input` or `--input-file`."
        )
    if file is not None:
        return read_execution_input(file)
    return None if text is None else check_input(text)


def input_or_default(
    session: OrgSession, workflow: Workflow, given: JsonObject | None
) -> JsonObject:
    """Take the given input, or else the workflow's default.

    Raises:
        InputMissing: there is neither.
    """
    if given is not None:
        return given
    definition = get_definition(session, workflow.id, version=workflow.version)
    default = definition.get("default_input")
    if default is None:
        raise InputMissing(workflow.name)
    return check_input(default)

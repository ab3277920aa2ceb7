"""Where Prefect finds compiled flows: the entrypoint `flows.compiled.<workflow id>`.

A module's `__getattr__` (PEP 562) makes the flow when it is asked for. In a process that is no
Tenantry worker this raises `RuntimeMissing`: only unknown names may be an AttributeError, which
Prefect answers with a search in source files.
"""

from domain.ids import WorkflowId
from flows.compiler import CompiledFlow
from flows.loading import load_workflow
from flows.runtime import get_runtime


def __getattr__(name: str) -> CompiledFlow:
    if not name.startswith("wf_"):
        raise AttributeError(name)
    return load_workflow(get_runtime(), WorkflowId(name)).flow

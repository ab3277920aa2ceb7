"""What Prefect's own API says, asked without any code of ours."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx


class PrefectApi:
    """Reads from a Prefect server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def flow_run(self, id: str) -> dict[str, Any]:
        return self._get(f"flow_runs/{id}")

    def states(self, flow_run_id: str) -> list[dict[str, Any]]:
        """All states of a flow run, oldest first."""
        found = self._get("flow_run_states/", flow_run_id=flow_run_id)
        return sorted(found, key=lambda state: state["timestamp"])

    def task_runs(self, flow_run_id: str) -> list[dict[str, Any]]:
        return self._post("task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})

    def artifacts(self, flow_run_id: str) -> list[dict[str, Any]]:
        return self._post("artifacts/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})

    def flow_named(self, name: str) -> dict[str, Any]:
        return self._get(f"flows/name/{name}")

    def deployment(self, flow_name: str, name: str) -> dict[str, Any]:
        return self._get(f"deployments/name/{flow_name}/{name}")

    def deployments(self, flow_name: str, name: str) -> list[dict[str, Any]]:
        """The deployment of this name, if it is there."""
        wanted = {
            "flows": {"name": {"any_": [flow_name]}},
            "deployments": {"name": {"any_": [name]}},
        }
        return self._post("deployments/filter", wanted)

    def flow_runs_in(self, *state_types: str) -> list[dict[str, Any]]:
        """All flow runs that are in one of these states now."""
        state = {"type": {"any_": list(state_types)}}
        return self._post("flow_runs/filter", {"flow_runs": {"state": state}})

    def set_state(self, flow_run_id: str, type: str, *, name: str | None = None) -> dict[str, Any]:
        state = {"type": type, "name": name or type.title()}
        return self._post(f"flow_runs/{flow_run_id}/set_state", {"state": state})

    def suspend(self, flow_run_id: str, *, hours: float = 1) -> None:
        """Press the Pause button."""
        until = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
        details = {"pause_timeout": until, "pause_reschedule": True}
        state = {"type": "PAUSED", "name": "Suspended", "state_details": details}
        self._post(f"flow_runs/{flow_run_id}/set_state", {"state": state})

    def resume(self, flow_run_id: str) -> None:
        """Press the Resume button."""
        self._post(f"flow_runs/{flow_run_id}/resume", {})

    def run_deployment(self, deployment_id: str) -> dict[str, Any]:
        """Press the Run button."""
        return self._post(f"deployments/{deployment_id}/create_flow_run", {})

    def _get(self, path: str, **query: str) -> Any:
        answer = httpx.get(f"{self._url}/{path}", params=query, timeout=30)
        return answer.raise_for_status().json()

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = httpx.post(f"{self._url}/{path}", json=body, timeout=30)
        return answer.raise_for_status().json()


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))

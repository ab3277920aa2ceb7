"""Prefect's server in the embedded stack. One start, as each costs seconds of CPU."""

import http.client
from urllib.parse import urlsplit

import psycopg

from deployments.embedded.layout import Home
from deployments.embedded.stack import open_stack
from deployments.settings import Settings, as_environ, load_settings
from tests.processes.embedded.conftest import pids_of


def ask(url: str, *, origin: str | None = None) -> tuple[int, str | None]:
    """Return the status of a GET, and whom it allows to read the answer in a browser."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", parts.path or "/", headers={"Origin": origin} if origin else {})
    answer = connection.getresponse()
    found = answer.status, answer.getheader("access-control-allow-origin")
    connection.close()
    return found


def test_prefect_runs_on_its_own_database_and_leaves_with_the_last_user(
    home: Home, settings: Settings
):
    progress: list[str] = []
    with open_stack(settings, ("prefect",), on_progress=progress.append) as stack:
        api = stack.prefect_api_url  # known before it answers
        stack.wait_ready()
        assert ask(f"{api}/ready") == (200, None)
        assert ask(f"{api}/health", origin="https://evil.example") == (200, None)
        assert ask(f"{api}/health", origin=stack.prefect_ui_url) == (200, stack.prefect_ui_url)
        assert ask(stack.prefect_ui_url)[0] in {200, 307}
        with psycopg.connect(stack.prefect_database_url.replace("+psycopg", "")) as database:
            row = database.execute("select to_regclass('flow_run_state')").fetchone()
            assert row == ("flow_run_state",)
        # What a worker is given leads it to this stack.
        given = load_settings(as_environ(stack.settings))
        assert given.prefect_api_url == api
        assert given.database_url is not None
        assert given.database_url.get_secret_value() == stack.database_url
        assert any("Prefect" in text for text in progress)
    assert pids_of(home) == set()


def test_with_a_prefect_of_your_own_none_is_started(home: Home):
    settings = Settings.model_validate(
        {"home": home.path, "PREFECT_API_URL": "http://prefect.internal/api"}
    )
    with open_stack(settings, ("prefect",)) as stack:
        stack.wait_ready()
        assert stack.prefect_api_url == "http://prefect.internal/api"
        assert stack.prefect_ui_url == "http://prefect.internal"
    assert list(home.path.iterdir()) == []

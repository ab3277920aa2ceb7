"""Settings: what is read, what is refused, and that nobody is shown a secret."""

from pathlib import Path

import pytest

from deployments.settings import (
    Settings,
    SettingsInvalid,
    as_environ,
    describe_settings,
    load_settings,
)
from domain.errors import ErrorCode

COMPLETE = {
    "TENANTRY_HOME": "/srv/tenantry",
    "TENANTRY_DATABASE_URL": "postgresql://tenantry_owner:hush@db/tenantry",
    "TENANTRY_AUDIT_KEY": "k" * 32,
    "TENANTRY_WORKER_LIMIT": "12",
    "TENANTRY_LOG_LEVEL": "debug",
    "PREFECT_API_URL": "https://prefect.internal/api/",
}


def refused(environ: dict[str, str]) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(environ)
    return caught.value


def test_an_empty_environment_is_complete():
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.audit_key is None
    assert settings.data_root == settings.home / "data"
    assert settings.home.is_absolute()


def test_values_are_read_under_their_names():
    settings = load_settings(COMPLETE)
    assert settings.home == Path("/srv/tenantry")
    assert settings.data_root == Path("/srv/tenantry/data")
    assert settings.worker_limit == 12
    assert settings.log_level == "DEBUG"
    assert settings.prefect_api_url == "https://prefect.internal/api"


def test_a_database_url_names_the_driver_whatever_was_written():
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        url = load_settings({"TENANTRY_DATABASE_URL": f"{scheme}://u:p@h/d"}).database_url
        assert url is not None
        assert url.get_secret_value() == "postgresql+psycopg://u:p@h/d"


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    error = refused({"TENANTRY_WORKERS_LIMIT": "4"})
    assert error.code is ErrorCode.SETTINGS_INVALID
    assert [problem.pointer for problem in error.problems] == ["/TENANTRY_WORKERS_LIMIT"]
    assert error.hint == "Did you mean TENANTRY_WORKER_LIMIT?"


def test_a_name_that_resembles_nothing_gets_the_list():
    assert "TENANTRY_HOME" in refused({"TENANTRY_FOO": "1"}).hint


def test_all_problems_are_told_at_once():
    error = refused(
        {
            "TENANTRY_NONSENSE": "1",
            "TENANTRY_WORKER_LIMIT": "many",
            "TENANTRY_LEASE_S": "0",
            "TENANTRY_DATABASE_URL": "mysql://root@db/x",
            "PREFECT_API_URL": "prefect.internal",
        }
    )
    assert {problem.pointer for problem in error.problems} == {
        "/TENANTRY_NONSENSE",
        "/TENANTRY_WORKER_LIMIT",
        "/TENANTRY_LEASE_S",
        "/TENANTRY_DATABASE_URL",
        "/PREFECT_API_URL",
    }


def test_names_of_others_are_left_alone():
    assert load_settings({"PREFECT_HOME": "/x", "PATH": "/bin", "TENANTRYX": "1"}) is not None


def test_an_empty_value_counts_as_unset():
    settings = load_settings({"TENANTRY_DATABASE_URL": "", "TENANTRY_WORKER_LIMIT": " "})
    assert settings.database_url is None
    assert settings.worker_limit == Settings.model_fields["worker_limit"].default


def test_no_value_is_repeated_in_a_refusal():
    error = refused({"TENANTRY_DATABASE_URL": "mysql://u:hush@h/d", "TENANTRY_AUDIT_KEY": "short"})
    told = str([problem.as_json() for problem in error.problems]) + str(error)
    assert "hush" not in told
    assert "short" not in told


def test_secrets_are_hidden_when_settings_are_printed():
    settings = load_settings(COMPLETE)
    assert "hush" not in repr(settings)
    assert "k" * 32 not in repr(settings)


def test_settings_survive_the_way_through_an_environment():
    settings = load_settings(COMPLETE)
    assert load_settings(as_environ(settings)) == settings


def test_every_setting_is_described_for_people():
    rows = describe_settings()
    assert {row.name for row in rows} >= COMPLETE.keys()
    assert [row.name for row in rows if len(row.meaning) < 40] == []

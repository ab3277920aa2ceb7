"""Connectors read what is there, say what is not, and never leave their organization's folder."""

import sqlite3
import warnings
from ipaddress import ip_network

import pandas as pd
import pytest
from pydantic import SecretStr

from agents.connectors.definitions import FileConnector, SqlConnector
from agents.connectors.opening import open_connector
from agents.connectors.reading import ConnectorDefinitionInvalid, read_definition
from domain.addresses import AddressRules
from domain.errors import ErrorCode, TenantryError

LOCAL = AddressRules(allowed=(ip_network("127.0.0.0/8"),))


def load(definition, root, object_type="companies"):
    connector = open_connector(
        definition, data_root=root, read_dataset=lambda _name: None, rules=LOCAL
    )
    return connector.load(object_type)


def files(**options) -> FileConnector:
    return FileConnector(kind="file", **options)


def refused(code: ErrorCode, definition, root, object_type="companies") -> TenantryError:
    with pytest.raises(TenantryError) as error:
        load(definition, root, object_type)
    assert error.value.code is code
    assert error.value.hint
    return error.value


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_csv_file_is_found(tmp_path, delimiter):
    text = f'name{delimiter}"country, code"\nWindhoek Beer{delimiter}NA\n'
    (tmp_path / "companies.csv").write_text(text, "utf-8-sig")
    frame = load(files(), tmp_path)
    assert frame.to_dict("records") == [{"name": "Windhoek Beer", "country, code": "NA"}]


def test_parquet_and_json_lines_are_read(tmp_path):
    pd.DataFrame({"name": ["Acme"]}).to_parquet(tmp_path / "accounts.parquet")
    (tmp_path / "people.jsonl").write_text('{"name": "Ada"}\n\n{"name": "Bo", "age": 5}\n')
    assert list(load(files(), tmp_path, "accounts")["name"]) == ["Acme"]
    assert list(load(files(), tmp_path, "people")["name"]) == ["Ada", "Bo"]


def test_a_wrong_encoding_is_named_with_its_cure(tmp_path):
    (tmp_path / "companies.csv").write_bytes("name\nMünchen\n".encode("windows-1252"))
    error = refused(ErrorCode.DATA_UNREADABLE, files(), tmp_path)
    assert "utf-8" in error.message
    assert "`encoding`" in error.hint
    assert list(load(files(encoding="windows-1252"), tmp_path)["name"]) == ["München"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("companies.csv", b""),
        ("companies.csv", b'name\n"never closed\n'),
        ("companies.csv", b"a,b\n1,2,3,4\n5\n"),
        ("companies.parquet", b"PAR1 this is none"),
        ("companies.jsonl", b"[1, 2]\n"),
        ("companies.jsonl", b"{broken\n"),
    ],
)
def test_a_broken_file_is_unreadable_and_not_an_exception(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(ErrorCode.DATA_UNREADABLE, files(), tmp_path)


def test_a_missing_file_names_the_files_there(tmp_path):
    (tmp_path / "company.csv").write_text("name\n")
    error = refused(ErrorCode.DATA_NOT_FOUND, files(), tmp_path)
    assert "Did you mean `company.csv`?" in error.hint


@pytest.mark.parametrize(
    "path", ["../other", "/etc", "a/../../other", "C:\\data", "\\\\host\\share"]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path, path):
    refused(ErrorCode.CONNECTOR_INVALID, files(folder=path), tmp_path)
    refused(ErrorCode.CONNECTOR_INVALID, files(files={"companies": f"{path}/x.csv"}), tmp_path)


def test_a_link_that_leaves_the_folder_is_refused(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir()
    (other / "secret.csv").write_text("name\nSecret\n")
    (mine / "companies.csv").symlink_to(other / "secret.csv")
    (mine / "folder").symlink_to(other)
    refused(ErrorCode.CONNECTOR_INVALID, files(), mine)
    refused(ErrorCode.CONNECTOR_INVALID, files(folder="folder"), mine, "secret")


@pytest.mark.parametrize("name", ["a/b", "../x", "x;drop table y", "", "1x", "a" * 64, "é", "x\n"])
def test_an_object_type_is_a_plain_name(tmp_path, name):
    database = sqlite_connector(tmp_path)
    refused(ErrorCode.DATA_NOT_FOUND, files(), tmp_path, name)
    refused(ErrorCode.DATA_NOT_FOUND, database, tmp_path, name)


def sqlite_connector(root, **options) -> SqlConnector:
    connection = sqlite3.connect(root / "crm.db")
    connection.execute('create table if not exists "Companies" (name text, employees integer)')
    connection.execute("insert into \"Companies\" values ('Acme', 12), ('Globex', null)")
    connection.execute(
        "create view if not exists big as select * from Companies where employees > 5"
    )
    connection.commit()
    connection.close()
    return SqlConnector(kind="sql", url=SecretStr("sqlite:///crm.db"), **options)


def test_tables_and_views_of_a_database_are_read(tmp_path):
    connector = sqlite_connector(tmp_path)
    assert list(load(connector, tmp_path, "Companies")["name"]) == ["Acme", "Globex"]
    assert list(load(connector, tmp_path, "big")["employees"]) == [12]


def test_a_missing_table_suggests_the_nearest(tmp_path):
    error = refused(ErrorCode.DATA_NOT_FOUND, sqlite_connector(tmp_path), tmp_path, "Companys")
    assert "Did you mean `Companies`?" in error.hint


def test_a_table_with_too_many_rows_is_refused(tmp_path):
    connector = sqlite_connector(tmp_path, max_rows=1)
    refused(ErrorCode.DATA_TOO_LARGE, connector, tmp_path, "Companies")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@h/db",
        "postgresql+psycopg2://u:hunter2@h/db",
        "sqlite:////etc/hunter2.db",
        "sqlite:///../hunter2.db",
        "sqlite://",
        "sqlite:///crm.db?mode=rwc&hunter2=1",
        "postgresql://u:hunter2@h/db?passfile=/etc/passwd",
        "postgresql://u:hunter2@/db?host=/var/run",
        "hunter2",
    ],
)
def test_an_address_beyond_the_rules_is_refused_without_being_repeated(tmp_path, url):
    sqlite_connector(tmp_path)
    definition = SqlConnector(kind="sql", url=SecretStr(url))
    error = refused(ErrorCode.CONNECTOR_INVALID, definition, tmp_path)
    if "sqlite" not in url:
        assert "hunter2" not in error.message + error.hint


def test_a_database_that_does_not_answer_may_be_tried_again(tmp_path):
    url = SecretStr("postgresql+psycopg://u:hunter2@127.0.0.1:9/db")
    error = refused(ErrorCode.CONNECTOR_UNREACHABLE, SqlConnector(kind="sql", url=url), tmp_path)
    assert error.retryable
    assert "hunter2" not in error.message + error.hint


def test_a_data_set_that_is_not_kept_is_not_found(tmp_path, listed):
    with pytest.raises(TenantryError) as error:
        listed.open("crm").load("contacts")
    assert error.value.code is ErrorCode.DATA_NOT_FOUND


def test_a_definition_tells_all_its_problems_and_repeats_no_secret():
    given = {"kind": "sql", "url": ["hunter2"], "schema_name": "a b", "pasword": "hunter2"}
    with pytest.raises(ConnectorDefinitionInvalid) as error:
        read_definition(given, pointer="/connectors/0")
    assert {problem.pointer for problem in error.value.problems} == {
        "/connectors/0/url",
        "/connectors/0/schema_name",
        "/connectors/0/pasword",
    }
    assert "hunter2" not in repr([problem.as_json() for problem in error.value.problems])
    assert error.value.__context__ is None


@pytest.mark.parametrize("given", [None, {}, {"kind": "ftp"}, "file"])
def test_a_definition_of_no_kind_is_told_the_kinds(given):
    with pytest.raises(ConnectorDefinitionInvalid) as error:
        read_definition(given)
    assert "`dataset`" in error.value.problems[0].hint

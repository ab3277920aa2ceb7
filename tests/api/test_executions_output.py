"""Outputs in the form that the client asks for; every reading is in the audit trail."""

import csv
import io

import pyarrow.parquet
import pytest

from tests.api.test_executions import actions, finish, queue, start
from tests.support.databases import ACME
from tests.support.factories import simple_workflow

RECORDS = [
    {"name": "=1+1", "employees": 5, "score": 0.5, "tags": ["a", "b"], "won": True},
    {"name": 'Müller, "& Söhne"\nGmbH', "employees": None, "score": -2, "city": "@home"},
]
OUTPUT = {"summary": "Two leads", "records": RECORDS}
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def workflow(database):
    return simple_workflow(database, ACME)


@pytest.fixture
def done(database, admin, workflow) -> str:
    id = queue(admin, workflow)
    start(database)
    finish(database, id, output=OUTPUT)
    return id


def read(client, id, accept):
    return client.get(f"/executions/{id}/output", headers={"Accept": accept})


def test_json_is_the_output_itself(admin, done):
    for accept in ("application/json", "*/*", "text/csv;q=0.5, application/*"):
        answer = read(admin, done, accept)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept"
        assert answer.json() == OUTPUT


def test_csv_has_the_records_and_no_formulas(admin, done):
    answer = read(admin, done, "text/csv, application/json;q=0.9")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{done}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert {row["name"] for row in rows} == {"'=1+1", RECORDS[1]["name"]}
    assert [row["city"] for row in rows] == ["", "'@home"]
    assert [row["score"] for row in rows] == ["0.5", "-2"]
    assert rows[0]["tags"] == '["a", "b"]'


def test_parquet_has_the_records_with_their_types(admin, done):
    answer = read(admin, done, PARQUET)
    assert answer.headers["content-type"] == PARQUET
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert [row["name"] for row in table.to_pylist()] == [row["name"] for row in RECORDS]
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "name": "string",
        "employees": "int64",
        "score": "double",
        "tags": "string",
        "won": "bool",
        "city": "string",
    }


def test_what_there_is_not_is_not_acceptable(admin, done):
    for accept in ("application/xml", "application/json;q=0, text/html"):
        answer = read(admin, done, accept)
        assert (answer.status_code, answer.json()["code"]) == (406, "media_type.refused")
        assert answer.headers["content-type"] == "application/problem+json"


def test_every_reading_is_audited_and_no_refusal(database, admin, done):
    before = actions(database, done).count("execution.output_read")
    for accept in ("application/json", "text/csv", PARQUET, "text/html"):
        read(admin, done, accept)
    admin.get(f"/executions/{done}/timeline")
    admin.get(f"/executions/{done}/agents")
    admin.get("/executions")
    assert actions(database, done).count("execution.output_read") == before + 3


def test_an_execution_without_an_output_says_so(admin, workflow):
    answer = read(admin, queue(admin, workflow), "text/csv")
    assert (answer.status_code, answer.json()["code"]) == (409, "execution.output_missing")

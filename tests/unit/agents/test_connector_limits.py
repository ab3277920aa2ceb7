"""A read brings what fits, ends in time, and costs the worker neither memory nor secrets."""

import os
import resource
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_network

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from agents.connectors.definitions import DatasetConnector, FileConnector, SqlConnector
from agents.connectors.limits import ReadLimits
from agents.connectors.opening import OrgConnectors
from agents.connectors.parquet import dataset_bytes
from agents.connectors.reader import read_apart
from agents.errors import ReaderFailed
from domain.addresses import AddressRules
from domain.errors import ErrorCode, TenantryError

FILES = FileConnector(kind="file")
LOCAL = AddressRules(allowed=(ip_network("127.0.0.0/8"),))
MB = 1024**2


def load(definition, root, object_type="companies", *, kept=None, **options):
    connectors = OrgConnectors(
        {"crm": definition}, data_root=root, read_dataset=lambda _name: kept, **options
    )
    return connectors.open("crm").load(object_type)


def refused(code: ErrorCode, *args, **options) -> TenantryError:
    with pytest.raises(TenantryError) as error:
        load(*args, **options)
    assert error.value.code is code
    assert error.value.hint
    return error.value


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def test_files_and_data_sets_arrive_whole_from_the_reading_process(tmp_path):
    frame = pd.DataFrame({"name": ["Acme", "Größe"], "employees": [5, 7]})
    assert load(DatasetConnector(kind="dataset"), tmp_path, kept=dataset_bytes(frame)).equals(frame)
    (tmp_path / "companies.csv").write_text("name,place\nAcme,NA\nBo\x00,\n")
    found = load(FILES, tmp_path)
    assert found.to_dict("list") == {"name": ["Acme", "Bo"], "place": ["NA", ""]}


def test_a_csv_file_of_many_parts_is_one_table(tmp_path):
    lines = "".join(f"Company {number},{number}\n" for number in range(120_000))
    (tmp_path / "companies.csv").write_text(f"name,employees\n{lines}")
    found = load(FILES, tmp_path)
    assert len(found) == 120_000
    assert found.index.equals(pd.RangeIndex(120_000))
    assert found["employees"].iloc[-1] == "119999"


def test_json_lines_that_each_bring_a_column_are_refused_by_their_cells(tmp_path):
    # 379 KB that would be a table of four hundred million cells.
    lines = "".join(f'{{"k{number}":1}}\n' for number in range(20_000))
    (tmp_path / "companies.jsonl").write_text(lines)
    before = peak_mb()
    error = refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path)
    assert "columns" in error.message
    few = ReadLimits(columns=100_000, cells=50_000)
    assert "cells" in refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path, limits=few).message
    assert peak_mb() - before < 64


def test_a_small_parquet_file_of_repeated_values_is_counted_as_what_it_unpacks_to(tmp_path):
    value = "x" * 100_000
    table = pa.table({"name": pa.DictionaryArray.from_arrays(pa.array([0] * 100_000), [value])})
    pq.write_table(table, tmp_path / "companies.parquet", compression="zstd")
    pq.write_table(
        pa.table({"name": pa.array([value[:1000]] * 20_000)}), tmp_path / "plain.parquet"
    )
    assert (tmp_path / "companies.parquet").stat().st_size < 100_000
    before = peak_mb()
    refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path)
    tight = ReadLimits(value_bytes=10 * MB)
    refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path, "plain", limits=tight)
    assert peak_mb() - before < 64


def test_a_heading_of_three_hundred_thousand_columns_is_refused(tmp_path):
    heading = ",".join(f"c{number}" for number in range(300_000))
    (tmp_path / "companies.csv").write_text(f"{heading}\n1\n")
    assert "columns" in refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path).message


def test_what_fills_the_memory_of_the_reading_process_is_refused_and_the_next_read_goes_on(
    tmp_path,
):
    (tmp_path / "companies.jsonl").write_text(f'{{"a":[{",".join(["[]"] * 3_000_000)}]}}\n')
    (tmp_path / "people.jsonl").write_text('{"name": "Ada"}\n')
    before = peak_mb()
    small = ReadLimits(memory_bytes=128 * MB)
    error = refused(ErrorCode.DATA_TOO_LARGE, FILES, tmp_path, limits=small)
    assert "128 MB of memory" in error.message
    assert peak_mb() - before < 64
    assert list(load(FILES, tmp_path, "people", limits=small)["name"]) == ["Ada"]


def test_a_whole_number_of_thousands_of_digits_is_a_bad_line_and_no_exception(tmp_path):
    (tmp_path / "companies.jsonl").write_text(f'{{"a": {"9" * 5_000}}}\n')
    refused(ErrorCode.DATA_UNREADABLE, FILES, tmp_path)


def sqlite(root, *statements: str) -> SqlConnector:
    with closing(sqlite3.connect(root / "crm.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return SqlConnector(kind="sql", url=SecretStr("sqlite:///crm.db"))


def test_a_view_that_never_ends_is_ended_and_may_be_tried_again(tmp_path):
    connector = sqlite(
        tmp_path,
        "create view companies as with recursive r(i) as (select 1 union all select i + 1 from r)"
        " select i from r where i < 0",
    )
    short = ReadLimits(read_s=1)
    error = refused(ErrorCode.CONNECTOR_TIMED_OUT, connector, tmp_path, limits=short)
    assert error.retryable
    assert "1 seconds" in error.message


def test_a_view_of_enormous_values_does_not_fill_the_memory(tmp_path):
    connector = sqlite(tmp_path, "create view companies as select zeroblob(400000000) as name")
    limits = ReadLimits(memory_bytes=128 * MB)
    refused(ErrorCode.DATA_TOO_LARGE, connector, tmp_path, limits=limits)


@contextmanager
def silent_server() -> Iterator[SqlConnector]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"postgresql://reader:secret@127.0.0.1:{listening.getsockname()[1]}/crm"
        yield SqlConnector(kind="sql", url=SecretStr(url))


@pytest.mark.parametrize("limits", [ReadLimits(read_s=1), ReadLimits(connect_s=2)])
def test_a_silent_database_is_not_waited_for(tmp_path, limits):
    with silent_server() as connector:
        error = refused(
            ErrorCode.CONNECTOR_TIMED_OUT, connector, tmp_path, rules=LOCAL, limits=limits
        )
    assert error.retryable


def read_environment() -> pd.DataFrame:
    return pd.DataFrame(sorted(os.environ.items()))


def test_the_reading_process_has_nothing_of_the_workers_environment(monkeypatch):
    monkeypatch.setenv("PGPASSFILE", "/home/operator/.pgpass")
    monkeypatch.setenv("PGSERVICE", "operator")
    monkeypatch.setenv("TENANTRY_AUDIT_KEY", "hunter2")
    found = apart(read_environment)
    names = set(found[0])
    assert names.isdisjoint(name for name in os.environ if name.startswith(("PG", "TENANTRY_")))
    assert dict(zip(found[0], found[1], strict=True))["HOME"] == "/nonexistent"


def apart(read) -> pd.DataFrame:
    return read_apart(read, shown="`companies`", limits=ReadLimits(read_s=20), turn="a")


def crash() -> pd.DataFrame:
    os.kill(os.getpid(), signal.SIGSEGV)
    return pd.DataFrame()


def stumble() -> pd.DataFrame:
    raise KeyError("hunter2")


@pytest.mark.parametrize("read", [crash, stumble])
def test_a_read_that_breaks_off_is_an_error_of_its_own_and_no_crash_of_the_worker(read):
    with pytest.raises(ReaderFailed) as failed:
        apart(read)
    assert "hunter2" not in failed.value.message + failed.value.hint


def end_the_reading_process() -> pd.DataFrame:
    os.kill(os.getppid(), signal.SIGKILL)
    return pd.DataFrame({"a": [1]})


def test_a_reading_process_that_was_killed_is_started_again():
    assert len(apart(end_the_reading_process)) == 1
    assert len(apart(read_environment)) > 3

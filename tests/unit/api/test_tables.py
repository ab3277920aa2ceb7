"""Any JSON becomes a table that can be read back."""

import csv
import io
import subprocess
import sys

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.tables import table_of, write_csv, write_parquet

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=4,
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=4)
RECORDS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=5)


def read_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@given(RECORDS)
def test_csv_has_a_row_for_each_record_and_no_formula(records):
    table = table_of({"records": records})
    text = write_csv(table).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if table.columns:
        assert len(rows) == len(records) + 1
    for row, record in zip(rows[1:], records, strict=False):
        for name, cell in zip(table.columns, row, strict=False):
            if isinstance(record.get(name), str):
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
                assert cell.removeprefix("'") == record[name].removeprefix("'")


@given(RECORDS)
def test_parquet_keeps_texts_and_gaps(records):
    table = table_of({"records": records})
    found = pyarrow.parquet.read_table(io.BytesIO(write_parquet(table)))
    assert tuple(found.column_names) == table.columns
    for number, name in enumerate(table.columns):
        values = found.column(number).to_pylist()
        for value, record in zip(values, records, strict=True):
            assert (value is None) == (record.get(name) is None)
            if all(isinstance(r.get(name), str | None) for r in records):
                assert value == record.get(name)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_parquet_rounds_no_whole_number(number):
    for other in (1, 0.5):
        table = table_of({"records": [{"n": number}, {"n": other}]})
        found = pyarrow.parquet.read_table(io.BytesIO(write_parquet(table))).to_pylist()
        assert int(found[0]["n"]) == number


def test_the_outputs_of_several_agents_follow_each_other():
    output = {"One": {"records": [{"a": 1}]}, "Two": {"records": [{"b": 2}]}}
    assert read_csv(write_csv(table_of(output))) == [
        ["agent", "a", "b"],
        ["One", "1", ""],
        ["Two", "", "2"],
    ]


def test_columns_stand_in_the_order_that_the_output_names():
    output = {"columns": ["b", "absent", "a"], "records": [{"a": 1, "c": 2, "b": 3}]}
    assert read_csv(write_csv(table_of(output))) == [["b", "a", "c"], ["3", "1", "2"]]
    both = {"One": output, "Two": {"columns": "b", "records": [{"c": 4}]}}
    assert read_csv(write_csv(table_of(both)))[0] == ["agent", "b", "a", "c"]


def test_an_output_without_records_is_one_row():
    assert read_csv(write_csv(table_of({"text": "-x", "n": -1}))) == [["text", "n"], ["'-x", "-1"]]


def test_a_name_that_is_a_formula_is_guarded():
    assert read_csv(write_csv(table_of({"=cmd()": 1})))[0] == ["'=cmd()"]


def test_neither_form_loads_pandas():
    code = (
        "import sys; from api.tables import table_of, write_csv, write_parquet; "
        "table = table_of({'records': [{'a': 1, 'b': 'x', 'c': [1], 'd': True, 'e': 0.5}, {}]}); "
        "write_csv(table), write_parquet(table); sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_booleans_and_gaps_stand_in_their_rows():
    values = [True, None, False, True, True, None, True, False, True, None]
    table = table_of({"records": [{"a": value} for value in values]})
    found = pyarrow.parquet.read_table(io.BytesIO(write_parquet(table)))
    assert found.column("a").to_pylist() == values


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "﹦", "﹣", "−"])
@pytest.mark.parametrize(
    "before", ["", " ", "\u00a0", "\u3000", "\ufeff", "\u200b", " \t\u00a0", "\x0b"]
)
def test_a_formula_is_defused_whatever_unseen_stands_before_it(before: str, sign: str):
    text = f"{before}{sign}HYPERLINK(1)"
    assert read_csv(write_csv(table_of({"a": text})))[1] == [f"'{text}"]


@pytest.mark.parametrize("text", [" Acme", "\u00a0a=b", "Müller + Sohn", "", " ", "1-2"])
def test_a_text_that_is_no_formula_is_left_as_it_is(text: str):
    assert read_csv(write_csv(table_of({"a": text, "b": 1})))[1][0] == text

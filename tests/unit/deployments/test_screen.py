"""How wide what is piped is."""

import pytest

from deployments.cli.screen import answers, remarks


@pytest.mark.parametrize(
    ("columns", "width"), [("60", 60), ("400", 400), ("", 200), ("0", 200), ("x", 200), ("-5", 200)]
)
def test_piped_output_is_as_wide_as_columns_says(monkeypatch, columns: str, width: int):
    monkeypatch.setenv("COLUMNS", columns)
    assert (answers().width, remarks().width) == (width, width)

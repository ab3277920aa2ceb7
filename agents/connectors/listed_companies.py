"""A demo CRM: listed companies of the `pytickersymbols` package, dirty as encyclopaedias are."""

from collections.abc import Mapping
from typing import cast

import pandas as pd
from pytickersymbols import PyTickerSymbols  # pyright: ignore[reportMissingTypeStubs]

from agents.json_output import clean_text

LISTED_COMPANY_COLUMNS = (
    "company_id",
    "name",
    "symbol",
    "country",
    "headquarters",
    "employees",
    "founded",
    "industries",
    "products",
    "website",
    "isin",
)


def listed_companies() -> pd.DataFrame:
    """Build the demo table: one row per company, every value the text found in the package.

    Gaps are empty text. `headquarters` may name several seats, `employees` carries dates and
    remarks, `country` is a country or a city with its state, `industries` is joined by `|`.
    """
    stocks = cast("list[Mapping[str, object]]", list(PyTickerSymbols().get_all_stocks()))
    rows = [_row(number, stock) for number, stock in enumerate(stocks, start=1)]
    return pd.DataFrame(rows, columns=list(LISTED_COMPANY_COLUMNS), dtype="str")


def _row(number: int, stock: Mapping[str, object]) -> dict[str, str]:
    found = stock.get("metadata")
    metadata = cast("Mapping[str, object]", found if isinstance(found, Mapping) else {})
    isins = cast("list[str]", stock.get("isins") or [])
    industries = cast("list[str]", stock.get("industries") or [])
    return {
        "company_id": f"LC{number:05d}",
        "name": _text(stock.get("name")),
        "symbol": _text(stock.get("symbol")),
        "country": _text(stock.get("country")),
        "headquarters": _text(metadata.get("headquarters")),
        "employees": _text(metadata.get("employees")),
        "founded": _text(metadata.get("founded")),
        "industries": "|".join(_text(industry) for industry in industries),
        "products": _text(metadata.get("products")),
        "website": _text(metadata.get("website")),
        "isin": isins[0] if isins else "",
    }


def _text(value: object) -> str:
    return "" if value is None else clean_text(str(value)).strip()

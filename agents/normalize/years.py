"""Years of foundation as people type them."""

import math
import re
from numbers import Real

_YEAR = re.compile(r"(?<![0-9.,])(1[5-9][0-9]{2}|20[0-9]{2})(?![0-9]|[.,][0-9])")
_MAX_CHARS = 400


def parse_year(value: object) -> int | None:
    """Read the first year from 1500 to 2099 out of a record's value; None when there is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number) or number != math.floor(number):
            return None
        return int(number) if 1500 <= number <= 2099 else None
    text = str(value)[:_MAX_CHARS].strip()
    found = _YEAR.search(text.removesuffix(".0"))
    return int(found[1]) if found else None

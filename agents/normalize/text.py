"""Text folded for comparison."""

import re
import unicodedata

_NOT_WORD = re.compile(r"[^0-9a-z]+")


def fold(text: str) -> str:
    """Lower the case, take accents off, and leave one space between words.

    `São Paulo` and ` sao  PAULO ` become equal; so do `e-commerce` and `E commerce`.
    """
    if not text.isascii():
        # Sharp s and its like grow under casefold: fold the case first, then the accents.
        text = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(character for character in text if not unicodedata.combining(character))
    return _NOT_WORD.sub(" ", text.casefold()).strip()

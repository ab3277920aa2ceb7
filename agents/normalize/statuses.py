"""Statuses of companies as sources write them."""

from agents.lead_criteria import LeadStatus
from agents.normalize.text import fold

_WORDS = {
    LeadStatus.ACTIVE: ("active", "operating", "private", "open", "live", "customer", "prospect"),
    LeadStatus.PUBLIC: ("public", "listed", "ipo"),
    LeadStatus.ACQUIRED: ("acquired", "merged", "bought"),
    LeadStatus.INACTIVE: (
        "inactive",
        "dead",
        "closed",
        "defunct",
        "shut down",
        "dissolved",
        "bankrupt",
        "out of business",
    ),
}
_BY_WORD = {word: status for status, words in _WORDS.items() for word in words}


def parse_status(value: object) -> LeadStatus | None:
    """Read a status; None when the source says none that we know."""
    return _BY_WORD.get(fold(value)) if isinstance(value, str) else None

"""Parts of a request that are about the asker: what they sell is not what they look for."""

import re

from agents.requests.draft import Draft

_WE = r"(?:we|i|we're|i'm|our\s+(?:company|team|startup|firm))"
_END = r"(?=[,.;:!?(]|\s-\s|\bso\b|\bto\s+(?!business)|\bfind\b|\blooking\b|\bplease\b|\bwhich\b|$)"
_OUR_PRODUCT = re.compile(
    rf"\b{_WE}\s+(?:also\s+|just\s+|only\s+|currently\s+)?(?:sell|offer|make|provide|build|develop|"
    rf"market|pitch|ship|do|built|made|have\s+built|work\s+(?:in|at|for)|run)\b[^,.;:!?]*?{_END}"
    rf"|\b(?:we\s+are|we're|i\s+am|i'm)\s+an?\b[^,.;:!?]*?{_END}"
    rf"|\b(?:(?:looking|want|wants|trying|hoping|need|planning|going|aim|aiming|like|out)\s+to|"
    rf"wanna|can|could|help\s+(?:us|me)|we'll|to)\s+(?:sell|pitch|market|promote|offer|launch)\b"
    rf"[^,.;:!?]*?{_END}"
    rf"|\b(?:selling|pitching|promoting|marketing)\s+(?:our|my|a|an|some)\b[^,.;:!?]*?{_END}"
    rf"|\b(?:for|with|of|about|buy|need|use|want)\s+(?:our|my)\s+(?:\w+[\s-]+){{0,4}}?(?:product|"
    rf"tool|platform|api|app|software|service|solution|offering|campaign|team|company|startup|"
    rf"business|pitch|launch|system|suite)s?\b"
    rf"|\bas\s+an?\s+[\w\s-]{{1,40}}?(?:vendor|seller|company|startup|provider|rep|firm|"
    rf"salesperson|consultant|agency|recruiter)\b",
    re.IGNORECASE,
)
_PURPOSE = re.compile(
    r"(?:,|\bso\s+(?:that\s+)?(?:we|i)\b|\bbecause\b|\bsince\s+(?:we|i)\b|\bas\s+(?:we|i)\b)"
    r"\s*(?:we\s+|i\s+)?(?:want|wanna|would\s+like|plan|hope|can|could|need)\s+(?:to\s+)?"
    r"(?:reach|contact|call|email|pitch|sell|talk|invite|approach|meet)\b[^.;!?]*",
    re.IGNORECASE,
)
_EMPLOYED = re.compile(r"\bon\s+(?:the\s+|their\s+)?(?:payroll|books)\b", re.IGNORECASE)


def take_asides(draft: Draft) -> None:
    """Take out what the asker says of themselves and of what the list is for."""
    for pattern in (_PURPOSE, _OUR_PRODUCT, _EMPLOYED):
        for _ in draft.find(pattern):
            pass

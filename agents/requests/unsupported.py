"""Criteria that people ask for and records of companies do not hold: found, told, left out."""

import re

from agents.requests.draft import Draft

_AMOUNT = (
    r"(?:[$€£¥]\s?[0-9][0-9.,]{0,20}\s?(?:k|m|mm|mn|mil|b|bn|million|billion|thousand)?\b\+?|"
    r"\b[0-9][0-9.,]{0,20}\s?(?:m|mm|mn|mil|bn|million|billion)\b\+?(?:\s(?:dollars|usd|eur|euros))?|"
    r"\b[0-9][0-9.,]{0,20}\s?(?:k\s)?(?:dollars|usd|eur|euros|pounds)\b|\b[0-9][0-9.]{0,20}\s?(?:%|percent\b)\+?)"
)
_COMPARED = (
    r"(?:\s*(?:is|are|was|of|at|:|=|>=?|<=?|≥|≤|over|above|under|below|more\s+than|less\s+than|"
    r"greater\s+than|at\s+least|at\s+most|exceeding|north\s+of|up\s+to|between|around|about|minimum|"
    r"min\.?|max\.?|in\s+excess\s+of)){0,3}\s*"
)
_KEY = (
    r"(?:\b(?:(?:annual|yearly|recurring|monthly|total|net|gross)\s+){0,4}(?:revenues?|arr|mrr|turnover|"
    r"funding(?:\s+rounds?)?|funds?\s+raised|raised|fundrais\w+|valuations?|valued|market\s+cap\w*|"
    r"profits?|profitable|profitability|ebitda|margins?|income|burn\s+rate|runway|budgets?|growth|"
    r"growing|fast[\s-]growing|hypergrowth|series\s+[a-h]\b\+?|pre-?seed|seed(?:[\s-](?:stage|funded|"
    r"round))?|(?:early|late|growth)[\s-]stage|bootstrapped|(?:vc|venture|investor)[\s-]backed|"
    r"unicorns?|hiring|job\s+openings?|open\s+(?:roles|positions)|tech\s+stacks?|downloads|web\s+traffic|"
    r"nps|ratings?|reviews|churn|patents?|(?:women|woman|female|minority|black|latino|veteran)[\s-]+"
    r"(?:led|founded|owned|founders?)|remote(?:[\s-](?:first|only|friendly))?|fully\s+distributed|"
    r"e-?mails?(?:\s+addresses)?|phone\s+numbers?|linkedin(?:\s+(?:profiles|urls))?|ceos?|ctos?|cfos?|"
    r"cmos?|cios?|cisos?|vps?(?:\s+of\s+\w+)?|decision[\s-]?makers?|contact\s+(?:info|details|data)|"
    r"soc\s?2|gdpr|hipaa|iso\s?[0-9]+|paying\s+customers|customer\s+base|offices)\b)"
)
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:within|less\s+than|under)\s+[0-9]+\s*(?:miles?|km|kms|kilomet\w+|minutes|hours)\s+"
        r"(?:of|from|around)\b",
        r"\b(?:similar\s+to|competitors?\s+(?:of|to)|competing\s+with|look-?alikes?\s+of)\s+[\w.&-]+",
        r"\b(?:using|uses?|running\s+on|built\s+(?:on|with))\s+(?:aws|azure|gcp|google\s+cloud|"
        r"salesforce|hubspot|shopify|stripe|kubernetes|snowflake|sap|oracle|react|python|java|slack)\b",
        r"\bbacked\s+by\s+(?!y\s?c)[\w.&-]+(?:\s+[A-Z][\w.&-]+)?",
        rf"{_KEY}{_COMPARED}{_AMOUNT}(?:\s*(?:-|to|and)\s*{_AMOUNT})?",
        rf"{_KEY}\s*(?:of|is|:|=|>=?|<=?|over|above|under|below|more\s+than|less\s+than|at\s+least|"
        r"exceeding)\s*(?:at\s+least\s+)?[0-9][0-9.,]{0,20}\s?(?:k|m|b)?\b\+?",
        rf"(?:\b(?:over|above|under|below|more\s+than|less\s+than|at\s+least|at\s+most|up\s+to|making|"
        rf"doing)\s+){{0,4}}{_AMOUNT}(?:\s*(?:-|to|and)\s*{_AMOUNT})?(?:\s*(?:or\s+more|plus|in|of|a|per|"
        rf"worth\s+of|year|annually))*\s*(?:{_KEY})?",
        _KEY,
    )
)


def take_unsupported(draft: Draft) -> None:
    """Take out what no field of the records can answer, and keep its words."""
    for pattern in _PATTERNS:
        for found in draft.find(pattern):
            said = " ".join(found[0].split()).strip(" ,")
            if said:
                draft.unsupported.append(said)

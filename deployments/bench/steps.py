"""The work that all contenders do: three steps that cost next to nothing, the same for everyone.

What is measured is therefore what each of them adds to the steps.
"""

from domain.json_data import JsonObject

_WORDS = ("software", "machines", "energy", "retail", "medicine")


def make_input(number: int) -> JsonObject:
    """Make the input of one execution."""
    return {"number": number, "text": f"Find leads for {_WORDS[number % len(_WORDS)]} number"}


def read_request(request: JsonObject) -> JsonObject:
    """Read a request: which words it has, and which one counts."""
    words = str(request["text"]).lower().split()
    return {"number": request["number"], "words": list(words), "industry": words[3]}


def qualify(criteria: JsonObject) -> JsonObject:
    """Score what was read."""
    number = int(str(criteria["number"]))
    return {**criteria, "score": number % 100, "qualified": number % 100 >= 50}


def report(qualified: JsonObject) -> JsonObject:
    """Sum up in one sentence."""
    verdict = "qualified" if qualified["qualified"] else "not qualified"
    return {
        "number": qualified["number"],
        "summary": f"{qualified['industry']}: {verdict} with {qualified['score']}",
    }


def expected_output(number: int) -> JsonObject:
    """Give the right answer to `make_input(number)`."""
    return report(qualify(read_request(make_input(number))))

"""The pages for people need no other server."""

import re

import httpx
import pytest

from tests.api.conftest import Api


@pytest.mark.parametrize(("path", "program"), [("/docs", "swagger-ui"), ("/redoc", "redoc")])
def test_a_page_and_all_that_it_loads_comes_from_here(api: Api, path: str, program: str):
    page = httpx.get(api.url + path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    sources = [
        each for each in re.findall(r'(?:src|href)="([^"]*)"', page.text) if each != "data:,"
    ]
    assert any(program in source for source in sources)
    texts: list[str] = []
    for source in sources:
        assert source.startswith("/docs/assets/")
        loaded = httpx.get(api.url + source)
        assert loaded.status_code == 200
        kind = "text/css" if source.endswith(".css") else "text/javascript"
        assert loaded.headers["content-type"].startswith(kind)
        texts.append(loaded.text)
    # What starts the program names the document that is there.
    (document,) = re.findall(r'"(/api/[^"]*)"', texts[-1])
    assert httpx.get(api.url + document).json()["openapi"]


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_may_run_and_ask_only_what_is_here(api: Api, path: str):
    policy = httpx.get(api.url + path).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["script-src"]) == ("'none'", "'self'")
    assert rules["connect-src"] == "'self'"
    assert "http" not in policy
    # Everything else keeps the strictest policy.
    other = httpx.get(f"{api.url}/health").headers["content-security-policy"]
    assert other.startswith("default-src 'none'; frame-ancestors")


@pytest.mark.parametrize("name", ["core.py", "../__init__.py", "..%2f__init__.py", "x.js"])
def test_only_the_pages_own_files_are_sent(api: Api, name: str):
    assert httpx.get(f"{api.url}/docs/assets/{name}").status_code == 404

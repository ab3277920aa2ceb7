"""The API's operations, read from its OpenAPI document: what tests of every route go by."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
from fastapi import FastAPI

METHODS = ("get", "post", "put", "patch", "delete")
# What a route wants in a header before it looks at anything else.
HEADERS = {"If-Match": '"1"'}


@dataclass(frozen=True)
class Operation:
    """One method of one path, with what is needed to call it."""

    method: str
    path: str
    path_parameters: tuple[tuple[str, str], ...]
    """Names and JSON types."""
    query_parameters: tuple[str, ...]
    """Names of those that are text."""
    headers: tuple[str, ...]
    body: dict[str, Any] | None
    is_stream: bool

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def takes_ids(self) -> bool:
        """Whether a path parameter is text, and so may name somebody else's thing."""
        return any(kind == "string" for _, kind in self.path_parameters)

    @property
    def body_ids(self) -> tuple[str, ...]:
        return tuple(key for key in self.body or {} if key.endswith("_id"))

    def url(self, value: str) -> str:
        """Fill the path: this value for texts, 1 for numbers."""
        path = self.path
        for name, kind in self.path_parameters:
            path = path.replace(f"{{{name}}}", value if kind == "string" else "1")
        return path

    def request(
        self, client: httpx.Client, value: str, *, query: dict[str, str] | None = None
    ) -> httpx.Request:
        """Make a request with the example body."""
        sent = {name: HEADERS[name] for name in self.headers if name in HEADERS}
        root = client.base_url.copy_with(path="/")
        return client.build_request(
            self.method.upper(),
            root.join(self.url(value)),
            headers=sent,
            json=self.body,
            params=query,
        )

    def with_body_id(self, key: str, value: str) -> "Operation":
        """Put somebody's id into the body."""
        return replace(self, body={**(self.body or {}), key: value})


def operations(app: FastAPI) -> Iterator[Operation]:
    """List all operations of the document."""
    document = app.openapi()
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield _operation(document, path, method, item[method])


def _operation(document: dict[str, Any], path: str, method: str, found: dict[str, Any]):
    parameters = [_resolve(document, parameter) for parameter in found.get("parameters", [])]
    content = found["responses"].get("200", {}).get("content", {})
    return Operation(
        method=method,
        path=path,
        path_parameters=tuple(
            (each["name"], _kind(document, each)) for each in parameters if each["in"] == "path"
        ),
        query_parameters=tuple(
            each["name"]
            for each in parameters
            if each["in"] == "query" and _kind(document, each) == "string"
        ),
        headers=tuple(each["name"] for each in parameters if each["in"] == "header"),
        body=_example(document, found.get("requestBody")),
        is_stream="text/event-stream" in content,
    )


def _kind(document: dict[str, Any], parameter: dict[str, Any]) -> str:
    schema = _resolve(document, parameter["schema"])
    for each in (schema, *(_resolve(document, option) for option in schema.get("anyOf", []))):
        if "type" in each:
            return _kind_of_items(document, each)
    return "string"


def _kind_of_items(document: dict[str, Any], schema: dict[str, Any]) -> str:
    if schema["type"] == "array":
        return _resolve(document, schema["items"]).get("type", "string")
    return schema["type"]


def _example(document: dict[str, Any], body: dict[str, Any] | None) -> dict[str, Any] | None:
    if body is None:
        return None
    media = _resolve(document, body)["content"].get("application/json")
    if media is None:
        return None
    schema = _resolve(document, media.get("schema", {}))
    if "example" in media:
        return media["example"]
    if media.get("examples"):
        return next(iter(media["examples"].values()))["value"]
    return schema["examples"][0]


def _resolve(document: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in found:
        target: Any = document
        for part in found["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        found = target
    return found

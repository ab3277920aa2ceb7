"""`/docs` (Swagger UI) and `/redoc`: the API's document for people, without other servers.

Their programs come with a package, so that they work where there is no internet, and no other
site learns who reads them or can change what runs in the reader's browser.
"""

from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

_ASSETS = "/docs/assets"
# Styles are written by the programs themselves; Redoc searches in a worker of its own making.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SWAGGER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tenantry API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="{assets}/swagger-ui.css"></head>
<body><div id="docs"></div>
<script src="{assets}/swagger-ui-bundle.js"></script>
<script src="{assets}/start-swagger-ui.js"></script></body></html>
"""
_REDOC = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tenantry API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"></head>
<body><div id="docs"></div>
<script src="{assets}/redoc.standalone.js"></script>
<script src="{assets}/start-redoc.js"></script></body></html>
"""
# Files of their own: scripts within a page are what the policy is there to stop.
_STARTS = {
    "start-swagger-ui.js": 'SwaggerUIBundle({{url: "{document}", dom_id: "#docs", '
    "deepLinking: true, validatorUrl: null}});\n",
    "start-redoc.js": 'Redoc.init("{document}", {{}}, document.getElementById("docs"));\n',
}
_PACKAGED = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js")
_TYPES = {"js": "text/javascript", "css": "text/css"}


def make_reference_pages(document_url: str) -> APIRouter:
    """Make the routes of both pages, for the document at this path."""
    router = APIRouter(include_in_schema=False)
    starts = {name: text.format(document=document_url) for name, text in _STARTS.items()}

    @router.get("/docs")
    async def docs() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        """Show the document with Swagger UI."""
        return _page(_SWAGGER)

    @router.get("/redoc")
    async def redoc() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction]
        """Show the document with Redoc."""
        return _page(_REDOC)

    @router.get(f"{_ASSETS}/{{name}}")
    def asset(name: str) -> Response:  # pyright: ignore[reportUnusedFunction]
        """Send a file of a page's."""
        if name in starts:
            content = starts[name].encode()
        elif name in _PACKAGED:
            content = (files("fastapi_offline") / "static" / name).read_bytes()
        else:
            raise HTTPException(404)
        media_type = _TYPES[name.rpartition(".")[2]]
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=3600"})

    return router


def _page(text: str) -> HTMLResponse:
    return HTMLResponse(text.format(assets=_ASSETS), headers={"Content-Security-Policy": _POLICY})

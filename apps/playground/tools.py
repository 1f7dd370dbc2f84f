"""The API's functions as tools of the Model Context Protocol: JSON answers, sentences as errors."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, get_type_hints

from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, TextContent
from starlette.concurrency import run_in_threadpool

from apps.playground.api import ENDPOINTS, Api
from apps.playground.find.handlers import sentence
from apps.playground.studio.apart import apart

PATH = "/mcp"
_ABOUT = (
    "Steer a language model through the features of a sparse autoencoder. Ask `dictionaries` which "
    "there are, find features by `search`, look at one with `feature`, then `steer` or `measure`."
)


def tool_server(api: Api) -> FastMCP:
    """Stateless, at `PATH`: who may ask is decided before it (`apps.safety`)."""
    server = FastMCP(
        "steer",
        _ABOUT,
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        log_level="ERROR",
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    for name in ENDPOINTS:
        server.add_tool(_tool(api, name), structured_output=False)
    return server


def _tool(api: Api, name: str) -> Callable[..., Any]:
    """One endpoint, computed in a thread of its own; a list is under `result`."""
    call = getattr(api, name)

    @functools.wraps(call)
    async def tool(**arguments: Any) -> CallToolResult:
        try:
            with api.studio.working(f"a call of a tool ({name})"):
                result = await run_in_threadpool(apart(call), **arguments)
        except Exception as error:
            raise ToolError(sentence(error)) from error
        structured = result if isinstance(result, dict) else {"result": result}
        text = json.dumps(result, ensure_ascii=False)
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structuredContent=structured
        )

    tool.__annotations__ = {**get_type_hints(call), "return": CallToolResult}
    return tool

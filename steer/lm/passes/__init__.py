"""The trace bodies without edits. With `steer.splice.passes` all that runs inside nnsight.

Rules that nnsight imposes, kept here so that nobody else has to know them: sites are visited in
the order of the forward pass; nothing may follow an open `tracer.iter[:]` in its invoke; a trace
body names locals only, so that a remote run ships no more than it needs.
"""

from contextlib import suppress
from importlib import import_module

# nnsight gives every object a `.save`, after which these modules can't be defined any more
# ("Attribute 'save' is missing its type annotation"): hub downloads and gradio need them. If
# nnsight is there already, it is too late, and only those are the worse for it.
for _module in ("anyio.streams.tls", "anyio.streams.file", "anyio._backends._asyncio"):
    with suppress(ImportError, TypeError):
        import_module(_module)

from nnsight import Envoy as Envoy  # noqa: E402
from nnsight import save as save  # noqa: E402

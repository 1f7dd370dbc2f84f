"""Edited models inside Inspect, as the model provider `steer`.

    inspect eval task.py --model steer/smollm2-135m -M intervention=edit.json
    inspect eval task.py --model steer/smollm2-135m@edit --model-base-url http://127.0.0.1:8000/v1

In process, samples share one running batch; with a base URL they are a `steer serve`'s. Either
way the metadata of every output in the log proves how it was steered.
"""

from __future__ import annotations

from typing import Any, Literal

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from steer.errors import PromptError, SteerError
from steer.evals.files import Interventions, read_interventions
from steer.evals.inspect_ai.backends import Local, Reply, Served

_ACTING = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop_seqs": "stop",
    "num_choices": "n",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Settings of Inspect that act here, and OpenAI's names for them."""

_HARMLESS = {
    *("max_retries", "timeout", "attempt_timeout", "max_connections", "adaptive_connections"),
    *("system_message", "max_tool_output", "cache_prompt", "cache", "internal_tools"),
    *("parallel_tool_calls", "reasoning_history"),
}
"""Those that Inspect itself follows, or that are of what is not asked for."""


@modelapi(name="steer")
class SteerAPI(ModelAPI):  # type: ignore[misc]  # Inspect is an extra
    """A model under edits, in process, or with `base_url` at a `steer serve`.

    intervention: files (several are joined by `:`) that act together.
    silent: `error` makes an edit that never acts on a sample the sample's error.
    dtype, rows: of a model in process, and how many samples are decoded together.
    Raises `SteerError` for any other argument, and for an edit that does not fit.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  # as Inspect's own
        intervention: Interventions = (),
        silent: Literal["report", "error"] = "report",
        dtype: str = "float32",
        rows: int = 16,
        **unknown: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, ["STEER_API_KEY"], config)
        if unknown:
            raise SteerError(
                f"-M {', '.join(unknown)} is unknown; allowed: intervention, silent, dtype, rows"
            )
        if silent not in ("report", "error"):
            raise SteerError(f"silent={silent!r} is unknown; allowed: report, error")
        edits, refuse = read_interventions(intervention), silent == "error"
        self.rows = rows
        self.backend: Local | Served
        if base_url:
            self.backend = Served(base_url, self.api_key, model_name, edits, refuse)
        else:
            self.backend = Local.open(model_name, edits, refuse, dtype, rows)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        if tools:
            raise SteerError("tools are not possible here: the model is not asked to call any")
        messages = [{"role": _role(message), "content": message.text} for message in input]
        reply = await self.backend.ask(messages, _options(config))
        return _output(self.model_name, reply)

    def max_connections(self) -> int:
        """As many samples as are decoded together."""
        return self.rows

    def connection_key(self) -> str:
        return self.base_url or self.model_name

    def should_retry(self, ex: Exception) -> bool:
        """A server that is busy has room again."""
        return self.backend.busy(ex)

    async def aclose(self) -> None:
        await self.backend.close()


def _role(message: ChatMessage) -> str:
    if message.role not in ("system", "user", "assistant"):
        raise PromptError(f"a message of role {message.role!r} is not possible here")
    role: str = message.role
    return role


def _options(config: GenerateConfig) -> dict[str, Any]:
    """OpenAI's names of what acts. Raises `SteerError` for what would be left out."""
    given = {name: value for name, value in config.model_dump().items() if value is not None}
    if unknown := sorted(set(given) - set(_ACTING) - _HARMLESS):
        raise SteerError(
            f"{', '.join(unknown)} would not act here, so it is refused; allowed: "
            f"{', '.join(sorted(_ACTING))}"
        )
    return {_ACTING[name]: value for name, value in given.items() if name in _ACTING}


def _output(model: str, reply: Reply) -> ModelOutput:
    choices = [
        ChatCompletionChoice(
            message=ChatMessageAssistant(content=text, model=model, source="generate"),
            stop_reason="max_tokens" if finish == "length" else "stop",
        )
        for text, finish in reply.choices
    ]
    usage = ModelUsage(
        input_tokens=reply.read, output_tokens=reply.drawn, total_tokens=reply.read + reply.drawn
    )
    return ModelOutput(
        model=model, choices=choices, usage=usage, metadata={"steer": dict(reply.proof)}
    )

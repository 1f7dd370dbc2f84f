"""What a model answers to instructions under many edits, decoded as rows of few batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dictionaries.dictionary import Dictionary
from steer.edits import Intervention
from steer.lm.continuations import Continuation
from steer.lm.prompts import Prompt, read_prompt
from steer.model import Model
from steer.progress import Progress
from steer.runs import generate as runs
from steer.runs.generate import Request
from steer.runs.sampling import Sampling

INSTRUCTIONS = (
    "Describe the house you grew up in.",
    "Tell me about a day at the beach.",
    "How do I make a good cup of tea?",
    "Write a few sentences about your best friend.",
    "What should I pack for a trip to the mountains?",
    "Explain how a bicycle works.",
    "Tell me a short story about a dog.",
    "What did you have for dinner last night?",
    "Describe a busy market in the morning.",
    "Why do people like music?",
)
"""Everyday ones, which a small model can answer; even places select, odd ones report."""


@dataclass(frozen=True)
class Question:
    """An instruction, and the prompt that it is put to the model in; a chat where it has one.

    asked: what the answer is judged against.
    """

    asked: str
    prompt: Prompt

    @classmethod
    def ask(cls, model: Model, instruction: str, hint: str = "") -> Question:
        """hint: said after the instruction, but not part of what the answer is judged against."""
        text = f"{instruction} {hint}".strip()
        chat = [{"role": "user", "content": text}]
        return cls(instruction, read_prompt(model, chat if model.tokenizer.chat_template else text))


@dataclass(frozen=True)
class Answer:
    """A continuation of a prompt.

    prompt_ids, ids: the tokens read before it, and its own, the end token included.
    """

    instruction: str
    text: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]


def continuations(answers: Sequence[Answer]) -> list[Continuation]:
    """The tokens of each, for reading them back."""
    return [Continuation(answer.prompt_ids, answer.ids) for answer in answers]


def answers(
    model: Model,
    questions: Sequence[Question],
    interventions: Sequence[tuple[Intervention, ...]],
    *,
    max_new_tokens: int = 64,
    seed: int = 0,
    temperature: float = 1.0,
    batch: int = 96,
    dictionaries: Sequence[Dictionary] = (),
    progress: Progress | None = None,
) -> list[Answer]:
    """The answer to each question under the interventions of the same place; () is unsteered.

    Sampled at temperature 1 without a repetition penalty (AxBench). All rows share one stream of
    noise, so that a row comes out as it would alone with this seed. An edit that changed nothing
    raises `SilentEditError`.
    """
    requests = [
        Request(question.prompt, given)
        for question, given in zip(questions, interventions, strict=True)
    ]
    sampling = Sampling(temperature=temperature, seed=seed)
    replies: list[Answer] = []
    for start in range(0, len(requests), batch):
        part = requests[start : start + batch]
        done = runs.generate(
            model,
            part,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            dictionaries=dictionaries,
        )
        for question, run in zip(questions[start : start + batch], done, strict=True):
            run.receipt.raise_if_silent()
            replies.append(Answer(question.asked, run.text, question.prompt.ids, run.ids))
        if progress:
            progress("answering", len(replies), len(requests))
    return replies

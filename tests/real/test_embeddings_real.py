"""The packaged sentence embeddings, where they are installed."""

from __future__ import annotations

import pytest
import torch

from steer.evals.steering.answers import Answer
from steer.evals.steering.embeddings import available, minilm
from steer.evals.steering.judges import Relevance

pytestmark = pytest.mark.skipif(not available(), reason="needs sae-steer[evals]")


def test_like_texts_are_near_and_a_text_does_not_depend_on_its_batch() -> None:
    texts = ["A dog barked at the mailman.", "The puppy was barking.", "Interest rates rose again."]
    embeddings = minilm(texts)
    assert embeddings.shape == (3, 384)
    assert torch.allclose(embeddings.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert torch.allclose(minilm(texts[:1])[0], embeddings[0], atol=1e-5)
    assert embeddings[0] @ embeddings[1] > 0.5 > 0.2 > embeddings[0] @ embeddings[2]


def test_relevance_tells_an_answer_to_this_from_an_answer_to_that() -> None:
    tea, bike = "How do I make tea?", "How does a bicycle work?"
    own = [
        Answer(
            tea, "Boil water, pour it over the tea leaves and wait three minutes.", (1,), (2, 3)
        ),
        Answer(bike, "You push the pedals, and the chain turns the rear wheel.", (1,), (2, 3)),
    ]
    rate = Relevance()(own)
    other = Answer(tea, own[1].text, (1,), (2, 3))
    assert rate(own).min() > 1.5 > 0.5 > rate([other]).item()

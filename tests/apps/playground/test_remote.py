"""The page with a `steer serve` behind it: the texts and receipts that it has without."""

from __future__ import annotations

import pytest
import torch

import steer
from apps.playground.start import open_studio
from apps.playground.state.setup import Row, Setup
from apps.playground.studio.remote import Remote, dtype_of
from apps.playground.studio.studio import Studio
from steer.errors import FetchError, ModelError
from tests.support import tiny
from tests.support.serving import MODEL, NAME, Server

SETUP = Setup(
    prompt="The old bridge",
    rows=(Row(NAME, steer.Clamp(1176, "2x max")),),
    max_new_tokens=8,
    temperature=0.7,
    seed=0,
)


@pytest.fixture(scope="module")
def model() -> steer.Model:
    return steer.load(MODEL)


@pytest.fixture(scope="module")
def here(model: steer.Model) -> Studio:
    return open_studio(model)


@pytest.fixture(scope="module")
def there(model: steer.Model, server: Server) -> Studio:
    return open_studio(model, server=server.url)


def test_a_run_of_a_server_is_the_run_of_the_model_here(here: Studio, there: Studio) -> None:
    mine, theirs = here.run(SETUP), there.run(SETUP)
    assert (theirs.text, theirs.ids, theirs.baseline) == (mine.text, mine.ids, mine.baseline)
    assert theirs.interventions == mine.interventions
    assert theirs.sampling == mine.sampling
    for one, other in zip(mine.receipt, theirs.receipt, strict=True):
        assert other.acted_tokens == one.acted_tokens
        assert [token.token for token in other.tokens] == [token.token for token in one.tokens]
        assert other.relative_dose == pytest.approx(one.relative_dose, rel=1e-3)


def test_a_page_that_is_told_no_dtype_takes_the_server_s(server: Server) -> None:
    assert dtype_of(server.url) == dtype_of(f"{server.url}/v1") == "float32"


def test_it_is_watched_token_by_token(there: Studio) -> None:
    with there.stream(SETUP) as stream:
        pieces = list(stream)
        run = stream.result()
    assert [piece.step for piece in pieces] == [1, *range(1, 9)]
    assert pieces[0].baseline == ""
    assert (pieces[-1].baseline, pieces[-1].edited) == (run.baseline.text, run.text)


def test_a_run_that_is_stopped_has_what_it_had_and_frees_the_server(
    there: Studio, server: Server
) -> None:
    seen: list[torch.Tensor] = []

    def stop(ids: torch.Tensor) -> bool:
        seen.append(ids)
        return len(seen) == 3

    long = Setup(prompt=SETUP.prompt, rows=SETUP.rows, max_new_tokens=150, seed=0)
    run = there.run(long, stop)
    assert 3 <= len(run.ids) < 150
    assert len(run.receipt[0].acted_tokens) == len(seen[0][0]) + len(run.ids) - 2
    for _ in range(600):
        if not server.get("/health").json()["served"]:
            return
    pytest.fail("the server still writes")


def test_what_is_wrong_is_said_at_the_start_or_in_the_library_s_words(
    there: Studio, server: Server
) -> None:
    with pytest.raises(ModelError, match="give both the same"):
        Remote.of(server.url, tiny.tiny_model("llama"))
    with pytest.raises(FetchError, match="no steer serve answers"):
        Remote.of("http://127.0.0.1:9", tiny.tiny_model("llama"))
    large = Setup(prompt="a", rows=(Row(NAME, steer.Clamp(1176, 1e38)),), max_new_tokens=4)
    with pytest.raises(steer.SteerError, match="give a smaller value"):
        there.run(large)

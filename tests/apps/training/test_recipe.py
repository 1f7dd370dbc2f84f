"""Training recipes, and a whole training run on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from apps.corpora import SOURCES
from apps.training import contexts as contexts_module
from apps.training.baselines import Baseline, run_baseline
from apps.training.beside import SHOWN, beside
from apps.training.recipe import Recipe, load_recipe
from apps.training.stability import StabilityReport, other_seeds, run_stability
from apps.training.train import run_recipe
from dictionaries import catalogue
from dictionaries.beside.stability import Stability
from dictionaries.dictionary import Dictionary
from dictionaries.errors import TrainingError
from dictionaries.training.activations import Contexts
from dictionaries.training.config import TrainConfig
from dictionaries.training.state import first_rows
from steer.lm.hookpoints import parse
from tests.support import tiny

GOOD = """
name = "tiny"
model = "{model}"
sites = ["resid_post.0", "resid_post.1"]
tokens = 6400
context = 16
heldout_share = 0.25
evaluation_tokens = 300
harvest_dtype = "float32"
evaluation_dtype = "float32"
outlier_medians = 100.0

[corpora]
sotu = 0.5
news = 0.5

[train]
width = 40
k = 4
samples = 6400
batch = 64
learning_rate = 2e-3
candidates_dtype = "float32"

[train."resid_post.1"]
k = 5
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """The recipe with some text replaced."""

    def to_file(*replacements: tuple[str, str], model: str = "smollm2-135m") -> Path:
        text = GOOD.replace("{model}", model)
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return to_file


def test_a_recipe(write: Write) -> None:
    recipe = load_recipe(str(write()))
    assert recipe.sites == ("resid_post.0", "resid_post.1")
    assert {site: config.k for site, config in recipe.train.items()} == {
        "resid_post.0": 4,
        "resid_post.1": 5,
    }
    assert {config.width for config in recipe.train.values()} == {40}
    assert recipe.corpora == {"sotu": 0.5, "news": 0.5}


def test_a_recipe_says_what_is_frozen(write: Write) -> None:
    path = write(("k = 5", 'k = 5\nfrozen = "soft decoder"\nleast_cosine = 0.9'))
    train = load_recipe(str(path)).train
    assert [config.frozen for config in train.values()] == ["nothing", "soft decoder"]
    assert train["resid_post.1"].least_cosine == 0.9


def test_the_shipped_recipe() -> None:
    recipe = load_recipe("smollm2-135m")
    assert set(recipe.corpora) <= set(SOURCES)
    assert {parse(site).kind for site in recipe.sites} == {"resid_post"}
    assert [f"{recipe.name}/{site}" for site in recipe.sites] == catalogue.names()


@pytest.mark.parametrize("name", catalogue.names())
def test_the_shipped_cards_are_of_the_shipped_recipe(name: str) -> None:
    recipe, card = load_recipe("smollm2-135m"), catalogue.read_card(name)
    dtype = {
        "candidates_dtype": card["train"]["candidates_dtype"]
    }  # the machine's, not the recipe's
    assert card["train"] == recipe.train[card["hookpoint"]].to_dict() | dtype
    assert (card["context"], card["seed"]) == (recipe.context, recipe.seed)
    assert card["corpora"] == recipe.corpora


BAD: dict[str, list[tuple[str, str]]] = {
    "unknown key": [("context = 16", "contexts = 16")],
    "unknown key of train": [("k = 4", "kk = 4")],
    "unknown key of a site": [("k = 5", "kk = 5")],
    "a table of no site": [('[train."resid_post.1"]', '[train."resid_post.7"]')],
    "no name": [('name = "tiny"', "")],
    "no corpora": [("[corpora]\nsotu = 0.5\nnews = 0.5", "")],
    "shares": [("news = 0.5", "news = 0.4")],
    "share as text": [("news = 0.5", 'news = "half"')],
    "unknown corpus": [("news = 0.5", "newss = 0.5")],
    "not TOML": [("tokens = 6400", "tokens = ")],
    "bad setting": [("k = 4", "k = 0")],
    "nothing that can be frozen": [("k = 4", 'k = 4\nfrozen = "rows"')],
    "setting of another type": [("width = 40", 'width = "wide"')],
    "architecture": [("width = 40", 'width = 40\narchitecture = "gated"')],
    "sites as text": [('sites = ["resid_post.0", "resid_post.1"]', 'sites = "resid_post.0"')],
    "train no table": [("[train]", "[[train]]"), ('[train."resid_post.1"]\nk = 5', "")],
    "not UTF-8": [("tiny", "tin\udcff")],
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD.keys())
def test_bad_recipes(changes: list[tuple[str, str]], tmp_path: Path) -> None:
    text = GOOD.replace("{model}", "smollm2-135m")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TrainingError):
        load_recipe(str(path))


@pytest.mark.parametrize("name", ["nowhere", "", "/no/such.toml"])
def test_unknown_recipes(name: str) -> None:
    with pytest.raises(TrainingError, match="give a path, or one of smollm2-135m"):
        load_recipe(name)


# -- a whole run -------------------------------------------------------------------------------


def documents(name: str, cache: Path) -> Iterator[str]:
    """Two hundred seeded documents of thirty-three words."""
    generator = torch.Generator().manual_seed(len(name))
    for row in torch.randint(3, tiny.VOCABULARY, (200, 33), generator=generator).tolist():
        yield " ".join(f"w{i}" for i in row)


@pytest.fixture
def recipe(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    model = tmp_path / "model"
    tiny.build("llama").save_pretrained(model)
    tiny.tokenizer().save_pretrained(model)
    monkeypatch.setattr(contexts_module, "documents", documents)
    monkeypatch.setenv("STEER_CACHE", str(tmp_path / "cache"))
    return load_recipe(str(write(model=str(model))))


def test_a_whole_run(recipe: Recipe, tmp_path: Path) -> None:
    seen: set[str] = set()
    folders = run_recipe(
        recipe,
        tmp_path / "out",
        tmp_path / "work",
        progress=lambda what, done, total: seen.add(what.split(":")[0]),
    )
    assert [f.relative_to(tmp_path / "out").as_posix() for f in folders] == [
        "tiny/resid_post.0",
        "tiny/resid_post.1",
    ]
    assert {"harvesting", "training resid_post.0"} <= seen
    for folder, k in zip(folders, (4, 5), strict=True):
        card = json.loads((folder / "card.json").read_text())
        sae = catalogue.load(folder)  # which checks its sums
        assert card["name"] == f"tiny/{folder.name}"
        assert sae.config.hookpoint == folder.name
        assert sae.statistics is not None
        assert sae.statistics.promoted.shape == (40, 10)
        assert card["l0"] == pytest.approx(k, rel=0.3)
        assert 0 < card["fvu"] < card["random_fvu"] < 1.5
        assert set(card["sha256"]) == {f.name for f in folder.iterdir()} - {"card.json"}
    before = [(f / "card.json").stat().st_mtime_ns for f in folders]
    assert run_recipe(recipe, tmp_path / "out", tmp_path / "work") == folders
    assert [(f / "card.json").stat().st_mtime_ns for f in folders] == before


def test_a_run_repeats(recipe: Recipe, tmp_path: Path) -> None:
    cards = []
    for name in ("one", "other"):
        (folder,) = run_recipe(
            recipe, tmp_path / name / "out", tmp_path / name / "work", sites=["resid_post.1"]
        )
        cards.append(json.loads((folder / "card.json").read_text()))
    assert cards[0] == cards[1]


def test_only_harvest(recipe: Recipe, tmp_path: Path) -> None:
    assert run_recipe(recipe, tmp_path / "out", tmp_path / "work", harvest_only=True) == []
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "work" / "activations" / "harvest.jsonl").exists()


def test_an_unknown_site(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no site resid_post\.9; it has resid_post\.0"):
        run_recipe(recipe, tmp_path / "out", tmp_path / "work", sites=["resid_post.9"])


def test_several_seeds(recipe: Recipe, tmp_path: Path) -> None:
    def run() -> StabilityReport:
        return run_stability(
            recipe,
            "resid_post.1",
            seeds=range(1, 5),
            samples=3200,
            tokens=3200,
            work=tmp_path / "work",
            dictionary=None,
            out=tmp_path / "out",
            progress=lambda what, done, total: None,
        )

    answer = run()
    known = Stability.load(tmp_path / "out")
    assert known is not None
    assert (known.seeds, known.samples, len(known.chance)) == (3, 3200, 40)
    assert sum(answer.histogram) == pytest.approx(1)
    assert answer.cosine == pytest.approx(known.cosine.mean().item(), abs=0.01)
    rows = [
        catalogue.load(tmp_path / "work" / "resid_post.1" / f"seed-{seed}" / "trained").W_dec
        for seed in (1, 2)
    ]
    assert not torch.allclose(*rows)
    assert run() == answer
    with pytest.raises(TrainingError, match="3 seeds are too few"):
        run_stability(
            recipe, "resid_post.1", seeds=range(3), samples=3200, tokens=3200, work=tmp_path,
            dictionary=None, out=tmp_path, progress=lambda what, done, total: None,
        )  # fmt: skip


def test_a_dictionary_of_the_recipe_is_one_of_the_seeds(recipe: Recipe, tmp_path: Path) -> None:
    """Three more seeds do then, and its own is not trained again to be found in full."""
    work = tmp_path / "work"
    (folder,) = run_recipe(recipe, tmp_path / "out", work, sites=["resid_post.1"])
    own = catalogue.load(folder)
    tokens = Contexts.load(work / "contexts.safetensors").tokens.numel()

    def run(seeds: list[int], dictionary: Dictionary) -> StabilityReport:
        return run_stability(
            recipe, "resid_post.1", seeds=seeds, samples=None, tokens=tokens, work=work,
            dictionary=dictionary, out=tmp_path, progress=lambda what, done, total: None,
        )  # fmt: skip

    seed = recipe.train["resid_post.1"].seed
    others = other_seeds(recipe, "resid_post.1", own, 3)
    assert len(set(others) - {seed}) == 3
    answer = run(others, own)
    assert (answer.seeds, answer.foretold.features) == (3, 3 * own.width)
    with pytest.raises(TrainingError, match=f"seed {seed} is that of the dictionary itself"):
        run([seed, *others], own)
    assert own.card is not None
    longer = replace(own, card={**own.card, "train": {**own.card["train"], "samples": 9}})
    with pytest.raises(TrainingError, match="3 seeds are too few"):
        run(others, longer)


def test_what_was_made_otherwise_is_not_taken_for_what_is_asked(
    recipe: Recipe, tmp_path: Path
) -> None:
    def run(samples: int, tokens: int) -> None:
        run_stability(
            recipe, "resid_post.1", seeds=range(4), samples=samples, tokens=tokens,
            work=tmp_path / "work", dictionary=None, out=tmp_path / "out",
            progress=lambda what, done, total: None,
        )  # fmt: skip

    run(1600, 3200)
    run(1600, 3200)
    with pytest.raises(TrainingError, match=r"samples 1600, now 3200\): give another --work"):
        run(3200, 3200)
    for tokens in (1600, 4800):
        with pytest.raises(TrainingError, match=f"of 3,200 tokens, and {tokens:,} were asked for"):
            run(1600, tokens)


def test_baselines_differ_from_the_trained_one_in_what_is_frozen(
    recipe: Recipe, tmp_path: Path
) -> None:
    """The same data, seed and samples, from one harvest, and each under a name of its own."""

    def run(frozen: str) -> Path:
        (folder,) = run_baseline(
            recipe,
            Baseline(frozen, samples=3200, tokens=3200, seed=3),
            tmp_path / "out",
            tmp_path / "work",
            sites=["resid_post.1"],
        )
        return folder

    folders = {frozen: run(frozen) for frozen in ("nothing", "decoder", "encoder")}
    assert [f.relative_to(tmp_path / "out").as_posix() for f in folders.values()] == [
        "tiny-plain/resid_post.1",
        "tiny-frozen-decoder/resid_post.1",
        "tiny-frozen-encoder/resid_post.1",
    ]
    cards = {frozen: json.loads((f / "card.json").read_text()) for frozen, f in folders.items()}
    told = {frozen: card["train"].pop("frozen", "nothing") for frozen, card in cards.items()}
    assert told == {frozen: frozen for frozen in folders}
    assert cards["nothing"]["train"] == cards["decoder"]["train"] == cards["encoder"]["train"]
    assert cards["nothing"]["train"]["seed"] == 3
    drawn = first_rows(TrainConfig(width=40, k=5, seed=3), tiny.D)
    rows = {frozen: catalogue.load(folder).W_dec for frozen, folder in folders.items()}
    assert torch.allclose(rows["decoder"], drawn, atol=2e-3)
    assert not torch.allclose(rows["nothing"], drawn, atol=2e-2)
    before = (folders["decoder"] / "card.json").stat().st_mtime_ns
    assert (run("decoder") / "card.json").stat().st_mtime_ns == before


def test_a_card_shows_baselines_beside_its_own_figures(recipe: Recipe, tmp_path: Path) -> None:
    """Those of the baseline's own card; and all else stays as it was."""
    out, work, site = tmp_path / "out", tmp_path / "work", "resid_post.1"
    (folder,) = run_recipe(recipe, out, work, sites=[site])
    before = catalogue.read_card(folder)
    baselines = [Baseline(part, samples=3200, seed=3) for part in ("decoder", "nothing")]
    for baseline in (*baselines, *baselines):  # a second time takes the place of the first
        card = beside(folder, recipe, baseline, work)
    assert catalogue.read_card(folder) == card
    assert catalogue.load(folder).card == card
    shown = card.pop("baselines")
    assert card == before
    (finished,) = run_baseline(recipe, baselines[0], out, work, sites=[site])
    own = catalogue.read_card(finished)
    assert shown[0] == {
        "frozen": "decoder",
        "samples": 3200,
        "seed": 3,
        **{name: own[name] for name in SHOWN},
    }
    assert shown[1]["frozen"] == "nothing"
    assert shown[0]["explained_variance"] < shown[1]["explained_variance"]


def test_baselines_that_are_none(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="frozen 'bias' is unknown"):
        run_baseline(recipe, Baseline("bias"), tmp_path / "out", tmp_path / "work")
    with pytest.raises(TrainingError, match=r"no site resid_post\.9"):
        run_baseline(
            recipe, Baseline("decoder"), tmp_path / "out", tmp_path, sites=["resid_post.9"]
        )


def test_so_few_tokens_that_nothing_is_held_out(recipe: Recipe, tmp_path: Path) -> None:
    """Said before anything is trained, where a card could not be written after it."""
    work = tmp_path / "work"
    with pytest.raises(TrainingError, match="of the 1 contexts harvested are of documents"):
        run_baseline(recipe, Baseline("decoder", 64, recipe.context), tmp_path / "out", work)
    assert not (work / "resid_post.0").exists()


def test_heldout_documents_are_not_trained_on(recipe: Recipe) -> None:
    contexts = contexts_module.build_contexts(recipe, tiny.tokenizer(), Path("unused"))
    assert contexts.tokens.shape[1] == recipe.context
    assert contexts.heldout.float().mean() == pytest.approx(recipe.heldout_share, abs=0.03)
    assert len(contexts.tokens) == recipe.tokens // recipe.context
    counts = torch.bincount(contexts.source.long())
    assert counts.tolist() == [200, 200]
    first = {tuple(row) for row in contexts.tokens[contexts.heldout].tolist()}
    assert first.isdisjoint(map(tuple, contexts.tokens[~contexts.heldout].tolist()))

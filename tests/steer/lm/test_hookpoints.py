"""Names of sites, and where they are in each family."""

from __future__ import annotations

import pytest

import steer
from steer.lm.anatomy import anatomy_of
from steer.lm.hookpoints import KINDS, parse, transformer_lens_name
from tests.support import plain, tiny

CASES = [
    (family, kind, layer)
    for family in tiny.FAMILIES
    for kind in plain.SITES[family]
    for layer in (0, tiny.LAYERS - 1)
]
TRANSFORMER_LENS = {
    "blocks.3.hook_resid_pre": "resid_pre.3",
    "blocks.3.hook_resid_mid": "resid_mid.3",
    "blocks.12.hook_resid_post": "resid_post.12",
    "blocks.3.hook_attn_out": "attn_out.3",
    "blocks.3.hook_mlp_out": "mlp_out.3",
    "blocks.3.attn.hook_z": "attn_z.3",
    "blocks.3.mlp.hook_post": "mlp_hidden.3",
    "blocks.3.mlp.hook_in": "mlp_in.3",
}


@pytest.mark.parametrize(("family", "kind", "layer"), CASES)
def test_where_sites_are(family: str, kind: str, layer: int) -> None:
    module, name = tiny.plain_model(family), f"{kind}.{layer}"
    site = anatomy_of(module).locate(name)
    assert (site.path, site.side) == plain.path_of(family, name)
    assert str(site.hookpoint) == name
    assert module.get_submodule(site.path) is not None


def test_every_kind_is_in_the_table() -> None:
    assert {kind for kinds in plain.SITES.values() for kind in kinds} == set(KINDS)


@pytest.mark.parametrize(("family", "kind", "layer"), CASES)
def test_the_width_of_a_site(family: str, kind: str, layer: int) -> None:
    model, name = tiny.tiny_model(family), f"{kind}.{layer}"
    assert model.width(model.site(name)) == tiny.site_width(model, name)


def test_parallel_residual_has_no_middle() -> None:
    with pytest.raises(steer.HookpointError, match=r"no resid_mid; it has: resid_pre, attn_z"):
        anatomy_of(tiny.plain_model("gpt_neox")).locate("resid_mid.1")


@pytest.mark.parametrize(("theirs", "ours"), TRANSFORMER_LENS.items())
def test_transformer_lens_names(theirs: str, ours: str, llama: steer.Model) -> None:
    assert str(parse(theirs)) == ours
    assert transformer_lens_name(parse(ours)) == theirs
    assert parse(ours) == parse(theirs)


@pytest.mark.parametrize("layer", [3, 99])
@pytest.mark.parametrize("name", ["resid_post.{}", "blocks.{}.hook_resid_post"])
def test_layers_out_of_range(name: str, layer: int, llama: steer.Model) -> None:
    with pytest.raises(steer.HookpointError, match=f"resid_post.{layer}: .*blocks 0 to 2"):
        llama.site(name.format(layer))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resid_pos.1", "resid_post"),
        ("mlpout.1", ""),
        ("blocks.1.hook_resid", ""),
        ("attn_o.1", "attn_out"),
    ],
)
def test_unknown_kinds_are_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(steer.HookpointError, match=f"{near}.*[Kk]inds: resid_pre"):
        parse(name)


@pytest.mark.parametrize(
    "name", ["", "resid_post", "resid_post.-1", "resid_post.1.2", "20", "a b.1"]
)
def test_names_of_another_form(name: str) -> None:
    with pytest.raises(steer.HookpointError, match=r"kind\.layer, such as resid_post\.20"):
        parse(name)


def test_hookpoints_sort_in_the_order_of_the_forward_pass() -> None:
    names = ["resid_post.1", "resid_pre.1", "mlp_out.0", "attn_out.1", "resid_mid.1", "attn_z.1"]
    ordered = sorted(map(parse, names), key=lambda point: point.order)
    assert [str(point) for point in ordered] == [
        "mlp_out.0",
        "resid_pre.1",
        "attn_z.1",
        "attn_out.1",
        "resid_mid.1",
        "resid_post.1",
    ]


def test_collecting_several_sites_is_collecting_each(model: steer.Model, family: str) -> None:
    names = [f"{kind}.{layer}" for layer in (1, 0) for kind in plain.SITES[family]]
    ids, mask = model.tokenize(list(tiny.PROMPTS))
    together = model.collect(ids, mask, names)
    assert set(together) == set(names)
    for name, value in together.items():
        assert value.shape == (*ids.shape, model.width(model.site(name)))
        assert value.equal(model.collect(ids, mask, [name])[name])

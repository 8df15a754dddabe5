"""Composition: every shipped yaml builds, defaults match, auto chooses as documented."""

from pathlib import Path

import pytest
import yaml

from snnrun import registry
from snnrun.composition import compose_node, conf_dir, to_plain
from snnrun.config import check, learnable
from snnrun.errors import UserError

GROUPS = sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name != "hydra")
CHOICES = [
    f"{path.parent.name}={path.stem}" for group in GROUPS for path in sorted((conf_dir() / group).glob("*.yaml"))
]
NEEDS = {"loss=latency": ["method=hybrid"], "loss=count": ["method=hybrid"], "dataset=tonic": ["dataset.which=DVSLip"]}


def composed(*overrides: str):  # type: ignore[no-untyped-def]
    return check(to_plain(compose_node(overrides)))


@pytest.mark.parametrize("choice", CHOICES)
def test_every_shipped_yaml_composes_and_builds_a_network(choice: str) -> None:
    config = composed(choice, *NEEDS.get(choice, []))
    from snnrun.kernels import reference

    network = config.model.build(
        config.dataset.shape, config.dataset.outputs, config.dataset.T, config.method, reference
    )
    assert network.synapses[-1].weight.shape[0] == config.dataset.outputs


@pytest.mark.parametrize("method", ["activation", "timing", "hybrid"])
@pytest.mark.parametrize("preset", [choice for choice in CHOICES if choice.startswith("experiment=")])
def test_every_preset_takes_each_method(preset: str, method: str) -> None:
    config = composed(preset, f"method={method}", "loss=auto")
    assert config.method.name == method


def test_the_preset_of_nmnist_has_the_settings_that_were_measured() -> None:
    config = composed("experiment=nmnist_tuned")
    assert (config.method.name, config.method.surrogate_sharpness) == ("hybrid", 1.8)
    assert (config.loss.true_count, config.loss.false_count) == (5, 0)


def test_every_registered_component_has_a_yaml() -> None:
    for group in registry.GROUPS:
        assert {path.stem for path in (conf_dir() / group).glob("*.yaml")} >= set(registry.names(group))


def test_defaults_of_the_methods_are_the_papers() -> None:
    hybrid = composed("method=hybrid").method
    assert (hybrid.lambda_act, hybrid.lambda_tim) == (1, 1)
    assert (hybrid.surrogate_scale, hybrid.surrogate_sharpness) == (1, 3)
    assert composed("method=timing").method.penalty == 100
    latency = composed("loss=latency", "dataset=mnist").loss
    assert (latency.beta, latency.lambda_nospike) == (1 / 6, 0.1)
    assert composed("loss=spike_train").loss.alpha == 0.9
    assert composed().trainer.grad_clip == 1.0
    mlp = composed("model=mlp", "dataset=mnist").model
    assert (mlp.alpha_i, mlp.alpha_v, mlp.beta_i) == (0.99, 0.99, 1)


def test_losses_that_a_method_can_learn_from() -> None:
    works = {name: learnable(registry.component("method", name)()) for name in ("activation", "timing", "hybrid")}
    assert works == {
        "activation": ["count", "spike_train"],
        "timing": ["latency", "spike_train"],
        "hybrid": ["count", "latency", "spike_train"],
    }


def test_a_hybrid_without_one_of_its_weights_learns_less() -> None:
    hybrid = registry.component("method", "hybrid")
    assert learnable(hybrid(lambda_tim=0)) == ["count", "spike_train"]
    assert learnable(hybrid(lambda_act=0)) == ["latency", "spike_train"]
    assert learnable(hybrid(lambda_act=0, lambda_tim=0)) == []


@pytest.mark.parametrize(
    ("overrides", "loss"),
    [
        (["dataset=digits", "method=hybrid"], "latency"),
        (["dataset=digits", "method=timing"], "latency"),
        (["dataset=digits", "method=activation"], "count"),
        (["dataset=nmnist", "method=hybrid"], "latency"),
        (["dataset=nmnist", "method=timing"], "latency"),
    ],
)
def test_auto_takes_the_data_sets_loss_where_the_method_can_learn_from_it(overrides: list[str], loss: str) -> None:
    config = composed(*overrides)
    assert config.loss.name == loss
    assert config.loss_why


def test_auto_accepts_options_of_every_loss_and_says_which_do_not_apply() -> None:
    config = composed("method=activation", "loss.true_count=7", "loss.beta=0.3")
    assert config.loss.true_count == 7
    assert "loss.beta" in config.loss_why
    with pytest.raises(UserError, match=r"loss\.bata is not an option"):
        composed("loss.bata=1")


def test_an_option_that_no_yaml_lists_can_be_set() -> None:
    assert composed("method.lambda_tim=0.25").method.lambda_tim == 0.25
    assert composed("optimizer=sgd", "optimizer.momentum=0.9").optimizer.momentum == 0.9


def test_the_resolved_config_is_a_fixed_point() -> None:
    config = composed("dataset=nmnist", "method=timing", "model.layers=conv4c3-apool2-out")
    again = check(yaml.safe_load(yaml.safe_dump(config.to_dict())))
    assert again.to_dict() == config.to_dict()


def test_later_choices_win_over_a_data_sets_defaults() -> None:
    assert composed("dataset=digits").model.name == "mlp_small"
    assert composed("dataset=digits", "model=mlp").model.layers == "fc800-out"
    assert composed("dataset=digits", "trainer.epochs=3").trainer.epochs == 3


def test_a_config_dir_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("name: sgd\nlr: 0.5\n")
    node = compose_node(["optimizer=mine"], str(tmp_path))
    assert check(to_plain(node)).optimizer.lr == 0.5


def test_a_data_set_may_set_options_of_a_loss_and_the_user_wins() -> None:
    def weight(*overrides: str) -> float:
        return check(to_plain(compose_node(overrides))).loss.lambda_nospike  # type: ignore[attr-defined, no-any-return]

    assert weight() == weight("loss=latency") == 0.5  # digits
    assert weight("loss.lambda_nospike=0.2") == weight("loss=latency", "loss.lambda_nospike=0.2") == 0.2
    assert weight("dataset=mnist") == 0.1
    check(to_plain(compose_node(["method=activation"])))  # count has no such option

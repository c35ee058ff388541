"""A policy that lacks what a method needs is refused before anything starts, in one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_bundle import make_bundle

from tmrl_ros.core.errors import BundleError, ConfigurationError
from tmrl_ros.core.load import load_config, write_config
from tmrl_ros.core.methods import METHODS, Capability
from tmrl_ros.policies.bundle import PolicySpec, check_bundle
from tmrl_ros.policies.capabilities import offered

LEARNING = [name for name, traits in METHODS.items() if traits.learns]


def declare(folder: Path, spec: PolicySpec, **changes: object) -> PolicySpec:
    """The bundle again, with other declarations."""
    changed = spec.model_copy(update=changes)
    (folder / "policy.json").write_text(json.dumps(changed.model_dump()))
    return changed


@pytest.mark.parametrize("method", LEARNING)
@pytest.mark.parametrize("lacking", list(Capability))
def test_a_method_is_refused_exactly_when_what_it_needs_is_missing(
    tmp_path: Path, method: str, lacking: Capability
) -> None:
    gone = {lacking}
    if lacking is Capability.CONTEXT_SEED:
        gone.add(Capability.CONTEXT_NOISE)  # which would stand in for it
    rest = [item.value for item in Capability if item not in gone]
    declare(tmp_path, make_bundle(tmp_path), capabilities=rest)
    config = load_config(["task=lift", f"method={method}"])
    if not gone & METHODS[method].needs:
        assert check_bundle(tmp_path, config)
        return
    with pytest.raises(BundleError) as refusal:
        check_bundle(tmp_path, config)
    said = str(refusal.value)
    words = " and ".join(item for item in Capability if item in gone & METHODS[method].needs)
    assert f"method {method} needs a policy that takes {words};" in said
    assert str(tmp_path) in said
    others = said.split("Use method=")[1].removesuffix(", or another bundle.").split(", ")
    assert "base" in others and method not in others
    for other in others:
        assert check_bundle(tmp_path, load_config(["task=lift", f"method={other}"]))


def test_the_base_policy_needs_nothing(tmp_path: Path) -> None:
    declare(tmp_path, make_bundle(tmp_path), capabilities=[])
    assert check_bundle(tmp_path, load_config(["task=lift", "method=base"]))


def test_bundles_of_the_first_format_mean_the_timestep_and_its_noise_together(
    tmp_path: Path,
) -> None:
    spec = make_bundle(tmp_path)
    of_old = ["action_noise", "context_timestep", "batch"]
    every = set(Capability) - {Capability.COMMITTED}
    assert offered(spec.model_copy(update={"format": 1, "capabilities": of_old})) == every
    newer = offered(spec.model_copy(update={"capabilities": of_old}))
    context = {Capability.CONTEXT_NOISE, Capability.CONTEXT_SEED}
    assert every - newer == {*context, Capability.PLANS}


def test_a_chunk_shorter_than_a_plan_has_none(tmp_path: Path) -> None:
    spec = make_bundle(tmp_path)
    short = spec.action.model_copy(update={"horizon": 3})
    lost = offered(spec) - offered(spec.model_copy(update={"action": short}))
    assert lost == {Capability.PLANS}


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["method=tmrl"], "candidates=64"),
        (["method=tmrl", "method.rerank_samples=32"], "rerank_samples=32"),
        (["method=vgps"], "rerank_samples=50"),
    ],
)
def test_more_samples_than_the_policy_makes_are_refused(
    tmp_path: Path, overrides: list[str], key: str
) -> None:
    declare(tmp_path, make_bundle(tmp_path), max_samples=8)
    with pytest.raises(BundleError, match=rf"method\.{key} chunks.*at most 8 .*set method\."):
        check_bundle(tmp_path, load_config(["task=lift", *overrides]))
    # One that decodes a single chunk, however many noises are ranked, is not meant.
    dsrl = load_config(["task=lift", "method=dsrl", "method.rerank_samples=32"])
    assert check_bundle(tmp_path, dsrl)


def test_the_check_before_the_start_prints_one_sentence_and_exits_with_2(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    declare(bundle, make_bundle(bundle), capabilities=["action_noise"])
    config = load_config(["task=lift", "method=tmrl_paper", f"task.bundle={bundle}"])
    write_config(config, tmp_path / "config.yaml")
    argv = [sys.executable, "-m", "tmrl_ros.cli.checks", str(tmp_path / "config.yaml")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    for word in ("tmrl_paper", str(bundle), "context_timestep and context_noise", "dsrl"):
        assert word in done.stdout


def test_a_method_without_critics_cannot_re_rank() -> None:
    with pytest.raises(ConfigurationError, match="base has none: take method=vgps"):
        load_config(["method=base", "method.rerank_samples=8"])
    with pytest.raises(ConfigurationError, match="vgps chooses among samples"):
        load_config(["method=vgps", "method.rerank_samples=1"])

"""A served policy to the graph: as good as the same one here, and words where it does not fit."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from openpi_wire import OpenpiServer
from small_model import Echo, picture

from tmrl_ros.core.errors import BundleError, ConfigurationError, OperatorError
from tmrl_ros.core.load import config_hash, load_config, read_config, write_config
from tmrl_ros.core.types import Pose, RobotSample
from tmrl_ros.data.decode import RecordedObservation
from tmrl_ros.learning.acting import ActingPolicy
from tmrl_ros.policies.onnx_backend import load_policy
from tmrl_ros.policies.remote import seeds_of
from tmrl_ros.policies.source import check_policy, open_policy
from tmrl_ros.serving.client import RefusedError, UnansweredError
from tmrl_ros.serving.server import Settings, VlaServer, running
from tmrl_ros.vla.bundle_model import BundleModel, load_bundle_model

BUNDLES = Path(__file__).parents[2] / "bundles"
LIFT = BUNDLES / "lift"
PATIENT = ("policy.timeout_s=60", "policy.connect_s=60", "policy.reconnect_s=60")


@contextmanager
def served(model, **settings):
    with running(VlaServer(lambda: model, Settings(port=0, **settings))) as server:
        yield server


def config_for(port, *overrides):
    return load_config(
        ["task=lift", "policy=remote", f"policy.url=ws://127.0.0.1:{port}", *PATIENT, *overrides]
    )


def observation(**changes):
    origin = Pose(np.array([0.5, 0.0, 0.2]), np.array([1.0, 0, 0, 0]))
    joints, six = np.linspace(-1, 1, 7), np.zeros(6)
    values = {
        "stamp_ns": 0,
        "sequence": 1,
        "episode_id": "train_000000",
        "decision": 0,
        "robot": RobotSample(0, 0, joints, joints, joints, origin, six, six, 0.04),
        "prompt": "lift the red cube",
        "state": np.array([0.5, 0.0, 0.2, 0.5], np.float32),
        "object_names": ("red",),
        "object_positions": np.array([[0.45, 0.1, 0.02]], np.float32),
        "object_visible": np.ones(1, bool),
        "object_age_s": np.zeros(1),
        "images": {"exterior": picture(3), "wrist": picture(4)},
    }
    return RecordedObservation(**{**values, **changes})


@pytest.fixture(scope="module")
def lift():
    with served(load_bundle_model(LIFT)) as server:
        yield server


@pytest.mark.parametrize("rows", ["repeated", "of each row"])
def test_a_served_bundle_makes_the_chunks_that_it_makes_here(lift, rows):
    here, _ = load_policy(LIFT)
    there, spec, how = open_policy(config_for(lift.port))
    assert str(lift.port) in how and spec.weights_sha256 == here.spec.weights_sha256
    rng = np.random.default_rng(0)
    shape = (5, here.z_size) if rows == "repeated" else (5, here.spec.action.horizon, here.z_size)
    z = rng.standard_normal(shape).astype(np.float32)
    assert np.array_equal(here.raw_context(observation()), there.raw_context(observation()))
    context = there.raw_context(observation())
    asked = (np.repeat(context[None], 5, 0), z, np.zeros(5, np.float32))
    eps = rng.standard_normal((5, len(context))).astype(np.float32)
    assert np.abs(here.sample(*asked, eps) - there.sample(*asked, eps)).max() < 1e-6
    assert np.array_equal(here.features(context), there.features(context))
    there.close()


def test_a_served_bundle_goes_on_from_the_rows_that_are_carried_out(lift):
    here, _ = load_policy(LIFT)
    there, _, _ = open_policy(config_for(lift.port, "session.overlap_rows=3"))
    context = np.repeat(there.raw_context(observation())[None], 2, 0)
    z = np.random.default_rng(2).standard_normal((2, here.z_size)).astype(np.float32)
    asked = (context, z, np.zeros(2, np.float32), np.zeros_like(context))
    rows = here.sample(*asked)[0, :3] + [0.002, -0.001, 0.0, 0.0]
    chunks = there.sample(*asked, rows)
    assert np.allclose(chunks[:, :3], rows, atol=1e-6)
    assert np.allclose(chunks, here.sample(*asked, rows), atol=1e-5)
    assert np.abs(chunks - here.sample(*asked)).max() > 1e-4
    there.close()


def test_context_noise_is_the_same_for_the_same_vector_and_another_for_another(lift):
    there, _, _ = open_policy(config_for(lift.port))
    context = np.repeat(there.raw_context(observation())[None], 4, 0)
    eps = np.random.default_rng(1).standard_normal((4, context.shape[1])).astype(np.float32)
    eps[2] = eps[0]
    z, t = np.zeros((4, there.z_size), np.float32), np.full(4, 0.7, np.float32)
    chunks = there.sample(context, z, t, eps)
    assert np.array_equal(chunks, there.sample(context, z, t, eps))
    assert np.array_equal(chunks[0], chunks[2])
    assert np.abs(chunks[0] - chunks[1]).max() > 1e-4 < np.abs(chunks[0] - chunks[3]).max()
    alone = there.sample(context[1:2], z[1:2], t[1:2], eps[1:2])
    assert np.allclose(alone[0], chunks[1], atol=1e-6)
    there.close()


def test_imitation_needs_no_seed_of_its_own():
    eps = np.arange(6, dtype=np.float32).reshape(3, 2)
    seeds = seeds_of(np.array([0.5, 0.0, 0.5], np.float32), eps)
    assert seeds[1] == seeds[0] != seeds[2]


@pytest.mark.parametrize("method", ["base", "tmrl", "dsrl", "vgps"])
def test_methods_act_with_a_served_bundle(lift, method):
    config = config_for(lift.port, f"method={method}")
    policy, _, _ = open_policy(config)
    acting = ActingPolicy(policy, config.method)
    acting.begin_episode(index=0, seed=1, method=method, deterministic=False)
    decision = acting.decide(policy.raw_context(observation()))
    assert decision.actions.shape == (8, 4) and np.isfinite(decision.actions).all()
    policy.close()


def test_a_method_that_steers_the_noise_itself_is_refused_before_the_start(lift):
    with pytest.raises(BundleError, match=r"^ws://.*tmrl_paper needs .*context_noise; the server"):
        check_policy(config_for(lift.port, "method=tmrl_paper"))


def test_policies_that_look_at_points_are_not_served():
    with pytest.raises(BundleError, match="looks at points cannot be served"):
        BundleModel(load_policy(BUNDLES / "lift_points")[0])


CELL = {"cameras": ("exterior", "wrist"), "state_dim": 4, "horizon": 8}


def test_a_vla_gets_images_state_and_prompt_and_actors_see_what_perception_finds():
    model = Echo(**CELL)
    with served(model) as server:
        config = config_for(server.port, "policy.execute_steps=5")
        policy, spec, _ = open_policy(config)
        assert (policy.needs_pictures, spec.action.execute_steps, spec.kind) == (True, 5, "served")
        acting = ActingPolicy(policy, config.method)
        acting.begin_episode(index=0, seed=0, method="tmrl", deterministic=False)
        decision = acting.decide(policy.raw_context(observation()))
        policy.close()
    asked = model.asked[0]
    assert {name: int(image.max()) for name, image in asked.images.items()} == {
        "exterior": 3,
        "wrist": 4,
    }
    assert np.array_equal(asked.state, observation().state) and asked.prompt == "lift the red cube"
    assert decision.features.shape == (10,) and decision.actions.shape == (8, 4)


@pytest.mark.parametrize(
    ("size", "due"),
    [(7, np.linspace(-1, 1, 7)), (8, np.append(np.linspace(-1, 1, 7), 0.5))],
)
def test_a_vla_of_joints_gets_them(size, due):
    model = Echo(**{**CELL, "state_dim": size})
    with served(model) as server:
        policy, _, _ = open_policy(config_for(server.port, "method=base"))
        context = policy.raw_context(observation())
        policy.sample(context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
        policy.close()
    assert np.allclose(model.asked[0].state, due)


def test_moves_from_row_to_row_become_positions():
    with served(Echo(**CELL, action_space="cartesian_delta")) as server:
        policy, _, _ = open_policy(config_for(server.port, "method=base"))
        context = policy.raw_context(observation())
        z = np.array([[0.01, 0.0, -0.02, 3.0]], np.float32)
        [chunk] = policy.sample(context[None], z, np.zeros(1, np.float32), context[None])
        policy.close()
    assert np.allclose(chunk[:, 0], 0.01 * np.arange(1, 9))
    assert np.allclose(chunk[:, 2], -0.02 * np.arange(1, 9))
    assert (chunk[:, 3] == 1.0).all()


@pytest.mark.parametrize("space", ["cartesian_relative", "cartesian_delta"])
def test_committed_rows_reach_the_model_in_its_own_action_space(space):
    model = Echo(**CELL, action_space=space)
    with served(model) as server:
        policy, _, _ = open_policy(config_for(server.port, "method=base"))
        context = policy.raw_context(observation())
        asked = (context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
        rows = np.array([[0.01, 0.0, 0.0, 1.0], [0.03, 0.0, -0.01, 0.5]])
        policy.sample(*asked, rows)
        policy.sample(*asked)
        policy.close()
    first, second = model.asked
    moved = rows if space == "cartesian_relative" else [rows[0], [0.02, 0.0, -0.01, 0.5]]
    assert np.allclose(first.committed, moved) and second.committed is None


@pytest.mark.parametrize(
    ("changes", "overrides", "said"),
    [
        ({"action_space": "joint_velocity"}, [], "acts in 'joint_velocity' with 4 columns; the"),
        ({"action_dim": 7}, [], "with 7 columns"),
        ({"state_dim": 14}, [], "wants a state of 14 values; the arm has 4"),
        ({"cameras": ("base_0",)}, [], "camera 'base_0', the cell has .*policy.cameras="),
        ({"control_rate_hz": 15.0}, [], "actions are for 15 Hz, robot.control_rate_hz is 20"),
        ({"capabilities": ()}, [], "method tmrl needs .* the server declares plans. Use method="),
        ({}, ["method.candidates=65"], "the server makes at most 64 at a decision"),
    ],
)
def test_what_does_not_fit_is_one_sentence_at_the_start(changes, overrides, said):
    with (
        served(Echo(**{**CELL, **changes})) as server,
        pytest.raises(BundleError, match=said) as refusal,
    ):
        check_policy(config_for(server.port, *overrides))
    assert str(refusal.value).startswith(f"ws://127.0.0.1:{server.port}: ")


def test_cameras_are_known_by_other_names_there():
    model = Echo(**{**CELL, "cameras": ("base_0",)})
    with served(model) as server:
        policy, _, _ = open_policy(config_for(server.port, "policy.cameras={base_0: wrist}"))
        context = policy.raw_context(observation())
        policy.sample(context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
        policy.close()
    assert int(model.asked[0].images["base_0"].max()) == 4


OPENPI = (
    "policy.openpi={images: {exterior: observation/image}, horizon: 10, "
    "action_space: cartesian_relative}",
)


def test_an_openpi_server_is_the_frozen_policy_alone():
    rows = np.linspace(0, 1, 40, dtype=np.float32).reshape(10, 4)
    with OpenpiServer(lambda seen: {"actions": rows}).running() as server:
        with pytest.raises(BundleError, match="method tmrl needs .*server declares plans. Use met"):
            check_policy(config_for(server.port, *OPENPI))
        config = config_for(server.port, *OPENPI, "method=base")
        policy, spec, _ = open_policy(config)
        acting = ActingPolicy(policy, config.method)
        acting.begin_episode(index=0, seed=0, method="base", deterministic=True)
        decision = acting.decide(policy.raw_context(observation()))
        policy.close()
    assert np.allclose(decision.actions, rows) and spec.action.horizon == 10
    asked = server.seen[-1]
    assert set(asked) == {"observation/image", "observation/state", "prompt"}
    assert int(asked["observation/image"].max()) == 3


def test_a_chunk_of_another_shape_than_configured_is_refused():
    with OpenpiServer(lambda seen: {"actions": np.zeros((10, 7))}).running() as server:
        policy, _, _ = open_policy(config_for(server.port, *OPENPI, "method=base"))
        context = policy.raw_context(observation())
        with pytest.raises(RefusedError, match=r"chunks of \(10, 7\), the arm takes \(10, 4\)"):
            policy.sample(context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
        policy.close()


def test_a_server_that_is_late_is_asked_again_by_the_next_observation():
    model = Echo(**CELL)
    with served(model) as server:
        policy, _, _ = open_policy(config_for(server.port, "method=base", "policy.timeout_s=0.3"))
        context = policy.raw_context(observation())
        asked = (context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
        model.hold = True
        with pytest.raises(UnansweredError, match="did not answer within 0.3 s"):
            policy.sample(*asked)
        model.hold = False
        model.go.set()
        until_answered(policy, asked)
        policy.close()


def until_answered(policy, asked, attempts=50):
    for attempt in range(attempts):
        try:
            return policy.sample(*asked)
        except UnansweredError:
            assert attempt < attempts - 1
    return None


def test_no_server_at_the_start_is_one_sentence():
    with pytest.raises(OperatorError, match=r"Nobody listens at ws://127.0.0.1:1; start `tmrl vla"):
        check_policy(config_for(1, "policy.connect_s=0.2"))


def test_where_the_clock_runs_on_a_chunk_is_given_up_before_it_would_stop_the_arm():
    lockstep, running_on = (
        config_for(1),
        config_for(1, "robot.realtime=true", "policy.timeout_s=0.4"),
    )
    assert (lockstep.policy_timeout_s, running_on.policy_timeout_s) == (60.0, 0.4)
    usual = load_config(["task=lift", "policy=remote", "robot.realtime=true"])
    assert 0 < usual.policy_timeout_s < usual.safety.max_chunk_age_s
    with pytest.raises(ConfigurationError, match=r"timeout_s=2.0 is above safety.max_chunk_age_s"):
        config_for(1, "robot.realtime=true", "policy.timeout_s=2")


def test_where_the_clock_runs_on_an_observation_that_waited_for_the_server_is_not_acted_on():
    model = Echo(**CELL)
    with served(model) as server:
        settings = ("method=base", "robot.realtime=true", "policy.timeout_s=0.5")
        config = config_for(server.port, *settings)
        policy, _, _ = open_policy(config)
        port = server.port
    context = policy.raw_context(observation())
    asked = (context[None], np.zeros((1, 4), np.float32), np.zeros(1), context[None])
    with pytest.raises(UnansweredError, match="broke off"):
        policy.sample(*asked)
    again = threading.Event()

    def later():
        with running(VlaServer(lambda: Echo(**CELL), Settings(port=port))):
            again.wait(60)

    thread = threading.Timer(0.5, later)
    thread.start()
    try:
        with pytest.raises(UnansweredError, match="is there again after .* too old to act on"):
            policy.sample(*asked)
        assert until_answered(policy, asked).shape == (1, 8, 4)
    finally:
        again.set()
        thread.join(60)
        policy.close()


def test_the_token_is_read_from_its_file_and_written_nowhere(tmp_path):
    file = tmp_path / "token"
    file.write_text("correct-horse-battery\n")
    with served(Echo(**CELL), token="correct-horse-battery") as server:
        config = config_for(server.port, f"policy.token_file={file}")
        assert check_policy(config).kind == "served"
        write_config(config, tmp_path / "config.yaml")
        assert "horse" not in (tmp_path / "config.yaml").read_text()
        assert read_config(tmp_path / "config.yaml").policy == config.policy
        file.write_text("short")
        with pytest.raises(ConfigurationError, match="at least 16 letters.*openssl rand"):
            check_policy(config)
        file.unlink()
        with pytest.raises(ConfigurationError, match="cannot be read"):
            check_policy(config)


def test_the_hash_of_a_served_policy_names_model_and_normalisation():
    def digest(**changes):
        with served(Echo(**CELL, **changes)) as server:
            return check_policy(config_for(server.port)).digest()

    plain = digest()
    assert plain == digest()
    assert len({plain, digest(model_sha256="c"), digest(normalisation_sha256="c")}) == 3


def test_where_a_server_is_does_not_make_another_experiment(tmp_path):
    local = config_hash(load_config(["task=lift"]))
    here, there = config_hash(config_for(1)), config_hash(config_for(2))
    assert here == there != local
    assert config_hash(config_for(1, "policy.execute_steps=3")) != here
    assert config_hash(load_config(["task=lift", "policy.url=ws://gpu:1"])) == local


def test_a_session_of_before_has_the_policy_of_its_bundle(tmp_path):
    config = load_config(["task=lift"])
    write_config(config, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text[: text.index("policy:\n")])
    assert read_config(tmp_path / "config.yaml") == config and not config.policy.remote
    assert json.loads((LIFT / "policy.json").read_text())["weights_sha256"] == (
        check_policy(config).weights_sha256
    )

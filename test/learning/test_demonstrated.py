"""Demonstrations reach the replay: cut as the policy acts, with what the critics need."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded import episode, item

from tmrl_ros.core.errors import OperatorError
from tmrl_ros.core.types import Chunk, ChunkSource, EpisodeOutcome, Outcome
from tmrl_ros.data.bag_reader import read_session
from tmrl_ros.data.dataset import Demonstration, Trajectory
from tmrl_ros.data.plans import plan_of
from tmrl_ros.data.recording import Recording
from tmrl_ros.learning.demonstrated import Cutter
from tmrl_ros.policies.bundle import read_spec
from tmrl_ros.policies.context import actor_features

BUNDLE = Path(__file__).parents[2] / "bundles" / "lift"
PROMPT = "lift the red cube"
PIECES = (3, 3, 3, 3, 3, 3, 2)
ROWS = sum(PIECES)
STEP_M = 0.01
WIDTH_M = 0.08
PERIOD_NS = 50_000_000


@pytest.fixture(scope="module")
def cutter() -> Cutter:
    return Cutter(read_spec(BUNDLE), PROMPT, WIDTH_M)


def straight(outcome=EpisodeOutcome.SUCCESS) -> Demonstration:
    """A way down along z, a centimetre per control step; the gripper closes with the last ones."""
    starts = np.concatenate([[0], np.cumsum(PIECES)[:-1]])
    heights = 0.4 - STEP_M * np.arange(ROWS + 1)
    places = np.array([[0.45, 0.0, height] for height in heights])
    openings = np.where(np.arange(ROWS + 1) < 16, 1.0, 0.5)
    down = np.tile([1.0, 0.0, 0.0, 0.0], (ROWS + 1, 1))
    stamps = PERIOD_NS * np.arange(ROWS + 1)
    track = Trajectory(
        stamps,
        places,
        down,
        WIDTH_M * openings,
        stamps[:-1],
        places[1:],
        down[1:],
        WIDTH_M * openings[1:],
    )
    state = np.column_stack([places[starts], openings[starts]]).astype(np.float32)
    count = len(PIECES)
    return Demonstration(
        "collect_000000",
        outcome,
        PROMPT,
        ("red",),
        np.arange(count),
        state,
        np.tile(np.array([[[0.5, 0.05, 0.02]]], np.float32), (count, 1, 1)),
        np.ones((count, 1), bool),
        np.zeros((count, 3, 4), np.float32),
        np.array(PIECES),
        track,
    )


def test_rows_are_what_the_policy_would_have_planned_and_what_followed(cutter) -> None:
    rows = cutter.rows(straight())
    horizon, steps = cutter.spec.action.horizon, cutter.spec.action.execute_steps
    assert (horizon, steps) == (8, 8)
    first = rows[0]
    way = np.zeros((horizon, 4))
    way[:, 2], way[:, 3] = -STEP_M * np.arange(1, horizon + 1), 1.0
    assert np.allclose(first.plan, plan_of(way), atol=1e-5)
    context = cutter.spec.context
    for row, height in ((first.features, 0.4), (first.next_features, 0.4 - steps * STEP_M)):
        seen = np.array([[0.5, 0.05, 0.02]], np.float32)
        state = np.array([0.45, 0.0, height, 1.0], np.float32)
        assert np.allclose(row, actor_features(context.context(PROMPT, seen, state), context))
    assert first.source is ChunkSource.HUMAN and first.z.size == 0
    later = next(row for row in rows if row.decision == 1)
    assert np.allclose(first.next_features, later.features)
    assert np.array_equal(first.next_plans[0], later.plan)


def test_only_the_end_is_rewarded_and_it_terminates(cutter) -> None:
    rows = cutter.rows(straight())
    assert all(row.terminated == bool(row.reward) for row in rows)
    assert not any(row.truncated for row in rows)
    assert 0 < sum(row.terminated for row in rows) <= 8
    assert rows[-1].terminated and not rows[0].terminated
    # Of the last rows, the gripper's opening after the end stays what it was.
    assert rows[-1].plan[-1] == pytest.approx(0.0)


def test_what_did_not_succeed_ends_with_nothing_made_up(cutter) -> None:
    every, failed = cutter.rows(straight()), cutter.rows(straight(EpisodeOutcome.TIMEOUT))
    assert 0 < len(failed) < len(every)
    assert not any(row.terminated or row.reward for row in failed)


def test_every_way_of_cutting_is_one_decision_s_worth_of_updates(make, cutter) -> None:
    core = make(name="rlpd", updates_per_decision=1)
    rows = cutter.rows(straight())
    assert core.seed_rows("expert", rows) == len(rows)
    core.restore([])
    assert core.seeding and core.updates_owed == len({row.decision for row in rows}) < len(rows)
    while core.seeding:
        core.work(1.0)
    batch = core.replay.sample_mixed(200, 0.5, core.learner.rng)
    assert float(batch.reward.max()) == 1.0 and batch.plan.abs().sum() > 0


def demonstrate(session: Path, prompt: str = PROMPT) -> None:
    """A session of one scripted episode: no features, no noise, no plans."""
    nothing = np.zeros(0, np.float32)
    recording = Recording(session, custom={})
    recording.start()
    pieces = []
    for piece in episode("collect_000000", 8):
        if isinstance(piece, Chunk) and piece.source is ChunkSource.POLICY:
            piece = replace(
                piece,
                source=ChunkSource.HUMAN,
                features=nothing,
                z=nothing,
                eps_context=nothing,
                edit=nothing,
                candidates=np.zeros((0, 16), np.float32),
            )
        elif isinstance(piece, Outcome) and piece.source is ChunkSource.POLICY:
            piece = replace(piece, source=ChunkSource.HUMAN)
        elif hasattr(piece, "object_names"):
            piece.prompt = prompt
        pieces.append(piece)
    recording.put(item(piece) for piece in pieces)
    recording.close()


def test_a_recorded_demonstration_reaches_the_replay(make, cutter, tmp_path) -> None:
    demonstrate(tmp_path / "expert")
    core = make(name="rlpd", demonstrated=cutter.recorded)
    records = read_session(tmp_path / "expert")
    found = core.seed("expert", records)
    assert found == core.replay.size > 8
    assert core.replay.successes() == found


def test_a_demonstration_of_another_prompt_is_refused_by_name(make, cutter, tmp_path) -> None:
    demonstrate(tmp_path / "expert", prompt="lift the green cube")
    core = make(name="rlpd", demonstrated=cutter.recorded)
    with pytest.raises(OperatorError, match=r"demonstrates 'lift the green cube', task.prompt is"):
        core.seed("expert", read_session(tmp_path / "expert"))


def test_critics_of_noise_cannot_use_demonstrations_and_say_so(make, cutter, tmp_path) -> None:
    demonstrate(tmp_path / "expert")
    core = make(name="dsrl", demonstrated=cutter.recorded)
    with pytest.raises(OperatorError, match="dsrl finds nothing to learn from.*demonstrations"):
        core.seed("expert", read_session(tmp_path / "expert"))

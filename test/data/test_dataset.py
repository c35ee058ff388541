"""Demonstrations: read from the bags of scripted or human episodes."""

from dataclasses import replace

import numpy as np
import pytest
from recorded import (
    STEPS,
    camera_info,
    chunk,
    cloud_of,
    episode,
    item,
    observation,
    sample,
    target,
)
from sensor_msgs.msg import PointCloud2

from tmrl_msgs.msg import Observation
from tmrl_ros.core.types import Chunk, ChunkSource, EpisodeOutcome
from tmrl_ros.data.bag_stream import BagError
from tmrl_ros.data.dataset import camera_intrinsics, load_demonstrations
from tmrl_ros.data.recording import Recording

SUCCESS, TIMEOUT = EpisodeOutcome.SUCCESS, EpisodeOutcome.TIMEOUT


def demonstrate(
    session, name, result=SUCCESS, source=ChunkSource.HUMAN, *, with_points=True, committed=()
):
    recording = Recording(session, custom={})
    recording.start()
    pieces = []
    for piece in episode(name, 3, result):
        if isinstance(piece, Chunk) and piece.source is ChunkSource.POLICY:
            rows = committed[piece.decision] if piece.decision < len(committed) else 0
            piece = replace(piece, source=source, committed_steps=rows)
        if isinstance(piece, Observation) and not with_points:
            piece.points = PointCloud2()
        pieces.append(piece)
    pieces.insert(-1, sample(12))  # the driver repeats itself while time stands still
    pieces.insert(-1, target(11, hold=True))
    recording.put([*(item(piece) for piece in pieces[:-1]), camera_info("wrist")])
    recording.put([item(pieces[-1])])
    recording.close()


def test_a_demonstration_has_what_was_seen_asked_and_done(tmp_path):
    demonstrate(tmp_path, "collect_000000")
    (found,) = load_demonstrations(tmp_path)
    assert found.episode_id == "collect_000000" and found.outcome is SUCCESS
    assert found.prompt == "lift the red cube" and found.object_names == ("red", "green")
    assert found.state.shape == (3, 4) and found.objects.shape == (3, 2, 3)
    assert found.visible.tolist() == [[True, False]] * 3
    assert found.actions.shape == (3, 8, 4) and found.execute_steps.tolist() == [STEPS] * 3
    for k in range(3):
        assert np.array_equal(found.state[k], np.array(observation(k).state))
        assert np.allclose(found.actions[k], chunk(k).actions)
    ticks = found.trajectory.stamp_ns // 50_000_000
    assert ticks.tolist() == list(range(1, 13)), "each state once, from the first observation on"
    assert np.array_equal(found.trajectory.ee_positions[4], sample(5).ee_pose.position)
    assert found.trajectory.gripper_width_m.shape == (12,)
    sent = found.trajectory
    assert (sent.target_stamp_ns // 50_000_000).tolist() == list(range(12)), "without the hold"
    assert np.array_equal(sent.target_positions[3], target(3).pose.position)


def test_observations_are_where_they_were_made_when_chunks_overlap(tmp_path):
    demonstrate(tmp_path, "collect_000000", committed=(0, 2, 1))
    (found,) = load_demonstrations(tmp_path)
    made_at = np.cumsum([0, *found.execute_steps])
    assert made_at.tolist() == [0, STEPS - 2, 2 * STEPS - 1, 3 * STEPS]


def test_pictures_come_with_a_demonstration_that_is_asked_for_them(tmp_path):
    demonstrate(tmp_path, "collect_000000")
    assert load_demonstrations(tmp_path)[0].observations == ()
    (found,) = load_demonstrations(tmp_path, pictures=True)
    assert [seen.sequence for seen in found.observations] == found.sequence.tolist()
    for k, seen in enumerate(found.observations):
        assert np.array_equal(seen.points, cloud_of(k).points)
        assert np.array_equal(seen.colors, cloud_of(k).colors)
        assert {name: image.shape for name, image in seen.images.items()} == {
            "exterior": (12, 16, 3),
            "wrist": (12, 16, 3),
        }


def test_the_lens_of_a_camera_is_in_the_bag(tmp_path):
    demonstrate(tmp_path, "collect_000000")
    matrix = camera_intrinsics(tmp_path, ["wrist"])["wrist"]
    assert matrix.tolist() == [[10.0, 0.0, 7.5], [0.0, 10.0, 5.5], [0.0, 0.0, 1.0]]
    with pytest.raises(BagError, match="collect_000000 says nothing of camera 'exterior'"):
        camera_intrinsics(tmp_path, ["wrist", "exterior"])


def test_failures_and_other_sources_are_left_out_unless_asked(tmp_path):
    demonstrate(tmp_path, "collect_000000", TIMEOUT)
    demonstrate(tmp_path, "collect_000001", source=ChunkSource.POLICY)
    demonstrate(tmp_path, "collect_000002")
    names = [d.episode_id for d in load_demonstrations(tmp_path / "episodes")]
    assert names == ["collect_000002"]
    everything = load_demonstrations(
        tmp_path, sources=(ChunkSource.HUMAN, ChunkSource.POLICY), only_successful=False
    )
    assert len(everything) == 3 and everything[0].outcome is TIMEOUT


def test_a_folder_without_bags_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(BagError, match="holds no bags: name a session folder"):
        load_demonstrations(tmp_path / "nowhere")

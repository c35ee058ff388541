"""Messages and episodes for the tests of bags, made with the real message classes."""

from __future__ import annotations

import array

import numpy as np
from episode_events import event
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from tmrl_msgs.msg import GroundTruth, Observation, PolicyParameters
from tmrl_ros.core.types import (
    Chunk,
    ChunkResult,
    ChunkSource,
    Episode,
    EpisodeOutcome,
    EpisodeState,
    Outcome,
    Pose,
    Reward,
    RobotSample,
    Target,
)
from tmrl_ros.data.bag_metadata import offered_qos
from tmrl_ros.data.bag_writer import BagWriter
from tmrl_ros.data.definitions import definition, typestore
from tmrl_ros.data.items import Item, Topic
from tmrl_ros.data.plans import PLAN_SIZE
from tmrl_ros.nodes import convert
from tmrl_ros.nodes.observation import cloud_to_msg
from tmrl_ros.perception.cloud import Cloud

PERIOD_NS = 50_000_000
STEPS = 4
HORIZON = 8
CANDIDATES = 5

EPISODE = Topic("/episode", "tmrl_msgs/msg/EpisodeEvent", latched=True)
CHUNK = Topic("/action_chunk", "tmrl_msgs/msg/ActionChunk")
RESET_CHUNK = Topic("/reset_chunk", "tmrl_msgs/msg/ActionChunk")
OUTCOME = Topic("/chunk_outcome", "tmrl_msgs/msg/ChunkOutcome")
REWARD = Topic("/reward", "tmrl_msgs/msg/RewardEstimate")
OBSERVATION = Topic("/observation", "tmrl_msgs/msg/Observation")
ROBOT_STATE = Topic("/robot/state", "tmrl_msgs/msg/RobotState")
ROBOT_TARGET = Topic("/robot/target", "tmrl_msgs/msg/RobotTarget")
TRUTH = Topic("/sim/ground_truth", "tmrl_msgs/msg/GroundTruth")
PARAMETERS = Topic("/policy/parameters", "tmrl_msgs/msg/PolicyParameters", latched=True)


def chunk(
    decision: int,
    episode_id: str = "train_000000",
    *,
    sequence: int | None = None,
    execute_steps: int = STEPS,
    source: ChunkSource = ChunkSource.POLICY,
) -> Chunk:
    sequence = 100 + decision if sequence is None else sequence
    rng = np.random.default_rng(sequence)
    return Chunk(
        stamp_ns=stamp_of(decision),
        sequence=sequence,
        episode_id=episode_id,
        decision=decision,
        source=source,
        action_space="cartesian_relative",
        reference_pose=Pose(rng.normal(size=3), np.array([1.0, 0.0, 0.0, 0.0])),
        orientation=np.array([1.0, 0.0, 0.0, 0.0]),
        actions=rng.normal(size=(HORIZON, 4)),
        execute_steps=execute_steps,
        control_rate_hz=20.0,
        frame_id="panda_link0",
        features=rng.normal(size=10).astype(np.float32),
        z=rng.normal(size=5).astype(np.float32),
        t_context=0.25,
        eps_context=rng.normal(size=7).astype(np.float32),
        edit=rng.normal(size=3).astype(np.float32),
        candidates=rng.normal(size=(CANDIDATES, PLAN_SIZE)).astype(np.float32),
        deterministic=False,
        actor="tmrl",
        parameters_version=9,
        bundle_hash="abc",
        inference_ms=1.5,
    )


def outcome(
    decision: int,
    episode_id: str = "train_000000",
    *,
    sequence: int | None = None,
    result: ChunkResult = ChunkResult.EXECUTED,
    source: ChunkSource = ChunkSource.POLICY,
) -> Outcome:
    sequence = 100 + decision if sequence is None else sequence
    rng = np.random.default_rng(1000 + sequence)
    sent = {ChunkResult.EXECUTED: STEPS, ChunkResult.ABORTED: 2}.get(result, 0)
    return Outcome(
        stamp_ns=stamp_of(decision + 1),
        sequence=sequence,
        episode_id=episode_id,
        decision=decision,
        source=source,
        result=result,
        reason="",
        steps_sent=sent,
        steps_clipped=1,
        executed=rng.normal(size=(sent, 4)),
        measured=rng.normal(size=(sent, 4)),
        duration_s=0.2,
        chunk_age_s=0.01,
        sources=np.full(sent, int(source), np.uint8),
    )


def reward(
    decision: int,
    episode_id: str = "train_000000",
    *,
    sequence: int | None = None,
    success: bool = False,
    failure: bool = False,
    valid: bool = True,
) -> Reward:
    return Reward(
        stamp_ns=stamp_of(decision),
        sequence=100 + decision if sequence is None else sequence,
        episode_id=episode_id,
        decision=decision,
        valid=valid,
        progress=0.5,
        success_probability=0.25,
        success=success,
        failure=failure,
        error="" if valid else "late",
        model="simulator",
        latency_ms=0.5,
    )


def sample(tick: int) -> RobotSample:
    rng = np.random.default_rng(tick)
    return RobotSample(
        stamp_ns=tick * PERIOD_NS,
        tick=tick,
        q=rng.normal(size=7),
        dq=rng.normal(size=7),
        tau=rng.normal(size=7),
        ee_pose=Pose(rng.normal(size=3), np.array([1.0, 0.0, 0.0, 0.0])),
        ee_twist=rng.normal(size=6),
        wrench=rng.normal(size=6),
        gripper_width_m=0.04,
        faults=("reflex",),
        frame_id="panda_link0",
        joint_names=tuple(f"joint{i}" for i in range(1, 8)),
    )


def target(tick: int, *, hold: bool = False) -> Target:
    pose = Pose(np.array([0.4, 0.001 * tick, 0.2]), np.array([1.0, 0.0, 0.0, 0.0]))
    return Target(tick * PERIOD_NS, tick, hold, pose, 0.08, "panda_link0")


def observation(decision: int, episode_id: str = "train_000000") -> Observation:
    rng = np.random.default_rng(5000 + decision)
    stamp_ns = stamp_of(decision)
    images = [rng.integers(0, 256, (12, 16, 3), dtype=np.uint8) for _ in range(2)]
    cloud = cloud_of(decision)
    return Observation(
        header=Header(stamp=convert.to_time(stamp_ns), frame_id="panda_link0"),
        sequence=100 + decision,
        episode_id=episode_id,
        decision=decision,
        robot=convert.robot_to_msg(sample(decision * STEPS)),
        prompt="lift the red cube",
        state=array.array("f", rng.normal(size=4)),
        object_names=["red", "green"],
        object_positions=array.array("f", rng.normal(size=6)),
        object_visible=[True, False],
        object_age_s=array.array("d", [0.0, 1.5]),
        camera_names=["exterior", "wrist"],
        images=[convert.image_to_msg(image, "rgb8", stamp_ns, "camera") for image in images],
        camera_age_s=array.array("d", [0.0, 0.0]),
        points=cloud_to_msg(cloud, stamp_ns, "panda_link0"),
    )


def cloud_of(decision: int) -> Cloud:
    rng = np.random.default_rng(9000 + decision)
    points = rng.normal(size=(20, 3)).astype(np.float32)
    return Cloud(points, rng.integers(0, 256, (20, 3), dtype=np.uint8))


def camera_info(camera: str) -> Item:
    """Its intrinsics, as a driver says them once."""
    _clock[0] += 1_000_000
    msg = CameraInfo(width=16, height=12, k=[10.0, 0.0, 7.5, 0.0, 10.0, 5.5, 0.0, 0.0, 1.0])
    topic = Topic(f"/camera/{camera}/color/camera_info", "sensor_msgs/msg/CameraInfo", latched=True)
    data = as_on_the_wire(bytes(serialize_message(msg)), topic.type_name)
    return Item(topic, data, _clock[0], sent_ns=_clock[0] - 1000)


def parameters(version: int) -> PolicyParameters:
    weights = array.array("B", bytes(range(256)))
    return PolicyParameters(version=version, method="tmrl", weights=weights)


def stamp_of(decision: int) -> int:
    return decision * STEPS * PERIOD_NS


def message(piece: object) -> object:
    """The ROS message of a core value."""
    match piece:
        case GroundTruth() | Observation() | PolicyParameters():
            return piece
        case Chunk():
            return convert.chunk_to_msg(piece)
        case Outcome():
            return convert.outcome_to_msg(piece, 4)
        case Reward():
            return convert.reward_to_msg(piece)
        case Episode():
            return convert.episode_to_msg(piece)
        case RobotSample():
            return convert.robot_to_msg(piece)
        case Target():
            return convert.target_to_msg(piece)


def topic_of(piece: object) -> Topic:
    if isinstance(piece, Chunk):
        return RESET_CHUNK if piece.source is ChunkSource.RESET else CHUNK
    kinds = {
        Outcome: OUTCOME,
        Reward: REWARD,
        Episode: EPISODE,
        RobotSample: ROBOT_STATE,
        Target: ROBOT_TARGET,
        GroundTruth: TRUTH,
        Observation: OBSERVATION,
        PolicyParameters: PARAMETERS,
    }
    return kinds[type(piece)]


_clock = [1_700_000_000_000_000_000]


def as_on_the_wire(data: bytes, type_name: str) -> bytes:
    """Without the bytes that `serialize_message` leaves behind the message's end."""
    store = typestore(type_name, definition(type_name).text)
    kind = store.get_msgdef(type_name)
    _, end = kind.deserialize_cdr_le(data[4:], 0, kind.cls, store)
    return data[: 4 + end]


def item(piece: object) -> Item:
    """The piece serialised, as it would come from the wire, a millisecond after the last one."""
    _clock[0] += 1_000_000
    msg = message(piece)
    topic = topic_of(piece)
    data = as_on_the_wire(bytes(serialize_message(msg)), topic.type_name)
    return Item(topic, data, _clock[0], sent_ns=_clock[0] - 1000)


def put(writer: BagWriter, piece: object) -> None:
    """Write a piece as the recorder would."""
    topic, data, stamp_ns, *_ = item(piece)
    qos = offered_qos(reliable=True, latched=topic.latched, depth=1)
    writer.write(topic.name, topic.type_name, data, stamp_ns, qos=qos)


def episode(
    episode_id: str = "train_000000",
    decisions: int = 3,
    result: EpisodeOutcome = EpisodeOutcome.SUCCESS,
) -> list[object]:
    """Messages of one whole episode in the order in which the graph sends them."""
    first = item_stamp(episode_id)
    pieces: list[object] = [
        event(episode_id, EpisodeState.RESETTING, stamp_ns=first),
        chunk(0, episode_id, sequence=1, source=ChunkSource.RESET),
        outcome(0, episode_id, sequence=1, source=ChunkSource.RESET),
        event(episode_id, EpisodeState.READY, stamp_ns=stamp_of(0)),
        event(episode_id, EpisodeState.RUNNING, stamp_ns=stamp_of(0)),
    ]
    for k in range(decisions + 1):
        last = k == decisions
        pieces += [
            observation(k, episode_id),
            reward(k, episode_id, success=last and result is EpisodeOutcome.SUCCESS),
            chunk(k, episode_id, execute_steps=0 if last else STEPS),
        ]
        for step in range(0 if last else STEPS):
            pieces += [target(k * STEPS + step), sample(k * STEPS + step + 1)]
        pieces.append(
            outcome(k, episode_id, result=ChunkResult.SKIPPED if last else ChunkResult.EXECUTED)
        )
    pieces.append(event(episode_id, EpisodeState.ENDED, result, decisions, "reward", first + 3))
    return pieces


def item_stamp(episode_id: str) -> int:
    return int(episode_id.rsplit("_", 1)[-1]) * 1_000_000_000

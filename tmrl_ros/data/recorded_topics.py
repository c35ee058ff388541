"""What of a graph is recorded, in which order, and what must be there before an episode starts."""

from __future__ import annotations

from tmrl_ros.core import topics
from tmrl_ros.core.config import Config
from tmrl_ros.data.items import EPISODE_TYPE, Topic

IMAGE_TYPE = "sensor_msgs/msg/Image"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
# What the learner learns from: no episode starts before the recorder is connected to all of it.
NEEDED = (
    topics.EPISODE,
    topics.RESET_CHUNK,
    topics.OBSERVATION,
    topics.ACTION_CHUNK,
    topics.CHUNK_OUTCOME,
    topics.REWARD,
    topics.ROBOT_TARGET,
    topics.ROBOT_STATE,
)


def needed_topics(config: Config) -> list[str]:
    """What the recorder must hear before an episode starts."""
    return [name for name in NEEDED if config.judged or name != topics.REWARD]


def graph_topics(config: Config) -> list[Topic]:
    """Every topic worth recording, with relative names; those that say when a bag opens come last.

    Within one round of polling the topics are emptied in this order, so that a message that was
    sent after its episode's RESETTING never overtakes it.
    """
    found = [
        Topic(topics.CAMERA_TRIGGER, "std_msgs/msg/Header"),
        Topic(topics.OBSERVATION, "tmrl_msgs/msg/Observation"),
        Topic(topics.POINTS, "sensor_msgs/msg/PointCloud2"),
        Topic(topics.ACTION_CHUNK, "tmrl_msgs/msg/ActionChunk"),
        Topic(topics.RESET_CHUNK, "tmrl_msgs/msg/ActionChunk"),
        Topic(topics.CHUNK_OUTCOME, "tmrl_msgs/msg/ChunkOutcome"),
        Topic(topics.TELEOP_COMMAND, "tmrl_msgs/msg/TeleopCommand", numbered=False),
        Topic(topics.HOLD_TO_RUN, "std_msgs/msg/Bool", numbered=False),
        Topic(topics.ROBOT_TARGET, "tmrl_msgs/msg/RobotTarget"),
        Topic(topics.ROBOT_STATE, "tmrl_msgs/msg/RobotState"),
        Topic(topics.JOINT_STATES, "sensor_msgs/msg/JointState"),
        Topic(topics.GROUND_TRUTH, "tmrl_msgs/msg/GroundTruth"),
        Topic(topics.SAFETY_STATE, "tmrl_msgs/msg/SafetyState", latched=True),
        Topic(topics.SAFETY_MARKERS, "visualization_msgs/msg/MarkerArray"),
        Topic(topics.REWARD, "tmrl_msgs/msg/RewardEstimate"),
        # A state that changes with every estimate: of two in quick succession the newer counts.
        Topic(topics.REWARD_STATUS, "std_msgs/msg/String", latched=True, numbered=False),
        Topic(topics.POLICY_PARAMETERS, "tmrl_msgs/msg/PolicyParameters", latched=True),
        Topic(topics.LEARNER_STATUS, "tmrl_msgs/msg/LearnerStatus"),
        Topic("robot_description", "std_msgs/msg/String", latched=True),
        Topic(topics.DIAGNOSTICS, "diagnostic_msgs/msg/DiagnosticArray", numbered=False),
        Topic("/tf", "tf2_msgs/msg/TFMessage", numbered=False),
        Topic("/tf_static", "tf2_msgs/msg/TFMessage", latched=True, numbered=False),
        Topic("/clock", "rosgraph_msgs/msg/Clock"),
        Topic("/rosout", "rcl_interfaces/msg/Log", numbered=False),
    ]
    for camera in config.cameras.cameras:
        found.append(Topic(topics.camera_info(camera.name), CAMERA_INFO_TYPE, latched=True))
        if config.recorder.cameras == "all":
            found.append(Topic(topics.color(camera.name), IMAGE_TYPE))
            found.append(Topic(topics.depth(camera.name), IMAGE_TYPE))
    return [*found, Topic(topics.EPISODE, EPISODE_TYPE, latched=True)]

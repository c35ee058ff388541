"""Names of every topic, service and action, in one place (relative: a namespace prefixes them)."""

CAMERA_TRIGGER = "camera/trigger"
OBSERVATION = "observation"
POINTS = "points"
ACTION_CHUNK = "action_chunk"
RESET_CHUNK = "reset_chunk"
CHUNK_OUTCOME = "chunk_outcome"
CHUNK_PROGRESS = "chunk_progress"
ROBOT_TARGET = "robot/target"
ROBOT_STATE = "robot/state"
JOINT_STATES = "joint_states"
DIAGNOSTICS = "diagnostics"
GROUND_TRUTH = "sim/ground_truth"
TELEOP_COMMAND = "teleop/command"
HOLD_TO_RUN = "safety/hold_to_run"
SAFETY_STATE = "safety/state"
SAFETY_MARKERS = "safety/markers"
SCENE_MARKERS = "scene/markers"
BUTTONS = "buttons"
REWARD = "reward"
REWARD_STATUS = "reward/status"
EPISODE = "episode"
POLICY_PARAMETERS = "policy/parameters"
LEARNER_STATUS = "learner/status"
RECORDER_STATUS = "recorder/status"
MANAGER_STATUS = "episode_manager/status"
PAUSED = "episode_manager/paused"
HOSTS = "hosts"

SCENE_REQUEST = "robot/scene_request"

RESET_SCENE = "robot/reset_scene"
SCENE_READY = "robot/scene_ready"
HOME_GRIPPER = "robot/home_gripper"
STOP = "safety_supervisor/stop"
RESET = "safety_supervisor/reset"
LABEL_EPISODE = "episode_manager/label_episode"
RELABEL = "reward/relabel"
PAUSE = "episode_manager/pause"
MANAGER_PARAMETERS = "episode_manager/set_parameters"
INFER = "policy/infer"
RUN_EPISODES = "episode_manager/run_episodes"


def recover(step: str) -> str:
    """Service of one step of the guided recovery: errors, hardware, controllers."""
    return f"robot/recover_{step}"


def color(camera: str) -> str:
    """Colour image topic of a camera (realsense2_camera naming)."""
    return f"camera/{camera}/color/image_raw"


def depth(camera: str) -> str:
    """Depth aligned to colour, 16UC1, millimetres."""
    return f"camera/{camera}/aligned_depth_to_color/image_raw"


def camera_info(camera: str) -> str:
    """Intrinsics of the colour image, which the aligned depth shares."""
    return f"camera/{camera}/color/camera_info"

"""The configuration of a session: what may be written in the YAML files, with units and ranges.

A session is put together from one file per room (`config/robots/sim.yaml`,
`config/tasks/lift.yaml`, ...). `load.py` reads and overrides them; every node gets the resolved
whole and reads only its own section.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tmrl_ros.core.camera_config import CameraConfig as CameraConfig
from tmrl_ros.core.camera_config import CamerasConfig as CamerasConfig
from tmrl_ros.core.camera_config import Quaternion as Quaternion
from tmrl_ros.core.collect_config import PERSON
from tmrl_ros.core.collect_config import CollectConfig as CollectConfig
from tmrl_ros.core.comparison import ComparisonConfig
from tmrl_ros.core.franka_config import FrankaConfig
from tmrl_ros.core.method_config import MethodConfig as MethodConfig
from tmrl_ros.core.policy_config import PolicyConfig as PolicyConfig
from tmrl_ros.core.safety_config import KeepOutConfig as KeepOutConfig
from tmrl_ros.core.safety_config import Name as Name
from tmrl_ros.core.safety_config import SafetyConfig as SafetyConfig
from tmrl_ros.core.safety_config import Vector3 as Vector3
from tmrl_ros.core.section import Section
from tmrl_ros.core.teleop_config import TeleopConfig as TeleopConfig
from tmrl_ros.core.vla_config import VlaTrainingConfig as VlaTrainingConfig

MOST_DECISIONS = 998
"""Of an episode: the numbers of its observations leave room for no more."""
InferenceBackend = Literal["auto", "torch", "onnxruntime"]


class RobotConfig(Section):
    """The arm and its driver."""

    kind: Literal["sim", "franka"] = "sim"
    model: Literal["panda", "fr3"] = "panda"
    base_frame: str = "panda_link0"
    ee_frame: str = "panda_hand_tcp"
    tool_offset_m: Vector3 = Field([0.0, 0.0, 0.1034], description="ee_frame in the flange's frame")
    tool_quaternion_xyzw: Quaternion = Field(
        [0.0, 0.0, -0.38268343, 0.92387953], description="its orientation there; Franka Hand: -45°"
    )
    control_rate_hz: float = Field(20.0, gt=0, le=100)
    gripper_max_width_m: float = Field(0.08, gt=0, le=0.2)
    state_timeout_s: float = Field(1.0, gt=0, description="wall time without robot/state = silent")
    realtime: bool = Field(False, description="simulated time follows the wall clock")
    renderer: Literal["auto", "egl", "osmesa", "ray"] = "auto"
    depth_noise: bool = True
    simulated_operator: bool = Field(
        False, description="a simulated person resets the stop once its cause is gone (sim only)"
    )
    operator_timeout_s: float = Field(
        900.0, gt=0, description="wall time a person has to put the objects back (real arm only)"
    )
    franka: FrankaConfig = FrankaConfig()

    @property
    def lockstep(self) -> bool:
        """Whether robot time waits for whoever computes."""
        return self.kind == "sim" and not self.realtime

    @property
    def driver(self) -> str:
        """Node that drives this arm."""
        return "franka" if self.kind == "franka" else "sim_franka"

    @model_validator(mode="after")
    def _tool_is_turned(self) -> RobotConfig:
        if abs(sum(value * value for value in self.tool_quaternion_xyzw) - 1.0) > 0.01:
            raise ValueError(f"tool_quaternion_xyzw {self.tool_quaternion_xyzw} is no unit length")
        return self


class ObjectConfig(Section):
    """An object that perception finds by its colour."""

    name: Name
    hue_deg: float = Field(ge=0, lt=360)
    hue_tolerance_deg: float = Field(25.0, gt=0, le=90)
    min_saturation: float = Field(0.45, ge=0, le=1)
    min_value: float = Field(0.2, ge=0, le=1)
    size_m: float = Field(0.04, gt=0, le=0.2, description="edge of the cube, or its diameter")


class DemonstrationConfig(Section):
    """How the scripted expert demonstrates a task in simulation."""

    episodes_per_prompt: int = Field(40, ge=1)
    prompts: dict[str, list[str]] = Field(default_factory=dict, description="prompts per object")
    noise_sigma_m: float = Field(0.01, ge=0, le=0.1, description="error per control step")
    noise_memory: float = Field(
        0.0, ge=0, lt=1, description="correlation of that error from one control step to the next"
    )
    detour_m: float = Field(0.0, ge=0, le=0.5, description="first waypoint, to the side")
    miss: float = Field(0.0, ge=0, le=1, description="share whose first grasp goes beside it")
    execute_steps: int = Field(3, ge=1, le=40)
    max_decisions: int = Field(40, ge=1)


class PretrainingConfig(Section):
    """How the task's policy bundle is trained.

    With `observation` points or images the policy sees `keypoints` learned points in the place of
    the objects that perception names; "objects" in `smoothed` then means these.
    """

    observation: Literal["objects", "points", "images"] = "objects"
    keypoints: int | None = Field(None, ge=1, le=64, description="empty: one per object")
    encoder_iterations: int = Field(500, ge=1)
    smoothed: list[Literal["prompt", "objects", "state"]] = ["objects"]
    prompt_size: int = Field(0, ge=0, le=1024)
    horizon: int = Field(8, ge=1, le=64)
    execute_steps: int = Field(8, ge=1, le=64)
    iterations: int = Field(5000, ge=1)


class TaskConfig(Section):
    """What is to be done, how it starts and when it counts as done."""

    name: Name
    prompt: str = Field(min_length=1, max_length=200)
    wanted_object: Name
    objects: list[ObjectConfig] = Field(min_length=1)
    home_position_m: Vector3
    orientation_xyzw: Quaternion = [1.0, 0.0, 0.0, 0.0]
    max_decisions: int = Field(12, ge=1, le=999)
    bundle: Path
    region: Literal["start", "demo", "outside"] = Field(
        "start", description="where objects are put: anywhere, as in demonstrations, or elsewhere"
    )
    demonstration: DemonstrationConfig = DemonstrationConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    scene_reset_s: float = Field(3.0, ge=0, description="robot time a simulated person takes")

    @model_validator(mode="after")
    def _names_agree(self) -> TaskConfig:
        names = [item.name for item in self.objects]
        if len(set(names)) != len(names):
            raise ValueError(f"objects are named twice: {names}")
        if self.wanted_object not in names:
            raise ValueError(f"wanted_object {self.wanted_object!r} is not among objects {names}")
        return self


class RewardConfig(Section):
    """Who judges observations, and what counts as success.

    `threshold`, `k` and `n` may stay empty: then a learned model's own calibration counts, and the
    simulator is believed at once.
    """

    backend: Literal["simulator", "learned", "robometer_http", "lerobot", "none"] = "simulator"
    bundle: Path | None = Field(
        None, description="of a learned model; rewards/<task> beside the policy's by default"
    )
    url: str = Field("http://127.0.0.1:8000", description="of a Robometer server")
    checkpoint: str = Field("lerobot/Robometer-4B", description="that lerobot loads, or a folder")
    cameras: list[Name] = Field(default_factory=list, description="whose images count; [] = all")
    threshold: float | None = Field(None, gt=0, le=1, description="of the success probability")
    k: int | None = Field(None, ge=1, description="k of the last n estimates must say success")
    n: int | None = Field(None, ge=1, le=100)
    frames: int = Field(8, ge=2, le=64, description="of the prefix, sent with every request")
    timeout_s: float = Field(5.0, gt=0, le=60, description="of one request")
    relabel_timeout_s: float = Field(
        120.0, gt=0, le=3600, description="of one request when recorded episodes are judged again"
    )
    retries: int = Field(3, ge=1, le=10, description="attempts at one observation")
    backoff_s: float = Field(0.5, gt=0, le=60, description="after a failure; doubles up to 30 s")
    uncertain_margin: float = Field(
        0.15, ge=0, le=0.5, description="episodes this near the threshold are listed for labelling"
    )
    drift_window: int = Field(20, ge=5, le=1000, description="labelled episodes that drift is told")
    min_agreement: float = Field(
        0.85, gt=0, lt=1, description="share of labels the model must agree with; below = drift"
    )

    @model_validator(mode="after")
    def _success_can_be(self) -> RewardConfig:
        if (self.k is None) != (self.n is None):
            raise ValueError(f"k={self.k} and n={self.n} belong together: give both or neither")
        if self.k is not None and self.n is not None and self.k > self.n:
            raise ValueError(f"k={self.k} is above n={self.n}")
        if self.backend in ("robometer_http", "lerobot") and None in (self.threshold, self.k):
            raise ValueError(f"{self.backend} brings no calibration: give threshold, k and n")
        return self


class RecorderConfig(Section):
    """What goes into the bags."""

    enabled: bool = True
    cameras: Literal["all", "none"] = "all"
    compression: Literal["zstd", "none"] = "zstd"
    jpeg_quality: int = Field(
        0, ge=0, le=100, description="of colour images in bags; 0 = as they came, without loss"
    )
    min_free_mb: float = Field(500.0, ge=0, description="below this no episode starts")
    warn_free_mb: float = Field(5000.0, ge=0, description="below this the operator is warned")
    split_mb: float = Field(
        2000.0, ge=0, description="a larger bag goes on in another file; 0 = never"
    )
    stop_buffer_s: float = Field(
        10.0, ge=0, le=300, description="before a software stop that its own bag holds; 0 = no bag"
    )
    stop_buffer_mb: float = Field(
        256.0, gt=0, description="of messages kept in memory for it; the oldest go first"
    )


class SessionConfig(Section):
    """One run of the job."""

    dir: Path = Path("sessions/latest")
    seed: int = Field(0, ge=0, lt=2**31)
    evaluation_episodes: int = Field(100, ge=0)
    train_episodes: int = Field(200, ge=0)
    operator: str = Field("", max_length=64, description="who stands beside the arm; in every bag")
    max_robot_minutes: float = Field(55.0, gt=0, description="of training, resets included")
    stop_window: int = Field(0, ge=0, description="0 = never stop early")
    stop_success_rate: float = Field(1.0, gt=0, le=1)
    probe_episodes: int = Field(
        10, ge=0, description="most to probe one size of noise with before training; 0 = never"
    )
    fallback_window: int = Field(
        40, ge=0, description="latest training episodes compared with the base policy; 0 = never"
    )
    fallback_every: int = Field(10, ge=1, description="training episodes between comparisons")
    fallback_episodes: int = Field(
        20, ge=1, description="the base policy acts in before what was learned is tried again"
    )
    learner_lag_episodes: int = Field(
        1, ge=0, description="episodes the learner may be behind when simulated time can wait"
    )
    replay_from: list[Path] = Field(
        [], description="folders of earlier sessions whose episodes the replay begins with"
    )
    overlap_rows: int = Field(
        0,
        ge=0,
        le=64,
        description="rows that a chunk has left when the next one is asked for; 0 = at its end",
    )
    domain_id: int = Field(42, ge=0, le=101)
    localhost_only: bool = True
    host: Literal["all", "robot", "gpu"] = Field(
        "all", description="which part of the graph this computer runs; all = there is only one"
    )
    keys: Path | None = Field(
        None, description="keystore of `tmrl keys`: who has no key of it takes no part"
    )
    torch_threads: int = Field(1, ge=1, le=64)
    inference: InferenceBackend = Field(
        "auto", description="what samples the policy; auto = ONNX Runtime where its graph fits"
    )
    decision_timeout_s: float = Field(
        20.0, gt=0, description="wall time without a chunk or outcome that aborts the episode"
    )
    console: bool = Field(True, description="serve the web page with the stop button")
    console_address: str = Field(
        "127.0.0.1", description="interface of the page; anything else lets other machines in"
    )
    console_port: int = Field(8137, ge=0, le=65535, description="any free one if it is taken")
    console_latch_s: float = Field(
        0.0, ge=0, le=60, description="press stop when the last page is lost for so long; 0 = never"
    )
    rviz: bool = Field(False, description="run the nodes behind RViz's buttons and markers")

    @model_validator(mode="after")
    def _other_computer_is_reached(self) -> SessionConfig:
        if self.host != "all" and self.localhost_only:
            raise ValueError(
                f"host={self.host} needs localhost_only=false, or the other computer is not "
                "reached; use a network of the cell's own (docs/install.md)"
            )
        return self


class Config(Section):
    """Everything a session is made from."""

    session: SessionConfig
    robot: RobotConfig
    safety: SafetyConfig
    cameras: CamerasConfig
    task: TaskConfig
    method: MethodConfig
    recorder: RecorderConfig = RecorderConfig()
    reward: RewardConfig = RewardConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    teleop: TeleopConfig = TeleopConfig()
    policy: PolicyConfig = PolicyConfig()
    collect: CollectConfig = CollectConfig()
    vla: VlaTrainingConfig = VlaTrainingConfig()

    @model_validator(mode="after")
    def _parts_agree(self) -> Config:
        if self.robot.simulated_operator and self.robot.kind != "sim":
            raise ValueError(
                "robot.simulated_operator is for robot.kind=sim; a person resets a real arm"
            )
        low, high = self.safety.workspace_min_m, self.safety.workspace_max_m
        home = self.task.home_position_m
        if not all(a <= h <= b for a, h, b in zip(low, home, high, strict=True)):
            raise ValueError(
                f"task.home_position_m {home} is outside safety.workspace {low}..{high}"
            )
        for box in self.safety.keep_out:
            if all(a < h < b for a, h, b in zip(box.min_m, home, box.max_m, strict=True)):
                raise ValueError(
                    f"task.home_position_m {home} is inside the keep-out box {box.name}"
                )
        ahead_s = self.session.overlap_rows / self.robot.control_rate_hz
        if ahead_s >= self.safety.max_chunk_age_s:
            raise ValueError(
                f"session.overlap_rows={self.session.overlap_rows} is {ahead_s:g} s, in which a "
                f"chunk gets older than safety.max_chunk_age_s={self.safety.max_chunk_age_s:g}"
            )
        cameras = [camera.name for camera in self.cameras.cameras]
        age_s = self.safety.max_chunk_age_s
        if self.policy.remote and not self.robot.lockstep and self.policy_timeout_s > age_s:
            raise ValueError(
                f"policy.timeout_s={self.policy.timeout_s} is above safety.max_chunk_age_s="
                f"{age_s}: a chunk that comes so late would stop the arm"
            )
        asked = [*self.policy.cameras.values(), *self.policy.openpi.images]
        if strangers := [name for name in asked if self.policy.remote and name not in cameras]:
            raise ValueError(f"policy names cameras {strangers}, which are not among {cameras}")
        if strangers := [name for name in self.reward.cameras if name not in cameras]:
            raise ValueError(f"reward.cameras {strangers} are not among the cameras {cameras}")
        if self.reward.backend == "simulator" and self.robot.kind != "sim":
            raise ValueError("reward.backend=simulator is for robot.kind=sim")
        if (self.camera_driver == "simulated") != (self.robot.kind == "sim"):
            raise ValueError(
                f"cameras.driver={self.camera_driver} does not go with robot.kind="
                f"{self.robot.kind}: the simulated arm has its own cameras and clock"
            )
        if self.reward.backend == "none" and not self.by_person:
            raise ValueError(
                f"reward.backend=none leaves nobody to judge method={self.method.name}: it is for "
                "`tmrl collect`, where a person drives"
            )
        return self

    @property
    def camera_driver(self) -> str:
        """Who takes the pictures: `simulated`, `realsense`, `realsense_topics` or `bag`."""
        if self.cameras.driver != "auto":
            return self.cameras.driver
        return "simulated" if self.robot.kind == "sim" else "realsense_topics"

    @property
    def policy_timeout_s(self) -> float:
        """Wall time that a policy server may take for an answer.

        Where robot time goes on meanwhile, a chunk older than `safety.max_chunk_age_s` would latch
        the stop; one that was given up before only lets the arm hold.
        """
        age_s = self.safety.max_chunk_age_s
        return self.policy.timeout_s or (5.0 if self.robot.lockstep else 0.8 * age_s)

    @property
    def by_person(self) -> bool:
        """Whether a person drives, and no policy."""
        return self.method.name == PERSON

    @property
    def judged(self) -> bool:
        """Whether a reward answers every observation."""
        return self.reward.backend != "none"

    @property
    def max_decisions(self) -> int:
        """Observations that an episode may have before it times out."""
        if not self.by_person:
            return self.task.max_decisions
        rows_s = self.collect.rows / self.robot.control_rate_hz
        return min(max(1, round(self.collect.max_episode_s / rows_s)), MOST_DECISIONS)

    @property
    def reward_bundle(self) -> Path:
        """Folder of the learned reward model."""
        return self.reward.bundle or self.task.bundle.parent / "rewards" / self.task.name

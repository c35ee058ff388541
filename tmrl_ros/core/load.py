"""Read the configuration: one YAML file per section, then `section.key=value` overrides.

Every mistake is one sentence that names the file (or the command line), the key and the value.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tmrl_ros.core.calibration_file import take_calibrations
from tmrl_ros.core.config import Config
from tmrl_ros.core.errors import ConfigurationError

FOLDERS = {
    "robot": "robots",
    "safety": "safety",
    "cameras": "cameras",
    "task": "tasks",
    "method": "methods",
    "session": "session",
    "recorder": "recorder",
    "reward": "rewards",
    "comparison": "comparisons",
    "teleop": "teleop",
    "policy": "policies",
    "collect": "collect",
    "vla": "vla",
}
DEFAULTS = {
    "robot": "sim",
    "safety": "sim_table",
    "cameras": "sim_two",
    "task": "pick_named",
    "method": "tmrl",
    "session": "default",
    "recorder": "default",
    "reward": "simulator",
    "comparison": "none",
    "teleop": "off",
    "policy": "local",
    "collect": "default",
    "vla": "expert",
}

OF_THE_CELL = ("safety", "cameras")  # never the simulation's by default where an arm is real
OF_A_TASK = ("session", "method", "reward")  # a task may carry its own budget, settings and judge
BUNDLES = ("task", "reward")  # sections whose `bundle` is a folder


# Keys of `session` that say where a session runs and who watches it.
NOT_OF_THE_EXPERIMENT = (
    "dir",
    "host",
    "keys",
    "domain_id",
    "console",
    "console_address",
    "console_port",
    "console_latch_s",
    "rviz",
)
# Likewise of `policy`, which counts where a server computes it.
NOT_OF_THE_POLICY = ("url", "token_file", "connect_s", "reconnect_s")


def config_folder() -> Path:
    """Folder of the YAML files: `$TMRL_CONFIG`, the checkout's, or the installed package's."""
    override = os.environ.get("TMRL_CONFIG")
    candidates = [Path(override)] if override else []
    here = Path(__file__).resolve()
    candidates.append(here.parents[2] / "config")
    candidates += [parent / "share" / "tmrl_ros" / "config" for parent in here.parents[2:6]]
    for candidate in candidates:
        if (candidate / "robots").is_dir():
            return candidate
    raise ConfigurationError(
        f"No configuration folder at {candidates[0]}: set TMRL_CONFIG to the folder with robots/ "
        "and tasks/."
    )


def load_config(overrides: Sequence[str] = (), *, folder: Path | None = None) -> Config:
    """Resolve the configuration from files and overrides.

    Args:
        overrides: `section=name` picks a file (`task=lift`, `robot=path/to/my.yaml`),
            `section.key=value` sets a value (YAML syntax). A relative `bundle` is meant from the
            working directory; in a file of `folder` it is meant from the folder around that.
        folder: Folder with the YAML files; `config_folder()` by default.

    Raises:
        ConfigurationError: One sentence naming file, key and value.
    """
    folder = folder or config_folder()
    chosen, values = _split(overrides)
    raw: dict[str, dict[str, Any]] = {}
    origin: dict[str, str] = {}
    for section, default in DEFAULTS.items():
        raw[section], origin[section] = _read_section(folder, section, chosen.get(section, default))
        if Path(origin[section]).is_relative_to(folder):
            _resolve_bundle(section, raw[section], folder.parent)
    for section in OF_A_TASK:
        own = raw["task"].pop(section, {})
        if not isinstance(own, dict):
            raise ConfigurationError(
                f"{origin['task']}: {section} is {own!r}; it needs settings, one per line, such as "
                f"`{section}: {{key: value}}`."
            )
        if section == "reward" and section in chosen:
            continue  # another judge was asked for
        if Path(origin["task"]).is_relative_to(folder):
            _resolve_bundle(section, own, folder.parent)
        raw[section] = {**raw[section], **own}
    for section, key, value in values:
        target = raw[section]
        for part in key[:-1]:
            step = target.get(part)
            if not isinstance(step, dict):
                raise ConfigurationError(
                    f"Override {section}.{'.'.join(key)}: {part!r} is not a section."
                )
            target = step
        target[key[-1]] = value
        origin[f"{section}.{key[-1]}"] = "the command line"
    for section in BUNDLES:
        _resolve_bundle(section, raw[section], Path.cwd())
    _resolve_replay(raw["session"])
    take_calibrations(raw["cameras"], origin["cameras"])
    if raw["session"].get("replay_from") and "method.warmup_episodes" not in origin:
        raw["method"]["warmup_episodes"] = 0  # earlier sessions have warmed up
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, origin)) from None
    if config.robot.kind != "sim":
        _refuse_simulated_cell(config, {*chosen, *(section for section, _, _ in values)})
    return config


def _refuse_simulated_cell(config: Config, named: set[str]) -> None:
    """A real arm must not run with the simulation's limits because nobody thought of its own."""
    for section in OF_THE_CELL:
        if section not in named:
            raise ConfigurationError(
                f"robot.kind={config.robot.kind} needs {section}=...: the default "
                f"{DEFAULTS[section]} is the simulated cell's. Name a file of "
                f"config/{FOLDERS[section]} or a path."
            )


def change_config(config: Config, overrides: Sequence[str], allowed: Sequence[str]) -> Config:
    """Set values in a resolved configuration.

    Args:
        config: What a session was started with.
        overrides: `section.key=value`, as in `load_config`.
        allowed: Keys that may be set, e.g. `session.train_episodes`.

    Raises:
        ConfigurationError: One sentence naming the override, also when its key is not allowed.
    """
    raw = config.model_dump(mode="json")
    chosen, values = _split(overrides)
    for name in [*chosen, *(f"{section}.{'.'.join(key)}" for section, key, _ in values)]:
        if name not in allowed:
            raise ConfigurationError(
                f"{name} cannot change in a session that has begun, only {', '.join(allowed)} can: "
                "leave it out, or start a new session."
            )
    for section, key, value in values:
        raw[section][key[0]] = value
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, {"": "the command line"})) from None


def other_method(config: Config, overrides: Sequence[str]) -> Config:
    """The configuration with another method, for a session that goes on.

    Args:
        config: What a session was started with.
        overrides: `method=name`, and `method.key=value` beside it.

    Raises:
        ConfigurationError: One sentence, also when no method is named or it does not learn.
    """
    chosen, values = _split(overrides)
    if "method" not in chosen:
        _, key, value = values[0]
        raise ConfigurationError(
            f"method.{'.'.join(key)} cannot change in a session that has begun without learning "
            f"anew: say `method={config.method.name} method.{'.'.join(key)}={value}` to do that."
        )
    task = f"task={config.task.name}"
    known = (config_folder() / FOLDERS["task"] / f"{config.task.name}.yaml").is_file()
    method = load_config([*([task] if known else []), *overrides]).method
    if not method.learns:
        raise ConfigurationError(
            f"method={method.name} learns nothing, so a session cannot go on with it: start a new "
            "session."
        )
    return config.model_copy(update={"method": method})


def read_config(path: Path) -> Config:
    """Read a resolved configuration, as `write_config` left it in the session folder."""
    try:
        raw = yaml.safe_load(path.read_text())
        for section in BUNDLES:
            if isinstance(raw, dict) and isinstance(raw.get(section), dict):
                _resolve_bundle(section, raw[section], config_folder().parent)
        return Config.model_validate(raw)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}): name a session's config.yaml."
        ) from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {_one_line(error)}.") from None
    except ValidationError as error:
        raise ConfigurationError(_sentence(error, {"": str(path)})) from None


def write_config(config: Config, path: Path) -> None:
    """Print the whole resolved configuration into a file.

    A bundle that lies beside `config/` is named from there, so that a session can be read where the
    package lies elsewhere.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(_portable(config), sort_keys=False))


def config_hash(config: Config) -> str:
    """Hash of everything but where it runs and who watches: equal hashes mean equal experiments."""
    values = json.dumps(experiment(config), sort_keys=True)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def experiment(config: Config) -> dict[str, dict[str, Any]]:
    """The values behind `config_hash`, in JSON's types, by section and key."""
    values = _portable(config)
    values.pop("teleop")
    policy = values.pop("policy")
    if config.policy.remote:
        values["policy"] = {k: policy[k] for k in policy if k not in NOT_OF_THE_POLICY}
    values.pop("collect")
    for key in NOT_OF_THE_EXPERIMENT:
        values["session"].pop(key)
    return values


def _resolve_bundle(section: str, values: dict[str, Any], root: Path) -> None:
    """Make a relative `bundle` absolute; anything but text is left to pydantic."""
    if section in BUNDLES and isinstance(values.get("bundle"), str):
        values["bundle"] = os.path.normpath(root.absolute() / values["bundle"])


def _resolve_replay(values: dict[str, Any]) -> None:
    """Make the folders of earlier sessions absolute; one folder may stand for a list of one.

    Raises:
        ConfigurationError: A folder is no session.
    """
    named = values.get("replay_from") or []
    named = [named] if isinstance(named, str) else named
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        return  # pydantic names it
    folders = [os.path.normpath(Path.cwd() / item) for item in named]
    for folder in folders:
        if not (Path(folder) / "episodes").is_dir():
            raise ConfigurationError(
                f"session.replay_from: {folder} is no session, it has no folder episodes/. Name "
                "the folder that a run left in sessions/."
            )
    values["replay_from"] = folders


def _portable(config: Config) -> dict[str, dict[str, Any]]:
    """The values in JSON's types, with bundles that lie beside `config/` named from there."""
    values: dict[str, dict[str, Any]] = config.model_dump(mode="json")
    root = os.path.normpath(config_folder().parent.absolute())
    for section in BUNDLES:
        bundle = values[section].get("bundle")
        if bundle and Path(bundle).is_relative_to(root):
            values[section]["bundle"] = str(Path(bundle).relative_to(root))
    return values


def _split(overrides: Sequence[str]) -> tuple[dict[str, str], list[tuple[str, list[str], Any]]]:
    chosen: dict[str, str] = {}
    values: list[tuple[str, list[str], Any]] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        section, *rest = key.split(".")
        if not equals or section not in DEFAULTS or not all(rest):
            raise ConfigurationError(
                f"Override {text!r} is not understood: write section=name or section.key=value, "
                f"with a section of {', '.join(DEFAULTS)}."
            )
        if not rest:
            chosen[section] = value
            continue
        try:
            values.append((section, rest, yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ConfigurationError(
                f"Override {text!r} has no valid value: {_one_line(error)}."
            ) from None
    return chosen, values


def _read_section(folder: Path, section: str, name: str) -> tuple[dict[str, Any], str]:
    is_file = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_file else folder / FOLDERS[section] / f"{name}.yaml"
    if not path.is_file():
        known = sorted(item.stem for item in (folder / FOLDERS[section]).glob("*.yaml"))
        raise ConfigurationError(
            f"{section}={name}: there is no file {path}; known are {', '.join(known) or 'none'}."
        )
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {_one_line(error)}.") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold keys and values, not {type(content).__name__}.")
    return content, str(path)


def _sentence(error: ValidationError, origin: dict[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    section = location[0] if location else ""
    key = ".".join(location)
    whole = origin.get("", "the configuration")
    where = origin.get(".".join(location[:2]), origin.get(section, whole))
    if first["type"] == "extra_forbidden":
        return f"{where}: {key} is not a known key (value {first['input']!r})."
    if first["type"] == "missing":
        return f"{where}: {key} is missing."
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return f"{where}: {message}."
    return f"{where}: {key}={first['input']!r} is wrong: {message}."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

"""The computer's checks, on made-up /proc and /sys and on real folders."""

from pathlib import Path

import pytest

from tmrl_ros.core.config import Config
from tmrl_ros.core.load import load_config
from tmrl_ros.doctor.finding import Level
from tmrl_ros.doctor.machine import (
    governor,
    load,
    machine,
    memory,
    real_time,
    receive_buffer,
    shared_memory,
)
from tmrl_ros.doctor.storage import existing, room, speed, storage, write_rate


def real_arm() -> Config:
    """A configuration that says the arm is real; there is no driver for it to be started."""
    config = load_config()
    return config.model_copy(update={"robot": config.robot.model_copy(update={"kind": "franka"})})


def two_computers() -> Config:
    return load_config(["session.localhost_only=false"])


@pytest.mark.parametrize(("per_minute", "level"), [(0.2, Level.GOOD), (3.9, Level.WARNING)])
def test_a_busy_processor_is_a_warning_with_the_load(per_minute: float, level: Level) -> None:
    finding = load(per_minute, 4)
    assert finding.level is level
    assert f"{per_minute:.1f}" in finding.text


def test_a_governor_that_saves_power_is_named(tmp_path: Path) -> None:
    assert governor(tmp_path).level is Level.SKIPPED
    for core, name in enumerate(["performance", "powersave"]):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    finding = governor(tmp_path)
    assert finding.level is Level.WARNING and "powersave" in finding.text
    (folder / "scaling_governor").write_text("performance\n")
    assert governor(tmp_path).level is Level.GOOD


def test_too_little_memory_is_bad() -> None:
    assert memory(900.0).level is Level.BAD
    assert memory(9000.0).level is Level.GOOD


def test_shared_memory_must_hold_a_segment_for_every_process(tmp_path: Path) -> None:
    assert shared_memory(tmp_path, 10).level is Level.GOOD
    finding = shared_memory(tmp_path, 10**9)
    assert finding.level is Level.BAD and "--shm-size" in finding.remedy
    assert shared_memory(tmp_path / "nowhere", 1).level is Level.WARNING


def test_only_a_real_arm_needs_a_real_time_kernel(tmp_path: Path) -> None:
    assert [item.level for item in real_time(load_config(), tmp_path)] == [Level.SKIPPED]
    assert real_time(real_arm(), tmp_path)[0].level is Level.BAD
    (tmp_path / "sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/kernel/realtime").write_text("1\n")
    assert real_time(real_arm(), tmp_path)[0].level is Level.GOOD


def test_buffers_matter_between_computers(tmp_path: Path) -> None:
    file = tmp_path / "proc/sys/net/core/rmem_max"
    file.parent.mkdir(parents=True)
    file.write_text("212992\n")
    assert receive_buffer(load_config(), tmp_path).level is Level.SKIPPED
    assert receive_buffer(two_computers(), tmp_path).level is Level.WARNING
    file.write_text("8388608\n")
    assert receive_buffer(two_computers(), tmp_path).level is Level.GOOD


def test_every_finding_about_this_machine_says_something() -> None:
    findings = machine(load_config(), 9)
    assert len({item.check for item in findings}) == len(findings)
    assert all(item.text for item in findings)
    assert all(item.remedy for item in findings if item.level in (Level.BAD, Level.WARNING))


@pytest.mark.parametrize(
    ("free_mb", "level"), [(100.0, Level.BAD), (2000.0, Level.WARNING), (90_000.0, Level.GOOD)]
)
def test_room_on_the_disk(tmp_path: Path, free_mb: float, level: Level) -> None:
    assert room(free_mb, 500.0, tmp_path).level is level


def test_a_slow_disk_is_a_warning_with_the_rate(tmp_path: Path) -> None:
    assert speed(12.0, tmp_path).level is Level.WARNING
    assert "12 MB/s" in speed(12.0, tmp_path).text
    assert speed(500.0, tmp_path).level is Level.GOOD


def test_the_probe_of_the_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    assert write_rate(tmp_path, 2) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_session_folder_need_not_exist_yet(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert [item.level for item in storage(load_config(), tmp_path / "a")][0] in Level


def test_nothing_is_asked_of_the_disk_without_a_recorder(tmp_path: Path) -> None:
    findings = storage(load_config(["recorder.enabled=false"]), tmp_path)
    assert [item.level for item in findings] == [Level.SKIPPED]

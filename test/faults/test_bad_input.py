"""What is wrong with what was asked is said in one sentence, and nothing is started."""

import shutil

import pytest
from whole_graph import make_bundle, tmrl


@pytest.fixture
def refused(tmp_path, bundle, domain_id):
    """Asks for a job; returns the one sentence with which it is refused."""

    def ask(*overrides):
        session = tmp_path / "session"
        words = [f"session.dir={session}", f"session.domain_id={domain_id}"]
        said = tmrl("finetune", "task=lift", f"task.bundle={bundle}", *words, *overrides)
        assert said.returncode == 2, said.stderr
        assert said.stdout == ""
        assert said.stderr.count("\n") == 1
        assert not session.exists()
        return said.stderr

    return ask


def test_a_missing_bundle(refused, tmp_path):
    assert f"There is no policy bundle at {tmp_path / 'nowhere'}" in refused(
        f"task.bundle={tmp_path / 'nowhere'}"
    )


def test_a_damaged_bundle(refused, tmp_path, bundle):
    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert "model.safetensors is damaged: its hash is" in refused(f"task.bundle={damaged}")


def test_a_policy_for_another_rate(refused, tmp_path):
    make_bundle(tmp_path / "slow", rate_hz=15.0)
    said = refused(f"task.bundle={tmp_path / 'slow'}")
    assert "the policy's actions are for 15 Hz" in said
    assert "robot.control_rate_hz is 20" in said


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("task=juggle", "task=juggle: there is no file"),
        ("session.sede=3", "session.sede is not a known key"),
        ("session.seed=many", "session.seed='many' is wrong"),
        ("robot.control_rate_hz=-1", "robot.control_rate_hz=-1 is wrong"),
        ("seed=3", "Override 'seed=3' is not understood"),
        ("recorder.min_free_mb=1e12", "below recorder.min_free_mb=1e+12: free some space"),
    ],
)
def test_a_wrong_key_or_value(refused, override, sentence):
    assert sentence in refused(override)


def test_a_session_that_is_not_there(tmp_path):
    said = tmrl("finetune", "--resume", str(tmp_path / "nothing"))
    assert said.returncode == 2
    assert f"There is no session '{tmp_path / 'nothing'}'" in said.stderr

"""A person holds back further episodes; the running one goes on."""

from tmrl_ros.core.types import Phase
from tmrl_ros.session.gates import Gates, GateSettings, SafetyView, Verdict, World


def test_a_paused_session_waits_without_end_and_goes_on_at_once():
    settings = GateSettings(simulated_operator=False, lockstep=False, learner_lag=1, settle_s=0.0)
    gates, world = Gates(settings), World(missing=(), stamp_ns=1, safety=SafetyView(latched=False))
    ask = lambda now_s: gates.ask(world, Phase.TRAIN, False, now_s)  # noqa: E731
    assert ask(0.0)[0] is Verdict.OPEN
    world.paused = True
    for now_s in (1.0, 1e6):
        verdict, text = ask(now_s)
        assert verdict is Verdict.WAIT and "START" in text
    world.paused = False
    assert ask(1e6 + 1)[0] is Verdict.OPEN


def test_a_pause_is_asked_before_everything_else():
    settings = GateSettings(simulated_operator=True, lockstep=False, learner_lag=1)
    latched = SafetyView(latched=True, code="START")
    world = World(missing=("reward",), safety=latched, paused=True)
    verdict, text = Gates(settings).ask(world, Phase.TRAIN, False, 0.0)
    assert verdict is Verdict.WAIT and "Paused" in text

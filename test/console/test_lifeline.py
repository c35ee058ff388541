from tmrl_ros.console.lifeline import Lifeline


def test_nothing_happens_before_the_first_page():
    assert not Lifeline(1.0).is_lost(1e9)


def test_a_lost_page_is_told_once():
    line = Lifeline(1.0)
    line.join(10.0)
    assert not line.is_lost(10.9)
    assert line.is_lost(11.0)
    assert not line.is_lost(12.0)


def test_a_page_that_speaks_is_not_lost_and_one_is_enough():
    line = Lifeline(1.0)
    first, second = line.join(10.0), line.join(10.0)
    line.leave(first)
    line.hear(second, 10.8)
    assert line.pages == 1
    assert not line.is_lost(11.5)
    assert line.is_lost(11.8)


def test_a_closed_page_is_lost_too_unless_it_comes_back():
    line = Lifeline(1.0)
    line.leave(line.join(10.0))
    line.join(10.5)
    assert not line.is_lost(11.2)
    assert line.is_lost(11.5)


def test_after_a_loss_the_next_page_is_watched_again():
    line = Lifeline(1.0)
    line.join(10.0)
    assert line.is_lost(11.0)
    line.join(20.0)
    assert not line.is_lost(20.5)
    assert line.is_lost(21.0)


def test_it_is_off_by_default():
    line = Lifeline(0.0)
    line.join(10.0)
    assert not line.is_lost(1e9)

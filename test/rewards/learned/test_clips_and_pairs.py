from collections import Counter

import numpy as np
import pytest
from bars import UP, bar_video

from tmrl_ros.rewards.learned.clips import KINDS, draw_clip, pad, rewound, spread
from tmrl_ros.rewards.learned.episodes import LabelledEpisode, from_outcome, of_another_task
from tmrl_ros.rewards.learned.preferences import KINDS as PAIRS
from tmrl_ros.rewards.learned.preferences import MARGIN, PairSampler


def test_frames_are_spread_over_the_whole_prefix_with_both_ends():
    assert spread(range(13), 8).tolist() == [0, 2, 3, 5, 7, 9, 10, 12]
    assert spread(range(3), 8).tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_clips_stay_inside_the_episode(kind: str, length: int):
    rng = np.random.default_rng(0)
    for _ in range(50):
        clip = draw_clip(kind, length, 8, rng)
        assert 1 <= len(clip) <= 8
        assert clip.min() >= 0 and clip.max() < length


def test_a_rewound_clip_goes_forward_and_then_back():
    clip = rewound(10, 40, np.random.default_rng(0))
    turn = int(np.argmax(clip))

    assert (np.diff(clip[: turn + 1]) > 0).all() and (np.diff(clip[turn:]) < 0).all()
    assert turn < len(clip) - 1


def test_padding_repeats_the_last_frame_and_says_where():
    rows, unused = pad([np.array([0, 1]), np.array([3, 4, 5])])

    assert rows.tolist() == [[0, 1, 1], [3, 4, 5]]
    assert unused.tolist() == [[False, False, True], [False, False, False]]


def _episodes() -> list[LabelledEpisode]:
    videos = [
        bar_video(str(n), np.linspace(0, top, 6).tolist()) for n, top in enumerate((1, 1, 0.2, 0.7))
    ]
    made = []
    for video, top in zip(videos, (1, 1, 0.2, 0.7), strict=True):
        progress = np.linspace(0, top, 6).astype(np.float32)
        made.append(LabelledEpisode(video, UP, progress, progress > 0.99))
    other = from_outcome(bar_video("other", [0.5, 0.2, 0.0]), ("lower the bar",), True)
    return [*made, other, of_another_task(other, UP)]


def test_the_better_side_of_a_pair_is_better_for_its_prompt():
    episodes = _episodes()
    pairs = PairSampler(episodes, 8, np.random.default_rng(0)).draw(500)

    assert set(Counter(pair.kind for pair in pairs)) == set(PAIRS)
    for pair in pairs:
        better, worse = episodes[pair.better.episode], episodes[pair.worse.episode]
        assert pair.prompt in better.prompts and pair.prompt in worse.prompts
        at_end = better.progress[pair.better.frames[-1]], worse.progress[pair.worse.frames[-1]]
        assert at_end[0] > at_end[1]
        if pair.kind == "graded":
            assert at_end[0] - at_end[1] >= MARGIN and not better.succeeds


def test_without_a_success_nothing_is_compared():
    failed = [e for e in _episodes() if not e.succeeds]

    assert PairSampler(failed, 8, np.random.default_rng(0)).draw(20) == []


def test_progress_of_a_success_of_which_only_the_end_is_known_grows_evenly():
    episode = from_outcome(bar_video("x", [0.0] * 5), UP, True)

    assert episode.progress.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert episode.success.tolist() == [False] * 4 + [True]
    # Half-way frames of such an episode may be anything.
    assert episode.success_known.tolist() == [True, True, False, False, True]


def test_how_far_a_failure_came_is_not_invented():
    episode = from_outcome(bar_video("x", [0.0] * 3), UP, False)

    assert np.isnan(episode.progress).all()
    assert not episode.success.any() and episode.success_known.all()

"""A task of a few pixels: a bar that is to go up, or down."""

import numpy as np

from tmrl_ros.rewards.learned.episodes import LabelledEpisode, Video
from tmrl_ros.rewards.learned.model import ModelSize

TINY = ModelSize(
    cameras=1, image_height=16, image_width=16, prompt_size=16, clip=4, width=32, layers=1, heads=2
)
UP, DOWN = ("raise the bar",), ("lower the bar",)


def bar_video(name: str, heights: list[float]) -> Video:
    """A bright bar on a dark ground, at a height between 0 (bottom) and 1 (top)."""
    frames = np.full((len(heights), 1, 16, 16, 3), 20, np.uint8)
    for number, height in enumerate(heights):
        row = round((1 - height) * 13)
        frames[number, 0, row : row + 3, 4:] = 220
        frames[number, 0, 6:10, :3] = 120  # a post to judge heights by
    return Video(name, "bar", frames)


def bar_episodes(count: int, seed: int) -> list[LabelledEpisode]:
    """Bars that go up all the way or stop below; success at the top, or at the bottom."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number in range(count):
        end = 1.0 if number % 2 else float(rng.uniform(0.3, 0.8))
        heights = np.linspace(0.3, end, 6) if number % 4 < 2 else np.linspace(0.3, 1 - end, 6)
        video = bar_video(f"bar-{seed}-{number}", heights.tolist())
        for prompts, progress in ((UP, heights), (DOWN, 1 - heights)):
            progress = progress.astype(np.float32)
            episodes.append(LabelledEpisode(video, prompts, progress, progress > 0.99))
    return episodes

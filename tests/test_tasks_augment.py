"""Augmentation: what it may change, how strongly, and that it follows its generator."""

from functools import partial

import pytest
import torch

from paretonas.objectives import Augment
from paretonas.objectives.tasks.augment import augment_images, augment_log_mel, augment_rows, augment_signals

IMAGES = torch.rand((64, 3, 16, 16), generator=torch.Generator().manual_seed(1))
CASES: dict[str, tuple[Augment, torch.Tensor]] = {
    "images": (partial(augment_images, black=(0.0, 0.0, 0.0)), IMAGES),
    "mirrored images": (partial(augment_images, black=(0.0, 0.0, 0.0), flip=True), IMAGES),
    "signals": (augment_signals, IMAGES[:, 0]),
    "log-mel": (augment_log_mel, IMAGES[:, 0]),
    "rows": (partial(augment_rows, numeric=5), IMAGES[:, 0, 0]),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("case", CASES)
def test_augmentation_follows_its_generator(case: str) -> None:
    """The same generator gives the same, the next draw another; the batch given and the global state stay."""
    augment, x = CASES[case]
    kept, state, draw = x.clone(), torch.get_rng_state(), seeded()
    first, second = augment(x, 0.5, draw), augment(x, 0.5, draw)
    assert first.shape == x.shape
    assert first.dtype == x.dtype
    assert torch.equal(first, augment(x, 0.5, seeded()))
    assert not torch.equal(first, second)
    assert torch.equal(x, kept)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("case", CASES)
def test_strength_zero_changes_nothing(case: str) -> None:
    """And the stronger, the more is changed."""
    augment, x = CASES[case]
    assert torch.equal(augment(x, 0.0, seeded()), x)
    if "mirrored" not in case:
        changes = [(augment(x, strength, seeded()) - x).abs().mean().item() for strength in (0.1, 0.5, 1.0)]
        assert changes == sorted(changes)
        assert changes[0] > 0


@pytest.mark.parametrize("case", CASES)
def test_each_example_is_changed_in_its_own_way(case: str) -> None:
    """A batch of one example repeated comes out different."""
    augment, x = CASES[case]
    changed = augment(x[:1].expand(x.shape), 1.0, seeded())
    assert len({tuple(row.flatten().tolist()) for row in changed}) == len(x)


def test_images_move_by_an_eighth_at_most() -> None:
    """Two of 16 rows or columns with all strength, one with half of it; what comes in is black."""
    for dim in (2, 3):
        for strength, most in ((1.0, 2), (0.5, 1)):
            x = torch.zeros((500, 1, 16, 16))
            x.select(dim, 8).fill_(100.0)
            changed = augment_images(x, strength, seeded(), black=(0.0,))
            places = changed.movedim(dim, 1).flatten(2).sum(2).argmax(1) - 8
            assert sorted({*places.tolist()}) == list(range(-most, most + 1))
    white = augment_images(torch.ones((500, 1, 8, 8)), 1.0, seeded(), black=(-7.0,))
    corners = white[:, 0, 0, 0]
    assert 0.2 < (corners < -3).float().mean() < 0.7


def test_contrast_and_brightness_stay_within_bounds() -> None:
    """Contrast by 40 % and brightness by 0.2 at most, one of each for an image."""
    x = IMAGES[:1, :, :1, :1].expand(1000, 3, 2, 2)
    changed = augment_images(x, 1.0, seeded(), black=(0.0, 0.0, 0.0))
    assert ((changed - x).abs() <= 0.4 * x + 0.2 + 1e-6).all()
    assert torch.allclose(changed, changed[:, :, :1, :1].expand(changed.shape))


def test_half_of_the_images_are_mirrored() -> None:
    """At any strength, if the task says that they may be."""
    x = IMAGES[:1].expand(400, 3, 16, 16)
    for strength in (1e-6, 1e-3):
        changed = augment_images(x, strength, seeded(), black=(0.0, 0.0, 0.0), flip=True)
        mirrored = (changed - x.flip(3)).abs().amax((1, 2, 3)) < 0.01
        as_it_was = (changed - x).abs().amax((1, 2, 3)) < 0.01
        assert (mirrored | as_it_was).all()
        assert 160 < int(mirrored.sum()) < 240


def test_signals_move_and_scale() -> None:
    """By an eighth of the length and 20 % at most; noise is a tenth."""
    x = torch.zeros((1000, 1, 40))
    x[:, 0, 20] = 100.0
    changed = augment_signals(x, 1.0, seeded())
    assert {*(changed[:, 0].argmax(1) - 20).tolist()} == {*range(-5, 6)}
    assert 79 < changed.amax(2).min() < 85
    assert 115 < changed.amax(2).max() < 121
    assert abs(changed[:, 0, 0].std().item() - 0.1) < 0.02


def test_log_mel_features_are_masked() -> None:
    """Whole bands and whole frames become 0, a fifth of each at most."""
    x = torch.full((500, 40, 100), 50.0)
    changed = augment_log_mel(x, 1.0, seeded())
    empty = changed == 0
    frames, bands = empty.all(1).sum(1), empty.all(2).sum(1)
    assert int(bands.max()) <= 8
    assert int(frames.max()) <= 20 + 12
    assert 1 < bands.float().mean() < 6
    masked = empty.any(1).sum(1) == 100
    assert masked.float().mean() > 0.5


def test_category_codes_stay() -> None:
    """Noise comes on the numeric columns only, a tenth of a deviation."""
    x = IMAGES[:, 0, 0].repeat(50, 1)
    changed = augment_rows(x, 1.0, seeded(), numeric=5)
    assert torch.equal(changed[:, 5:], x[:, 5:])
    assert abs((changed - x)[:, :5].std().item() - 0.1) < 0.01

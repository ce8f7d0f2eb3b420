"""Augmentation: against plain loops over single images, and what may not change."""

from __future__ import annotations

import colorsys

import pytest
import torch

from components.tasks.augmentation import colour_jitter, crop_and_flip, crop_flip_and_jitter


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.rand(200, 3, 8, 6, generator=seeded(9))


def test_every_image_is_some_crop_of_its_padded_self_mirrored_or_not() -> None:
    found = set()
    for image, changed in zip(IMAGES, crop_and_flip(IMAGES, seeded()), strict=True):
        padded = torch.nn.functional.pad(image, (4, 4, 4, 4))
        places = [
            (down, right, mirrored)
            for down in range(9)
            for right in range(9)
            for mirrored in (False, True)
            if torch.equal(crop(padded, down, right, mirrored), changed)
        ]
        assert places, "no crop of the image"
        found.add(places[0])
    assert {down for down, _, _ in found} == {right for _, right, _ in found} == set(range(9))
    assert {mirrored for *_, mirrored in found} == {False, True}


def crop(padded: torch.Tensor, down: int, right: int, mirrored: bool) -> torch.Tensor:
    image = padded[:, down : down + 8, right : right + 6]
    return image.flip(2) if mirrored else image


def test_jitter_is_what_it_says() -> None:
    """One image after the other, saturation through Python's own HSV."""
    draws = torch.rand(3, 200, generator=seeded())
    changed = colour_jitter(IMAGES, seeded())
    for i in range(20):
        brightness, contrast, saturation = (0.4 * draws[:, i] - 0.2).tolist()
        image = (IMAGES[i] + brightness).clamp(0, 1)
        for channel in image:
            channel.copy_((channel - channel.mean()) * (1 + contrast) + channel.mean())
        pixels = image.clamp(0, 1).permute(1, 2, 0).reshape(-1, 3)
        expected = []
        for rgb in pixels.tolist():
            h, s, v = colorsys.rgb_to_hsv(*rgb)
            expected.append(colorsys.hsv_to_rgb(h, min(1, s * (1 + saturation)), v))
        got = changed[i].permute(1, 2, 0).reshape(-1, 3)
        torch.testing.assert_close(got, torch.tensor(expected), atol=1e-5, rtol=0)


def test_jitter_of_grey_and_black() -> None:
    """No saturation to change and no division by 0."""
    grey = torch.full((50, 3, 4, 4), 0.5)
    changed = colour_jitter(grey, seeded())
    assert torch.equal(changed[:, 0], changed[:, 2]) and 0.3 <= changed.min() < changed.max() <= 0.7
    assert colour_jitter(torch.zeros(50, 3, 4, 4), seeded()).isfinite().all()


@pytest.mark.parametrize("augment", [crop_and_flip, colour_jitter, crop_flip_and_jitter])
def test_range_shape_and_seed(augment) -> None:  # type: ignore[no-untyped-def]
    first = augment(IMAGES, seeded())
    assert first.shape == IMAGES.shape and first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, augment(IMAGES, seeded()))
    assert not torch.equal(first, augment(IMAGES, seeded(1)))

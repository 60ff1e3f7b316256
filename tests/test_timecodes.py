"""Time: the encoding that never repeats, the times of training clips, what a discriminator is told."""

from __future__ import annotations

import math

import pytest
import torch

from vidgen.errors import VidgenError
from vidgen.timecodes import AcyclicEncoding, DistanceFeatures, sample_times

DISTANCE, LONGEST = 8, 1024.0


def encoding(shortest: float = 4.0, amplitudes: bool = False) -> tuple[AcyclicEncoding, torch.Tensor]:
    torch.manual_seed(0)
    layer = AcyclicEncoding(6, 10, DISTANCE, shortest, LONGEST, amplitudes=amplitudes)
    return layer, torch.randn(2, 5, 6)


@torch.no_grad()
def reference(layer: AcyclicEncoding, codes: torch.Tensor, time: float) -> torch.Tensor:
    """Encode one time of one clip, codes [l, d], as the formula says, number by number."""
    left = math.floor(time / DISTANCE)
    share = time / DISTANCE - left
    u, after = codes[left], codes[left + 1]
    a, b, c = (part.weight * part.gain for part in (layer.factors, layer.phases, layer.pins))
    found = []
    for trigonometric, row in [(math.sin, 0), (math.cos, 5)]:
        for index in range(5):
            period = 4.0 * (LONGEST / 4.0) ** (index / 4)
            factor, phase, size = math.tanh(float(a[index] @ u)) + 1, float(b[index] @ u), 1.0
            phase *= LONGEST / period
            if layer.amplitudes:
                x, y = float(b[index] @ u), float(b[index + 5] @ u)
                size, phase = math.hypot(x, y), math.atan2(y, x)

            def wave(at: float, f: float = 2 * math.pi / period, p: float = factor) -> float:
                return size * trigonometric(f * p * at + phase)  # noqa: B023 (called at once)

            ends = wave(left * DISTANCE), wave((left + 1) * DISTANCE)
            pins = float(c[row + index] @ u), float(c[row + index] @ after)
            lerped = [one + share * (other - one) for one, other in (ends, pins)]
            found.append(wave(time) - lerped[0] + lerped[1])
    return torch.tensor(found)


@pytest.mark.parametrize("amplitudes", [False, True])
def test_the_encoding_is_its_formula(amplitudes: bool) -> None:
    layer, codes = encoding(amplitudes=amplitudes)
    times = torch.tensor([[0.0, 3.25, 8.0, 31.5], [30.0, 1.0, 17.75, 0.5]])
    found = layer(codes, times, torch.zeros(2, dtype=torch.long))
    for clip in range(2):
        for frame in range(4):
            wanted = reference(layer, codes[clip], float(times[clip, frame]))
            torch.testing.assert_close(found[clip, frame], wanted, atol=1e-4, rtol=0)


def test_relative_time_moves_alike_wherever_the_codes_stand() -> None:
    layer, codes = encoding()
    times, first = torch.tensor([[8.0, 9.5, 15.75]] * 2), torch.zeros(2, dtype=torch.long)
    absolute = layer(codes, times, first), layer(codes[:, 1:], times - DISTANCE, first)
    assert (absolute[0] - absolute[1]).abs().max() > 0.1
    layer.relative = True
    torch.testing.assert_close(
        layer(codes, times, first), layer(codes[:, 1:], times - DISTANCE, first), atol=1e-4, rtol=0
    )  # the last digits of phases of several turns are the processor's
    start = torch.tensor([[0.0, 3.25, 7.5]] * 2)  # where both count from the same code
    relative = layer(codes, start, first)
    layer.relative = False
    torch.testing.assert_close(relative, layer(codes, start, first), atol=1e-5, rtol=0)


@pytest.mark.parametrize("amplitudes", [False, True])
@pytest.mark.parametrize("relative", [False, True])
def test_the_encoding_is_continuous_and_pinned_at_the_codes(relative: bool, amplitudes: bool) -> None:
    layer, codes = encoding(amplitudes=amplitudes)
    layer.relative = relative
    first = torch.zeros(2, dtype=torch.long)
    at = layer(codes, torch.tensor([[8.0, 16.0, 24.0]] * 2), first)
    torch.testing.assert_close(at, layer.pins(codes)[:, 1:4], atol=1e-4, rtol=0)
    for offset in (-1e-3, 1e-3):
        near = layer(codes, torch.tensor([[8.0, 16.0, 24.0]] * 2) + offset, first)
        assert (near - at).abs().max() < 0.01
    between = layer(codes, torch.tensor([[12.0, 20.0, 28.0]] * 2), first)
    assert (between - at).abs().max() > 0.3


def test_the_first_code_may_have_any_number() -> None:
    layer, codes = encoding()
    times = torch.tensor([[17.0, 25.5]] * 2)
    whole = layer(codes, times, torch.zeros(2, dtype=torch.long))
    torch.testing.assert_close(layer(codes[:, 2:], times, torch.full((2,), 2)), whole)


@pytest.mark.parametrize(("frames", "fractional"), [(3, False), (3, True), (1, False), (2, True), (5, False)])
def test_sampled_times(frames: int, fractional: bool) -> None:
    draws = torch.Generator().manual_seed(0)
    times = sample_times(4000, frames, draws, 16, length=40, fractional=fractional)
    assert times.shape == (4000, frames)
    assert times.min() >= 0
    assert times.max() <= 39
    steps = times[:, 1:] - times[:, :-1]
    assert (steps > 0).all()
    torch.testing.assert_close(steps, steps.round())
    assert bool((times[:, 0] != times[:, 0].round()).any()) == fractional
    powers = {2**power for power in range(5) if 2**power >= frames - 1} if frames > 1 else {0}
    distances = (times[:, -1] - times[:, 0]).round()
    assert set(distances.tolist()) == powers
    for power in powers:
        assert abs(float((distances == power).float().mean()) - 1 / len(powers)) < 0.05
    assert times[:, 0].unique().numel() >= 24  # it begins anywhere
    if frames == 3:
        middle = (times[:, 1] - times[:, 0])[distances == 16].round()
        assert set(middle.tolist()) == set(range(1, 16))


def test_sampled_times_come_from_the_generator_alone() -> None:
    pair = [sample_times(5, 3, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*pair)
    assert not torch.equal(pair[0], sample_times(5, 3, torch.Generator().manual_seed(4)))


@pytest.mark.parametrize(("frames", "longest", "length"), [(4, 2, 16), (3, 32, 2), (3, 1, None), (6, 7, 16)])
def test_times_that_do_not_fit_are_one_sentence(frames: int, longest: int, length: int | None) -> None:
    with pytest.raises(VidgenError, match=f"{frames} frames"):
        sample_times(2, frames, None, longest, length=length)


def test_distances_are_told_apart() -> None:
    torch.manual_seed(0)
    told = DistanceFeatures(32, waves=4, table=3)
    features = told(torch.tensor([[5.0, 7.0, 15.0], [0.25, 2.25, 10.25], [0.0, 2.0, 11.0], [0.0, 2.0, 90.0]]))
    assert features.shape == (4, 2 * 11)
    torch.testing.assert_close(features[0], features[1])  # only the distances count
    assert (features[0, :11] == features[2, :11]).all()
    assert (features[0, 11:] - features[2, 11:]).abs().max() > 0.1
    torch.testing.assert_close(features[3, 11:], told(torch.tensor([[0.0, 2.0, 34.0]]))[0, 11:])
    half = told(torch.tensor([[0.0, 2.5]]))[0, 8:]
    torch.testing.assert_close(half, (told.table[2] + told.table[3]) / 2)

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from limner.objectives.contrastive import clamp_temperature, clip_loss, info_nce, itc_loss
from limner.objectives.momentum import FeatureQueue, empty_queue, push

B, E, Q, TEMPERATURE = 4, 6, 8, 0.07


def _unit(seed: int, rows: int = B) -> Tensor:
    return functional.normalize(torch.randn(rows, E, generator=torch.Generator().manual_seed(seed)), dim=1)


def _filled_queue(ids: list[int]) -> FeatureQueue:
    queue = empty_queue(Q, E, torch.Generator().manual_seed(7))
    return push(queue, _unit(20), _unit(21), torch.tensor(ids)) if ids else queue


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def _slow_direction(
    query: list[list[float]],
    teacher: list[list[float]],
    keys: list[list[float]],
    positives: list[list[int]],
    alpha: float,
) -> float:
    """ALBEF eq. 6, one picture, one candidate at a time."""
    total = 0.0
    for row, (q, t) in enumerate(zip(query, teacher, strict=True)):
        student = _softmax([_dot(q, k) / TEMPERATURE for k in keys])
        soft = _softmax([_dot(t, k) / TEMPERATURE for k in keys])
        for column in range(len(keys)):
            hard = (column in positives[row]) / len(positives[row])
            target = alpha * soft[column] + (1 - alpha) * hard
            total -= target * math.log(student[column])
    return total / len(query)


def _slow_itc(parts: list[Tensor], queue: FeatureQueue, alpha: float, ids: list[int] | None) -> float:
    image, text, teacher_image, teacher_text = (p.double().tolist() for p in parts)
    all_ids = (ids or []) + queue.ids.tolist()
    positives = [
        [row] if ids is None else [c for c, i in enumerate(all_ids) if i == ids[row]] for row in range(B)
    ]
    texts, images = teacher_text + queue.text.double().tolist(), teacher_image + queue.image.double().tolist()
    image_loss = _slow_direction(image, teacher_image, texts, positives, alpha)
    text_loss = _slow_direction(text, teacher_text, images, positives, alpha)
    return (image_loss + text_loss) / 2


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("ids", [None, [3, 5, 3, 9], [0, 1, 2, 3]])
def test_itc_equals_the_double_loop(alpha: float, ids: list[int] | None) -> None:
    parts, queue = [_unit(seed) for seed in range(4)], _filled_queue([9, 3, 30, 31])
    image_ids = None if ids is None else torch.tensor(ids)
    loss = itc_loss(*parts, queue, torch.tensor(TEMPERATURE), alpha, image_ids)
    assert loss.item() == pytest.approx(_slow_itc(parts, queue, alpha, ids), rel=1e-5)


def test_itc_without_a_queue_equals_the_double_loop() -> None:
    parts, queue = [_unit(seed) for seed in range(4)], empty_queue(0, E, torch.Generator())
    loss = itc_loss(*parts, queue, TEMPERATURE, 0.4)
    assert loss.item() == pytest.approx(_slow_itc(parts, queue, 0.4, None), rel=1e-5)


def test_hard_targets_without_a_queue_and_a_teacher_that_is_the_student_are_clip() -> None:
    image, text = _unit(0), _unit(1)
    loss = itc_loss(image, text, image, text, empty_queue(0, E, torch.Generator()), TEMPERATURE, 0.0)
    torch.testing.assert_close(loss, info_nce(image, text, 1 / TEMPERATURE))


def test_unfilled_slots_are_never_positives() -> None:
    parts, queue = [_unit(seed) for seed in range(4)], _filled_queue([])
    with_ids = itc_loss(*parts, queue, TEMPERATURE, 0.0, torch.arange(B))
    torch.testing.assert_close(with_ids, itc_loss(*parts, queue, TEMPERATURE, 0.0))


def test_gradients_reach_the_student_and_the_temperature_only() -> None:
    parts = [_unit(seed).requires_grad_() for seed in range(4)]
    temperature = torch.tensor(TEMPERATURE, requires_grad=True)
    itc_loss(*parts, _filled_queue([9, 3, 30, 31]), temperature, 0.4).backward()
    assert parts[0].grad is not None
    assert parts[1].grad is not None
    assert temperature.grad is not None
    assert parts[2].grad is None
    assert parts[3].grad is None


def test_a_smaller_temperature_sharpens_since_it_divides() -> None:
    image = _unit(0)
    queue = empty_queue(0, E, torch.Generator())
    sharp, blunt = (itc_loss(image, image, image, image, queue, t, 0.0) for t in (0.02, 0.5))
    assert sharp < blunt


def test_the_temperature_is_held_in_its_range() -> None:
    for given, wanted in [(0.9, 0.5), (-1.0, 0.001), (0.07, 0.07)]:
        temperature = torch.nn.Parameter(torch.tensor(given))
        clamp_temperature(temperature)
        assert temperature.item() == pytest.approx(wanted)


def test_info_nce_equals_the_double_loop() -> None:
    image, text, scale = _unit(0).double().tolist(), _unit(1).double().tolist(), 12.5
    total = 0.0
    for row in range(B):
        by_text = _softmax([scale * _dot(image[row], t) for t in text])
        by_image = _softmax([scale * _dot(i, text[row]) for i in image])
        total -= math.log(by_text[row]) + math.log(by_image[row])
    loss = info_nce(_unit(0), _unit(1), torch.tensor(scale))
    assert loss.item() == pytest.approx(total / (2 * B), rel=1e-5)


@pytest.mark.parametrize("chunk", [0, 1, 3, 100])
@pytest.mark.parametrize("rows", [1, 7])
def test_the_chunked_loss_and_its_gradients_are_info_nce_s(chunk: int, rows: int) -> None:
    grads, losses = [], []
    for chunked in (False, True):
        parts = [_unit(0, rows).requires_grad_(), _unit(1, rows).requires_grad_()]
        scale = torch.tensor(14.0, requires_grad=True)
        loss = clip_loss(*parts, scale, chunk) if chunked else info_nce(*parts, scale)
        (3 * loss).backward()
        losses.append(loss.item())
        grads.append([part.grad for part in (*parts, scale)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6, abs=1e-7)
    for one, other in zip(*grads, strict=True):
        assert (one - other).norm() <= 1e-5 * one.norm() + 1e-7


def test_the_chunked_loss_holds_chunks_only() -> None:
    """The largest tensor it makes is `chunk` rows of similarities."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    parts = [_unit(seed, 256).requires_grad_() for seed in (0, 1)]
    with Watch():
        clip_loss(*parts, torch.tensor(10.0, requires_grad=True), 8).backward()
    assert largest <= 8 * 256

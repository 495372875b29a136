import copy

import pytest
import torch
from torch import nn

from limner.errors import ShapeError
from limner.objectives.momentum import NO_ID, FeatureQueue, empty_queue, push, ramp, update_teacher


def _batch(first_id: int, size: int, embed_dim: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.arange(first_id, first_id + size)
    image = ids[:, None].float().expand(size, embed_dim).contiguous()
    return image, -image, ids


def _queue(size: int) -> FeatureQueue:
    return empty_queue(size, 4, torch.Generator().manual_seed(0))


def test_an_empty_queue_holds_random_unit_vectors_of_no_picture() -> None:
    queue = _queue(6)
    assert queue.image.shape == queue.text.shape == (6, 4)
    torch.testing.assert_close(queue.image.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(queue.text.norm(dim=1), torch.ones(6))
    assert not torch.equal(queue.image, queue.text)
    assert queue.ids.tolist() == [NO_ID] * 6
    assert queue.position == 0


def test_the_queue_rotates_like_a_ring() -> None:
    queue, ring = _queue(6), [NO_ID] * 6
    for step in range(8):
        image, text, ids = _batch(10 * step, 2)
        queue = push(queue, image, text, ids)
        start = 2 * step % 6
        ring[start : start + 2] = ids.tolist()
        assert queue.ids.tolist() == ring
        assert queue.position == (start + 2) % 6
    torch.testing.assert_close(queue.image[:, 0], queue.ids.float())
    torch.testing.assert_close(queue.text[:, 0], -queue.ids.float())


def test_a_batch_that_crosses_the_end_wraps_round() -> None:
    queue = push(_queue(8), *_batch(0, 2))
    for step in range(2):
        queue = push(queue, *_batch(10 * (step + 1), 4))
    assert queue.ids.tolist() == [22, 23, 10, 11, 12, 13, 20, 21]
    assert queue.position == 2


def test_push_leaves_the_old_queue_and_holds_no_graph() -> None:
    before = _queue(4)
    held = before.image.clone()
    image, text, ids = _batch(0, 2)
    after = push(before, image.requires_grad_(), text, ids)
    assert torch.equal(before.image, held)
    assert not after.image.requires_grad


@pytest.mark.parametrize(("size", "batch"), [(6, 4), (4, 8)])
def test_a_queue_that_is_no_multiple_of_the_batch_is_an_error(size: int, batch: int) -> None:
    with pytest.raises(ShapeError, match=f"a queue of {size} with a .* batch of {batch}"):
        push(_queue(size), *_batch(0, batch))


def test_a_queue_of_size_zero_stays_empty() -> None:
    queue = push(_queue(0), *_batch(0, 3))
    assert queue.ids.shape == (0,)
    assert queue.image.shape == (0, 4)
    assert queue.position == 0


def _models() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return tuple(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2))


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.995, 1.0])
def test_the_teacher_moves_element_by_element(momentum: float) -> None:
    teacher, student = _models()
    wanted = [
        [
            momentum * t + (1 - momentum) * s
            for t, s in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
        ]
        for a, b in zip(teacher.parameters(), student.parameters(), strict=True)
    ]
    update_teacher(teacher, student, momentum)
    for parameter, values in zip(teacher.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.flatten().tolist(), values, rtol=1e-6, atol=1e-7)


def test_momentum_zero_and_one_are_exact() -> None:
    teacher, student = _models()
    start = copy.deepcopy(teacher)
    update_teacher(teacher, student, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), start.parameters(), strict=True))
    update_teacher(teacher, student, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), student.parameters(), strict=True))


def test_the_teacher_keeps_its_own_buffers() -> None:
    teacher, student = _models()
    student.train()(torch.randn(8, 3))
    update_teacher(teacher, student, 0.0)
    assert torch.equal(teacher[1].running_mean, torch.zeros(3))
    assert not torch.equal(student[1].running_mean, torch.zeros(3))


class _Tied(nn.Module):
    def __init__(self, tie: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
        if tie:
            self.b.weight = self.a.weight


def test_a_teacher_copied_before_the_student_was_tied_still_finds_every_parameter() -> None:
    teacher, student = _Tied(tie=False), _Tied(tie=True)
    update_teacher(teacher, student, 0.0)
    assert torch.equal(teacher.a.weight, student.a.weight)
    assert torch.equal(teacher.b.weight, student.a.weight)


def test_a_tied_teacher_moves_its_weight_once() -> None:
    teacher, student = _Tied(tie=True), _Tied(tie=True)
    wanted = (teacher.a.weight + student.a.weight).detach() / 2
    update_teacher(teacher, student, 0.5)
    torch.testing.assert_close(teacher.b.weight, wanted)


def test_a_teacher_with_parts_the_student_lacks_is_an_error() -> None:
    with pytest.raises(ShapeError, match=r"no parameter '0\.bias'"):
        update_teacher(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2, bias=False)), 0.5)


def test_alpha_ramps_linearly_then_stays() -> None:
    assert ramp(0.4, 0, 100) == 0.0
    assert ramp(0.4, 50, 100) == pytest.approx(0.2)
    assert ramp(0.4, 100, 100) == 0.4
    assert ramp(0.4, 200, 100) == 0.4
    assert ramp(0.4, 0, 0) == 0.4

import torch
from torch import nn

from limner.train.average import WeightAverage


def test_average_follows_the_equation_in_weights_and_statistics():
    model = nn.BatchNorm1d(2)
    average = WeightAverage(model, 0.5)
    expected, means = torch.ones(2), torch.zeros(2)
    for step in range(9):
        with torch.no_grad():
            model.weight.add_(1.0)
        model(torch.randn(4, 2))
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
        means = decay * means + (1 - decay) * model.running_mean
    torch.testing.assert_close(average.model.weight, expected)
    torch.testing.assert_close(average.model.running_mean, means)
    assert average.model.num_batches_tracked == 9
    assert not average.model.training
    assert not average.model.weight.requires_grad


def test_no_average_is_the_model_itself():
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.0)
    with torch.no_grad():
        model.weight.fill_(3.0)
    average.update(model, 0)
    assert torch.equal(average.model.weight, model.weight)

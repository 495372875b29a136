import torch

from limner.models.bert import BertConfig
from limner.models.icmlm import ICMLM, AttendedWord, ICMLMConfig
from limner.models.resnet import ResNetConfig

CONFIG = ICMLMConfig(
    vision=ResNetConfig(block="basic", depths=(1,), widths=(6,), num_classes=0),
    text=BertConfig(vocab_size=20, width=8, depth=1, num_heads=2, mlp_dim=8, memory_width=8, dropout=0.0),
    num_concepts=5,
)


def test_the_masked_word_reads_the_grid_by_its_attention():
    torch.manual_seed(0)
    part = AttendedWord(CONFIG)
    cells, tokens, place = torch.randn(2, 4, 6), torch.randn(2, 3, 8), torch.tensor([2, 0])
    found = part(cells, tokens, torch.ones(2, 3, dtype=torch.bool), place)
    for row in range(2):
        query = part.query(tokens[row, place[row]])
        scores = [(part.key(cell) @ query).item() / 8**0.5 for cell in cells[row]]
        weights = [torch.tensor(score).exp() / torch.tensor(scores).exp().sum() for score in scores]
        read = sum(w * part.value(cell) for w, cell in zip(weights, cells[row], strict=True))
        torch.testing.assert_close(found[row], part.fc(read), rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing_and_the_rest_of_the_caption_does():
    torch.manual_seed(0)
    pixels, place = torch.randn(1, 3, 64, 64), torch.tensor([1])
    ids, mask = torch.tensor([[2, 4, 9, 3, 0]]), torch.tensor([[True] * 4 + [False]])
    for form in ("att_fc", "tfm"):
        model = ICMLM(CONFIG.model_copy(update={"form": form})).eval()
        with torch.no_grad():
            [p.uniform_(-0.5, 0.5) for p in model.parameters()]
        one = model(pixels, ids, mask, place).concepts
        behind, within = ids.clone(), ids.clone()
        behind[0, 4], within[0, 2] = 13, 13
        torch.testing.assert_close(model(pixels, behind, mask, place).concepts, one)
        assert not torch.allclose(model(pixels, within, mask, place).concepts, one)
        assert not torch.allclose(model(pixels + 1, ids, mask, place).concepts, one)


def test_tags_read_no_text():
    model = ICMLM(CONFIG.model_copy(update={"form": "tp"})).eval()
    ids = torch.tensor([[2, 4, 3]])
    read = model(torch.randn(1, 3, 16, 16), ids, ids > 0, torch.tensor([1]))
    assert torch.equal(read.tags, read.concepts)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"vision", "tags"}

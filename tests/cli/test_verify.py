import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from limner.checkpoint import save_bundle
from limner.cli.verify import class_numbers, measure
from limner.convert.labels import CIFAR_10
from limner.convert.opening import open_bundle
from limner.data.table import SCHEMA, Table
from limner.errors import DataError
from limner.models import build
from limner.models.resnet import ResNetConfig
from limner.shapes import ImageSpec

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def colours(tmp_path) -> Path:
    """Plain pictures in a folder a class."""
    for label, colour in COLOURS.items():
        folder = tmp_path / "colours" / label
        folder.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (20 + number, 20), colour).save(folder / f"{number}.png")
    return tmp_path / "colours"


@pytest.fixture
def table(tmp_path, colours) -> Path:
    """The same pictures as a labelled table, two in the split "val", and a row without a label."""
    paths = sorted(colours.glob("*/*.png"))
    rows = [
        {"key": str(path), "image": path.read_bytes(), "label": path.parent.name, "split": split}
        for path, split in zip(paths, ["val", "val", "train", "train", "train", "train"], strict=True)
    ]
    rows.append({"key": "x", "image": paths[0].read_bytes(), "label": None, "split": "train"})
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    return Table.write(tmp_path / "colours.lance", [batch]).path


@pytest.fixture
def namer(tmp_path) -> Path:
    """A model that names the colour of a plain picture."""
    config = ResNetConfig(block="basic", depths=(1,), widths=(8,), num_classes=3, stem="cifar")
    model = build(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "conv" in name or name.startswith("fc"):
                parameter.zero_()
        for channel in range(3):
            model.conv1.weight[channel, channel, 1, 1] = 1.0
            model.fc.weight[channel, channel] = 1.0
    spec = ImageSpec(size=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    labels = tuple(COLOURS)
    return save_bundle(tmp_path / "namer", model, "", config, spec, labels=labels, task="classification")


def test_the_default_model_holds(limner):
    result = limner("verify", "limner_tiny")
    assert result.exit_code == 0
    assert all(line.startswith("ok ") for line in result.stdout.splitlines())
    assert "checks hold" in result.stderr


def test_json(limner):
    told = json.loads(limner("verify", "limner_tiny", "--json").stdout)
    assert told["ok"] is True
    assert (told["expected"], told["measured"]) == ([], None)
    assert {"name", "expected", "found", "ok", "hint"} == told["checks"][0].keys()


def test_a_mismatch_ends_with_1_and_says_what_to_do(limner, namer):
    path = namer / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"labels": ["red", "green"]}))
    result = limner("verify", namer)
    assert result.exit_code == 1
    assert "WRONG number of labels" in result.stdout
    assert "2, expected 3" in result.stdout
    assert "one label for each output" in result.stdout
    assert "checks failed: " in result.stderr
    assert json.loads(limner("verify", namer, "--json").stdout)["ok"] is False


def test_accuracy_is_measured_by_the_classifier(limner, namer, table):
    result = limner("verify", namer, "--data", table)
    assert "measured: top-1 100.00 %, 6 of 6 (classifier)" in result.stdout
    told = json.loads(limner("verify", namer, "--data", table, "--json").stdout)
    assert told["measured"] == {"top1": 100.0, "right": 6, "rows": 6, "how": "classifier"}


def test_labels_in_another_order_lower_it(namer, table):
    bundle = open_bundle(namer)._replace(labels=("green", "blue", "red"))
    assert measure(bundle, table).top1 == 0
    two_right = open_bundle(namer)._replace(labels=("red", "blue", "green"))
    assert measure(two_right, table).right == 2


def test_without_a_classifier_it_is_zero_shot(limner, table):
    result = limner("verify", "limner_tiny", "--data", table, "--template", "a {} picture", "--json")
    told = json.loads(result.stdout)["measured"]
    assert (told["rows"], told["how"]) == (6, "zero-shot")
    assert 0 <= told["top1"] <= 100


def test_a_folder_a_class_is_as_good_as_a_table_and_a_split_is_a_part_of_it(namer, table, colours):
    bundle = open_bundle(namer)
    assert measure(bundle, colours) == measure(bundle, table)
    assert measure(bundle, table, "val").rows == 2


def test_a_folder_without_classes_is_refused(namer, tmp_path):
    with pytest.raises(DataError, match="has no labels"):
        measure(open_bundle(namer), tmp_path)


def test_a_split_without_labels_is_refused(limner, namer, table):
    result = limner("verify", namer, "--data", table, "--split", "test")
    assert result.exit_code == 2
    assert "has no labels in the split 'test'" in result.stderr


def test_labels_that_are_not_the_models_are_refused(namer, table):
    bundle = open_bundle(namer)._replace(labels=("cat", "dog", "owl"))
    with pytest.raises(DataError, match="3 labels are none of the model's: blue, green, red"):
        measure(bundle, table)


def test_which_class_a_label_is():
    assert class_numbers(["cat", "dog"], CIFAR_10) == {"cat": 3, "dog": 5}
    assert class_numbers(["0", "3"], CIFAR_10) == {"0": 0, "3": 3}
    assert class_numbers(["Toilet_Tissue", "tench"], ["tench, Tinca tinca", "toilet tissue"]) == {
        "Toilet_Tissue": 1,
        "tench": 0,
    }
    assert class_numbers(["n01440764", "n15075141"], ["tench", "toilet tissue"])["n15075141"] == 1
    assert class_numbers(["crane"], ["crane", "crane"]) == {"crane": 0}
    for wrong in (["10"], ["n01440764"], ["-1"]):
        with pytest.raises(DataError, match="1 labels are none"):
            class_numbers(wrong, CIFAR_10)


def test_a_published_score_is_told_with_how_to_measure_it(limner, tmp_path, monkeypatch):
    from limner.convert.public import PUBLIC

    known = PUBLIC["akamaster:resnet20"]
    monkeypatch.setattr("limner.convert.verify.published", lambda source: known)
    result = limner("verify", "limner_tiny")
    assert "known: CIFAR-10 test top-1 91.73 % (" in result.stdout
    assert "measure it: limner verify limner_tiny --data TABLE" in result.stdout
    told = json.loads(limner("verify", "limner_tiny", "--json").stdout)
    assert told["expected"][0]["value"] == 91.73


def test_ctrl_c_ends_with_130(limner, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.convert.opening.open_bundle", interrupted)
    assert limner("verify", "limner_tiny").exit_code == 130


SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="the published weights are not on this machine")
@pytest.mark.parametrize(("depth", "png", "jpeg"), [(20, 99.80, 81.03), (56, 100.00, 83.20)])
def test_the_published_cifar_networks_hold_and_score_what_they_should(limner, tmp_path, depth, png, jpeg):
    """The lossless pictures are of the training set; the test set's lost by compression."""
    (path,) = (SHARED / "weights").glob(f"resnet{depth}-*.th")
    for file, column, expected in (("lossless_first4000_train", "png", png), ("test", "jpeg", jpeg)):
        source = pq.read_table(SHARED / "cifar10" / f"{file}.parquet")
        pictures = zip(source[column].to_pylist(), source["label"].to_pylist(), strict=True)
        rows = [
            {"key": str(number), "image": image, "label": CIFAR_10[label]}
            for number, (image, label) in enumerate(pictures)
        ]
        batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
        table = Table.write(tmp_path / f"{file}.lance", [batch]).path
        result = limner("verify", path, "--data", table, "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["measured"]["top1"] == pytest.approx(expected, abs=0.005)

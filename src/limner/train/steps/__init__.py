"""One file a task: model, state and batch in; loss, named terms and state out. Model meets objective here."""

from limner.train.steps.bag_of_words import BagOfWordsSettings, BagOfWordsStep
from limner.train.steps.blip import BLIPStep, ObjectiveSettings, start_blip
from limner.train.steps.classification import ClassificationSettings, ClassificationStep
from limner.train.steps.clip import CLIPStep, ContrastiveSettings
from limner.train.steps.convirt import ConVIRTSettings, ConVIRTStep
from limner.train.steps.detection import DetectionSettings, DetectionStep
from limner.train.steps.icmlm import ICMLMSettings, ICMLMStep
from limner.train.steps.masked_patch import MaskedPatchSettings, MaskedPatchStep
from limner.train.steps.ngrams import NGramsSettings, NGramsStep
from limner.train.steps.nlvr2 import NLVR2Settings, NLVR2Step
from limner.train.steps.task import Draws, Step, StepResult, TaskState, start_draws
from limner.train.steps.virtex import VirTexSettings, VirTexStep
from limner.train.steps.vqa import VQASettings, VQAStep

__all__ = [
    "BLIPStep",
    "BagOfWordsSettings",
    "BagOfWordsStep",
    "CLIPStep",
    "ClassificationSettings",
    "ClassificationStep",
    "ConVIRTSettings",
    "ConVIRTStep",
    "ContrastiveSettings",
    "DetectionSettings",
    "DetectionStep",
    "Draws",
    "ICMLMSettings",
    "ICMLMStep",
    "MaskedPatchSettings",
    "MaskedPatchStep",
    "NGramsSettings",
    "NGramsStep",
    "NLVR2Settings",
    "NLVR2Step",
    "ObjectiveSettings",
    "Step",
    "StepResult",
    "TaskState",
    "VQASettings",
    "VQAStep",
    "VirTexSettings",
    "VirTexStep",
    "start_blip",
    "start_draws",
]

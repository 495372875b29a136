"""One file a task: model, state and batch in; loss, named terms and state out. Model meets objective here."""

from limner.train.steps.blip import BLIPStep, ObjectiveSettings, start_blip
from limner.train.steps.classification import ClassificationSettings, ClassificationStep
from limner.train.steps.clip import CLIPStep, ContrastiveSettings
from limner.train.steps.masked_patch import MaskedPatchSettings, MaskedPatchStep
from limner.train.steps.nlvr2 import NLVR2Settings, NLVR2Step
from limner.train.steps.task import Draws, Step, StepResult, TaskState, start_draws
from limner.train.steps.vqa import VQASettings, VQAStep

__all__ = [
    "BLIPStep",
    "CLIPStep",
    "ClassificationSettings",
    "ClassificationStep",
    "ContrastiveSettings",
    "Draws",
    "MaskedPatchSettings",
    "MaskedPatchStep",
    "NLVR2Settings",
    "NLVR2Step",
    "ObjectiveSettings",
    "Step",
    "StepResult",
    "TaskState",
    "VQASettings",
    "VQAStep",
    "start_blip",
    "start_draws",
]

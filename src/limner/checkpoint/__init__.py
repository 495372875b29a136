"""What is written to disk and read back: bundles (a model to use) and train states (a run to go on with).

Only safetensors and JSON: pickle is never opened. Every file's SHA-256 is checked on load; missing and
unexpected keys are both fatal. A folder appears whole (written aside, fsynced, renamed) or not at all.

    bundle       model.safetensors  config.json  tokenizer.json  README.md (the card)
    train state  RUN/checkpoints/step-0000123/  {model,average,optimizer,…}.safetensors  state.json
"""

from limner.checkpoint.bundle import (
    ASSETS,
    DEFAULT,
    Bundle,
    bundle_digest,
    config_name,
    is_bundle,
    load,
    same_sizes,
    save_bundle,
)
from limner.checkpoint.files import atomic_folder
from limner.checkpoint.states import (
    TrainState,
    drop_train_states,
    load_train_state,
    newest_train_state,
    save_train_state,
    train_state_folders,
)
from limner.checkpoint.weights import Precision, built_with, load_weights, narrowed, stored_weights

__all__ = [
    "ASSETS",
    "DEFAULT",
    "Bundle",
    "Precision",
    "TrainState",
    "atomic_folder",
    "built_with",
    "bundle_digest",
    "config_name",
    "drop_train_states",
    "is_bundle",
    "load",
    "load_train_state",
    "load_weights",
    "narrowed",
    "newest_train_state",
    "same_sizes",
    "save_bundle",
    "save_train_state",
    "stored_weights",
    "train_state_folders",
]

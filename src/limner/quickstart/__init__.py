"""The main job on generated pictures: a noisy table in; a cleaned table, trained models and a page out."""

"""The evaluation suite: models × tasks × tables in, outcomes with intervals and records out."""

"""What a model is worth: metrics on arrays, and the measures of a checkpoint on pictures and texts."""

"""Pure functions over `model_checkpoint.types.CheckpointInfo`: they need neither a disk nor a database."""

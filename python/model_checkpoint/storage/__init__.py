"""Files, checkpoint directories and stores on disk: docs/format.md."""

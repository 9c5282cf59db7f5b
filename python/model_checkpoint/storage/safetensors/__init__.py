"""The plain file: one safetensors file that proves itself (docs/format.md, sections 1 and 2)."""

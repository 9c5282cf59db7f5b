"""The checkpoint manager and the decisions it takes."""

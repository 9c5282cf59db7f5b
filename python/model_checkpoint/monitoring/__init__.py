"""Where the time goes: spans, percentiles, thresholds, exports."""

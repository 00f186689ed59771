"""Working points: thresholds, flat thresholds, scans and figures of merit."""

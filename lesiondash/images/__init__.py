"""Files to HU pixels to ROI crops."""

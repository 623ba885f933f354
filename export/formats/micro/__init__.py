"""Files for TFLite-Micro."""

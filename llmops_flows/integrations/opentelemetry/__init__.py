"""OpenTelemetry: spans and their semantic conventions."""

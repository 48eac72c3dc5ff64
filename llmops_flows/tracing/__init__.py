"""The local trace store, and the delivery of traces to exporters."""

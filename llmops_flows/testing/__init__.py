"""Public test support: small real fakes, and contract suites that plugin authors inherit."""

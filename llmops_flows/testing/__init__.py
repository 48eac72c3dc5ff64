"""Public: small real fakes, and the contract suites that plugin authors inherit."""

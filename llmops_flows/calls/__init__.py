"""Everything around one call to a service: limits, retry, circuit breaker, budget."""

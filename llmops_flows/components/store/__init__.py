"""Store components: `store=NAME`."""

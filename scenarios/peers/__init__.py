"""Well-known libraries against the contracts, each through a small adapter."""

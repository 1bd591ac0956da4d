"""Quality gates: items that fall short go no further, and are kept where a person can look at them."""

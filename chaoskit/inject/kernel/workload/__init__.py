"""The observed processes: their tree, memory and stacks, and the channel to them."""

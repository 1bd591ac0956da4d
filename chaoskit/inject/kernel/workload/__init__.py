"""The processes under observation: their tree, memory, stacks, and the channel to them."""

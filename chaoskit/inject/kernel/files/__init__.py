"""The domain of files: what each call means, how it is made, recorded and refused."""

"""The domain of the network: relays connections, resolves names, watches servers and datagrams."""

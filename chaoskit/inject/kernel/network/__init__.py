"""The domain of the network: connections that are relayed, names that are answered, servers, datagrams."""

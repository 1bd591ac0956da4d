"""A watcher of sequencing runs: finds runs on a share, has them processed, and uploads what comes out."""

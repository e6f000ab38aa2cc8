"""One module per corpus layout: local files -> manifests."""

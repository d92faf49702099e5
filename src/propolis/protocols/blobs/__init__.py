"""The blobs family: fetching a blob in chunks from several holders (docs/specs/blob.md)."""

"""Parts of networks: images to feature maps, feature maps to logits and embeddings."""

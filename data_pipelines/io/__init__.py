"""Files: decoded, read locally or remotely, written whole or not at all."""

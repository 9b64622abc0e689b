"""Files: decoding, reading locally or remotely, atomic writing."""

"""Video with content and motion pulled apart: codes in, video out."""

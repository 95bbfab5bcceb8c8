"""Reports as a person sees them, in Chromium."""

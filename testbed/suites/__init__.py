"""Many scenarios at once: which, in what order, how many at a time, and what is told of them."""

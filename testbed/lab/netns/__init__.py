"""The netns backend: hosts are Linux network namespaces. `lab` is the orchestrator's side, `holder` the other."""

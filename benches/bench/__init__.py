"""Measures Dyelane and other proxies on the same work. The command is `benches/compare`."""

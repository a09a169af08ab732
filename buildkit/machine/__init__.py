"""What this machine gives: files that appear whole, one turn at a time, threads, a cache, connections."""

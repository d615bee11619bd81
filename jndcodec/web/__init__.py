"""A decoder that runs in browsers, and the server that shows pictures in it."""

"""The HTTP server: connections, the application, and the middleware before its routes."""

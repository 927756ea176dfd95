"""What happens in the process, counted, and handed to Prometheus."""

"""gRPC: TF Serving's services."""

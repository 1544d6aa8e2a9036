"""The gRPC front: checks, resolves, admits, enqueues, answers. Stateless, loads no ML library."""

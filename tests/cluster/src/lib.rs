//! A real Kubernetes control plane on this machine, for tests, the demo and the benchmark.

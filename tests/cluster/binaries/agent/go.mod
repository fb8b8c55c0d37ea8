module molecule.ai/workspace-operator/tests/cluster/binaries/agent

go 1.26.0

"""The lab: two clouds, two gateways and an internet of network namespaces. Used by the demo and by tests."""

"""The Thrift services and other servers beside the gateway, one package each."""

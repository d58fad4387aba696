"""Links to the network: devices (XDP, tc, tcx), namespaces, netfilter's hooks, sockets."""

/* Names of sections that libbpf 1.1 does not know yet; they are read, and loaded where the kernel has them. */
#include "house.h"

#define EMPTY(name, section) SEC(section) int name##_(void *ctx) { return 1; }

EMPTY(tcx_ingress, "tcx/ingress")
EMPTY(tcx_egress, "tcx/egress")
EMPTY(netkit_primary, "netkit/primary")
EMPTY(netkit_peer, "netkit/peer")
EMPTY(netfilter, "netfilter")
EMPTY(uprobe_multi, "uprobe.multi//bin/sh:ma*")
EMPTY(uretprobe_multi, "uretprobe.multi//bin/sh:ma*")
EMPTY(kprobe_session, "kprobe.session/do_nano*")
EMPTY(connect_unix, "cgroup/connect_unix")

/* A program for each name of a section: what cgroups run. */
#include "house.h"

#define EMPTY(name, section) SEC(section) int name##_(void *ctx) { return 1; }

EMPTY(skb_ingress, "cgroup_skb/ingress")
EMPTY(skb_egress, "cgroup_skb/egress")
EMPTY(skb, "cgroup/skb")
EMPTY(sock, "cgroup/sock")
EMPTY(sock_create, "cgroup/sock_create")
EMPTY(sock_release, "cgroup/sock_release")
EMPTY(post_bind4, "cgroup/post_bind4")
EMPTY(post_bind6, "cgroup/post_bind6")
EMPTY(bind4, "cgroup/bind4")
EMPTY(bind6, "cgroup/bind6")
EMPTY(connect4, "cgroup/connect4")
EMPTY(connect6, "cgroup/connect6")
EMPTY(sendmsg4, "cgroup/sendmsg4")
EMPTY(sendmsg6, "cgroup/sendmsg6")
EMPTY(recvmsg4, "cgroup/recvmsg4")
EMPTY(recvmsg6, "cgroup/recvmsg6")
EMPTY(getpeername4, "cgroup/getpeername4")
EMPTY(getpeername6, "cgroup/getpeername6")
EMPTY(getsockname4, "cgroup/getsockname4")
EMPTY(getsockname6, "cgroup/getsockname6")
EMPTY(getsockopt, "cgroup/getsockopt")
EMPTY(setsockopt, "cgroup/setsockopt")
EMPTY(sysctl, "cgroup/sysctl")
EMPTY(dev, "cgroup/dev")

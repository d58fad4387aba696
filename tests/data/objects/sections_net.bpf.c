/* A program for each name of a section: what sees packets and sockets. */
#include "house.h"

#define EMPTY(name, section) SEC(section) int name##_(void *ctx) { return 1; }

EMPTY(socket, "socket")
EMPTY(xdp, "xdp")
EMPTY(xdp_frags, "xdp.frags")
EMPTY(xdp_devmap, "xdp/devmap")
EMPTY(xdp_cpumap, "xdp/cpumap")
EMPTY(tc, "tc")
EMPTY(classifier, "classifier")
EMPTY(action, "action")
EMPTY(lwt_in, "lwt_in")
EMPTY(lwt_out, "lwt_out")
EMPTY(lwt_xmit, "lwt_xmit")
EMPTY(lwt_seg6local, "lwt_seg6local")
EMPTY(sockops, "sockops")
EMPTY(sk_skb_stream_parser, "sk_skb/stream_parser")
EMPTY(sk_skb_stream_verdict, "sk_skb/stream_verdict")
EMPTY(sk_skb, "sk_skb")
EMPTY(sk_msg, "sk_msg")
EMPTY(lirc_mode2, "lirc_mode2")
EMPTY(flow_dissector, "flow_dissector")
EMPTY(sk_lookup, "sk_lookup")
EMPTY(sk_reuseport, "sk_reuseport")
EMPTY(sk_reuseport_migrate, "sk_reuseport/migrate")

"""What each helper function does and returns, in a line; helpers by name without their ``bpf_``."""

MEANINGS = {
    "map_lookup_elem": "Find the value of a key: a pointer to it, or NULL; compare with 0 before you use it.",
    "map_update_elem": "Store a copy of the value under the key. flags: BPF_ANY, BPF_NOEXIST, BPF_EXIST.",
    "map_delete_elem": "Take a key and its value out. 0, or -ENOENT where the key is not there.",
    "map_push_elem": "Put a value into a queue or on a stack; BPF_EXIST makes room where it is full. 0, or -E2BIG.",
    "map_pop_elem": "Take the next value out of a queue or stack, into your memory. 0, or -ENOENT.",
    "map_peek_elem": "Copy the next value of a queue or stack and leave it there. 0, or -ENOENT.",
    "map_lookup_percpu_elem": "Find the value that another CPU has under a key: a pointer, or NULL.",
    "for_each_map_elem": "Call a function of yours for each element; it returns 1 to stop. The number of calls.",
    "probe_read": "Copy memory of any kind into yours. Newer programs say which: probe_read_kernel, probe_read_user.",
    "probe_read_str": "Copy a string of any kind; newer ones are probe_read_kernel_str, probe_read_user_str.",
    "probe_read_kernel": "Copy size bytes of kernel memory. 0, or -EFAULT, and then your bytes are zeros.",
    "probe_read_user": "Copy size bytes of the current process's memory. 0, or -EFAULT: the page may not be there.",
    "probe_read_kernel_str": "Copy a kernel string, size bytes at most. Its length with the NUL, or -errno.",
    "probe_read_user_str": "Copy a string of the process, size bytes at most. Its length with the NUL, or -errno.",
    "probe_write_user": "Write to the current process's memory. For experiments: the kernel warns when it is loaded.",
    "copy_from_user": "Copy memory of the current process, and wait for its page: sleepable programs only.",
    "copy_from_user_task": "Copy memory of any process, and wait for its page: sleepable programs only.",
    "ktime_get_ns": "Nanoseconds since boot, without the time that the machine was suspended (CLOCK_MONOTONIC).",
    "ktime_get_boot_ns": "Nanoseconds since boot, with the time that the machine was suspended (CLOCK_BOOTTIME).",
    "ktime_get_coarse_ns": "Nanoseconds since boot as of the last timer tick: cheaper than ktime_get_ns.",
    "ktime_get_tai_ns": "Nanoseconds of international atomic time (CLOCK_TAI), without leap seconds.",
    "jiffies64": "The timer ticks since boot, counted as the kernel does.",
    "trace_printk": "Print to the kernel's trace_pipe, for debugging: a format and up to three numbers or strings.",
    "trace_vprintk": "Print to the kernel's trace_pipe: a format, and an array of 64-bit arguments.",
    "get_prandom_u32": "A pseudo-random number of 32 bits; not for keys.",
    "get_smp_processor_id": "The number of the CPU that the program runs on.",
    "get_numa_node_id": "The number of the NUMA node that the program runs on.",
    "get_current_pid_tgid": "The process (tgid) in the upper 32 bits, the thread (pid) in the lower.",
    "get_ns_current_pid_tgid": "Process and thread as a pid namespace numbers them, into a struct bpf_pidns_info.",
    "get_current_uid_gid": "The group in the upper 32 bits, the user in the lower.",
    "get_current_comm": "Copy the thread's name, at most 16 bytes with its NUL, into your memory.",
    "get_current_task": "The address of the current struct task_struct, to be read with probe_read_kernel.",
    "get_current_task_btf": "The current task as a typed pointer: its members can be loaded directly.",
    "task_pt_regs": "The registers that a task entered the kernel with.",
    "get_current_cgroup_id": "The id of the cgroup (v2) of the current task: the inode number of its directory.",
    "get_current_ancestor_cgroup_id": "The id of the cgroup so many levels below the root that the task is in, or 0.",
    "current_task_under_cgroup": "Whether the current task is in a cgroup of the map, or below it.",
    "get_stackid": "Store the stack in a map of stack traces, or find it there. Its id, or -errno.",
    "get_stack": "Copy addresses of the stack into your memory: the kernel's, or with BPF_F_USER_STACK the user's.",
    "get_task_stack": "Copy addresses of another task's stack into your memory.",
    "perf_event_output": "Send an event to user space by a map of perf buffers. 0, or -ENOSPC: it is lost.",
    "perf_event_read_value": "Read a counter that user space opened, with the times it was enabled and ran.",
    "ringbuf_output": "Copy an event into a ring buffer. 0, or -EAGAIN where the ring is full.",
    "ringbuf_reserve": "Reserve an event in a ring buffer: a pointer, or NULL: it is full. Submit or discard it.",
    "ringbuf_submit": "Hand a reserved event to the reader. flags: 0, BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP.",
    "ringbuf_discard": "Give a reserved event up: the reader does not see it.",
    "ringbuf_query": "How full a ring is: BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS, BPF_RB_PROD_POS.",
    "ringbuf_reserve_dynptr": "Reserve an event of any size, as a dynptr. Submit or discard it always.",
    "ringbuf_submit_dynptr": "Hand an event that was reserved as a dynptr to the reader.",
    "ringbuf_discard_dynptr": "Give up an event that was reserved as a dynptr.",
    "user_ringbuf_drain": "Call a function of yours for each message that user space sent. The number of messages.",
    "dynptr_from_mem": "Make a dynptr of memory in a map's value: a pointer that knows its size.",
    "dynptr_read": "Copy bytes out of a dynptr. 0, or -E2BIG beyond its end.",
    "dynptr_write": "Copy bytes into a dynptr. 0, or -E2BIG beyond its end.",
    "dynptr_data": "A pointer to len bytes of a dynptr, len a constant; or NULL.",
    "tail_call": "Go on in another program of a program array, and do not come back; -errno where there is none.",
    "loop": "Call a function of yours up to 2^23 times; it returns 1 to stop. The number of calls.",
    "strncmp": "Compare with a constant string, as strncmp() does.",
    "snprintf": "Format into your memory: a format, and an array of 64-bit arguments. The length.",
    "snprintf_btf": "Format a value of a kernel type into your memory, as text with the names of its members.",
    "seq_printf": "Print to the file that an iterator is read by.",
    "seq_write": "Write bytes to the file that an iterator is read by.",
    "spin_lock": "Take the lock in a map's value. One at a time, and nothing else is called while it is held.",
    "spin_unlock": "Give the lock in a map's value back.",
    "timer_init": "Prepare the timer in a map's value.",
    "timer_set_callback": "Say which function of yours the timer calls.",
    "timer_start": "Start the timer: it fires once, in so many nanoseconds.",
    "timer_cancel": "Stop the timer, and wait until its function is done.",
    "kptr_xchg": "Put a pointer into a map's value, and take the old one out: you have to release that.",
    "get_func_ip": "The address of the function that the program is attached to.",
    "get_func_arg": "Copy an argument of the traced function into your memory (fentry, fexit).",
    "get_func_ret": "Copy the return value of the traced function into your memory (fexit).",
    "get_func_arg_cnt": "The number of arguments of the traced function.",
    "get_attach_cookie": "The number that user space gave when it attached the program here.",
    "override_return": "Make the probed function return this at once: only those marked for error injection.",
    "send_signal": "Send a signal to the current process.",
    "send_signal_thread": "Send a signal to the current thread.",
    "d_path": "The path of a struct path, as text in your memory. Its length, or -errno.",
    "skb_load_bytes": "Copy bytes of the packet into your memory. 0, or -EFAULT beyond its end.",
    "skb_store_bytes": "Write bytes into the packet. Packet pointers are to be loaded and checked again.",
    "skb_pull_data": "Make the first len bytes of the packet linear, so that they can be loaded directly.",
    "l3_csum_replace": "Correct the checksum of the IP header by what was changed.",
    "l4_csum_replace": "Correct the checksum of TCP or UDP by what was changed.",
    "csum_diff": "The difference that replacing some bytes by others makes to a checksum.",
    "redirect": "Send the packet to another device: return what this returns.",
    "redirect_map": "Send the packet to the device, CPU or socket of a map's entry: return what this returns.",
    "clone_redirect": "Send a copy of the packet to another device.",
    "xdp_adjust_head": "Move the packet's start. Packet pointers are to be loaded and checked again.",
    "xdp_adjust_tail": "Move the packet's end. Packet pointers are to be loaded and checked again.",
    "xdp_adjust_meta": "Make room for metadata before the packet.",
    "xdp_load_bytes": "Copy bytes of the packet into your memory, those of fragments too.",
    "fib_lookup": "Ask the routing table: the next hop into a struct bpf_fib_lookup.",
    "get_socket_cookie": "A number that stays the socket's for as long as it lives.",
    "get_socket_uid": "The user that owns the socket.",
    "sk_lookup_tcp": "Find a TCP socket by its addresses: a pointer that you have to release, or NULL.",
    "sk_lookup_udp": "Find a UDP socket by its addresses: a pointer that you have to release, or NULL.",
    "skc_lookup_tcp": "Find a TCP socket, requests and time-waits too: you have to release it, or NULL.",
    "sk_release": "Release a socket that a lookup gave you.",
    "setsockopt": "Set an option of the socket, as setsockopt(2) does.",
    "getsockopt": "Read an option of the socket, as getsockopt(2) does.",
    "sk_storage_get": "The value that a map keeps for a socket; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "task_storage_get": "The value that a map keeps for a task; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "inode_storage_get": "The value that a map keeps for an inode, or NULL; see task_storage_get.",
    "cgrp_storage_get": "The value that a map keeps for a cgroup; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "per_cpu_ptr": "The address of a kernel per-CPU variable on a CPU, or NULL where there is no such CPU.",
    "this_cpu_ptr": "The address of a kernel per-CPU variable on this CPU.",
    "sys_bpf": "Call bpf(2) from a program of type BPF_PROG_TYPE_SYSCALL.",
    "sys_close": "Close a file descriptor from a program of type BPF_PROG_TYPE_SYSCALL.",
    "get_cgroup_classid":
        "The net_cls class (cgroup v1) of the current task, which tc's egress sorts by; 0 without one.",
    "skb_cgroup_classid": "The net_cls class (cgroup v1) of the socket that sent the packet, or 0.",
    "skb_vlan_push":
        "Put a VLAN tag on the packet: vlan_proto is ETH_P_8021Q or ETH_P_8021AD, big-endian. 0 or -errno.",
    "skb_vlan_pop": "Take the outer VLAN tag off the packet. 0 or -errno; packet pointers are to be loaded again.",
    "skb_get_tunnel_key":
        "Copy what tunnel a packet came by, id and addresses, into a struct bpf_tunnel_key. 0 or -errno.",
    "skb_set_tunnel_key": "Say by which tunnel the packet is to leave, by a struct bpf_tunnel_key. 0 or -errno.",
    "skb_get_tunnel_opt": "Copy the options of the tunnel's header that a packet came with. Their size, or -errno.",
    "skb_set_tunnel_opt": "Set the options of the header that the tunnel puts before the packet. 0 or -errno.",
    "perf_event_read":
        "Read the counter in a perf event array's entry. An error looks like a count: see perf_event_read_value.",
    "get_route_realm": "The realm of the route that an outgoing packet takes, as `ip route ... realm` gave it; or 0.",
    "skb_change_proto":
        "Turn an IPv4 packet into an IPv6 one or back: room and flags, the header is yours to write. 0 or -errno.",
    "skb_change_type": "Say whom the packet is for: PACKET_HOST, _BROADCAST, _MULTICAST, _OTHERHOST. 0 or -errno.",
    "skb_under_cgroup":
        "Whether the packet's socket is in the cgroup (v2) of the map's entry, or below it: 1, 0, or -errno.",
    "skb_cgroup_id": "The id of the cgroup (v2) of the packet's socket, or 0.",
    "skb_ancestor_cgroup_id":
        "The id of the cgroup so many levels below the root that the packet's socket is in, or 0.",
    "sk_cgroup_id": "The id of the socket's cgroup (v2), or 0.",
    "sk_ancestor_cgroup_id": "The id of the cgroup so many levels below the root that the socket is in, or 0.",
    "get_hash_recalc": "The packet's flow hash, computed now where it has none.",
    "set_hash": "Set the packet's flow hash. Always 0.",
    "set_hash_invalid": "Forget the packet's flow hash, after its headers were changed; the kernel computes it anew.",
    "skb_change_tail":
        "Make the packet len bytes long: cut its end, or add zeros. flags 0. 0 or -errno; load pointers again.",
    "skb_change_head":
        "Add len bytes before the packet, for a header of yours. flags 0. 0 or -errno; load pointers again.",
    "skb_adjust_room": "Make or remove room of len_diff bytes behind the MAC or the IP header (mode). 0 or -errno.",
    "csum_update": "Add csum to the checksum that the device computed of the whole packet. The sum, or -errno.",
    "csum_level": "Say how many layers' checksums are verified: BPF_CSUM_LEVEL_QUERY, _INC, _DEC, _RESET.",
    "skb_get_xfrm_state":
        "Copy what IPsec transform number index did to the packet into a struct bpf_xfrm_state. 0 or -errno.",
    "skb_load_bytes_relative":
        "Copy bytes counted from the MAC or network header (BPF_HDR_START_MAC, _NET). 0 or -EFAULT.",
    "skb_ecn_set_ce":
        "Mark the packet as having met congestion, where its IP header allows that: 1 if it is marked, else 0.",
    "skb_set_tstamp":
        "Set the packet's timestamp and of which clock it is (BPF_SKB_CLOCK_* or BPF_SKB_TSTAMP_*). 0 or -errno.",
    "skb_output":
        "Send an event by a map of perf buffers, from a traced function with an skb; packet bytes by flags >> 32.",
    "xdp_output": "Send an event by a map of perf buffers, from a traced function with an xdp_buff. 0 or -errno.",
    "xdp_get_buff_len": "The bytes of the whole packet, those of its fragments too.",
    "xdp_store_bytes": "Write bytes into the packet, into its fragments too. 0, or -EINVAL beyond its end.",
    "check_mtu": "Ask whether the packet, len_diff bytes longer, fits the device: 0, BPF_MTU_CHK_RET_*, or -errno.",
    "redirect_neigh":
        "Send the packet to another device, the MAC addresses filled in by the kernel: return what this returns.",
    "redirect_peer":
        "Hand the packet to the other end of a veth or netkit device, in its namespace: return what this returns.",
    "lwt_push_encap":
        "Put an outer header before a routed packet: type BPF_LWT_ENCAP_SEG6, _SEG6_INLINE, _IP. 0 or -errno.",
    "lwt_seg6_store_bytes":
        "Write into the flags, tag or TLVs of the packet's outer segment routing header. 0 or -errno.",
    "lwt_seg6_adjust_srh":
        "Grow or shrink the TLVs of the packet's outer segment routing header by delta bytes. 0 or -errno.",
    "lwt_seg6_action":
        "Do what an SRv6 endpoint does with the packet: SEG6_LOCAL_ACTION_END_X and others. 0 or -errno.",
    "sk_assign":
        "Choose the socket that gets the packet: at tc's ingress, or in sk_lookup instead of the usual search.",
    "sk_fullsock": "The full socket behind a pointer, NULL for a request or a time-wait; nothing to release.",
    "tcp_sock": "The TCP side of a socket, a struct bpf_tcp_sock, or NULL where it is no TCP; nothing to release.",
    "get_listener_sock": "The listening socket that a connection belongs to, or NULL; nothing to release.",
    "sk_storage_delete": "Delete the value that a map keeps for a socket. 0, or -ENOENT.",
    "task_storage_delete": "Delete the value that a map keeps for a task. 0, or -ENOENT.",
    "inode_storage_delete": "Delete the value that a map keeps for an inode. 0, or -ENOENT.",
    "cgrp_storage_delete": "Delete the value that a map keeps for a cgroup. 0, or -ENOENT.",
    "get_local_storage":
        "The cgroup's value in a cgroup storage map, this CPU's where it is per CPU; never NULL. flags 0.",
    "skc_to_tcp_sock": "The socket as a typed pointer to struct tcp_sock, NULL where it is no TCP.",
    "skc_to_tcp6_sock": "The socket as a typed pointer to struct tcp6_sock, NULL where it is no TCP over IPv6.",
    "skc_to_tcp_timewait_sock":
        "The socket as a typed pointer to struct tcp_timewait_sock, NULL where it is in no time-wait.",
    "skc_to_tcp_request_sock":
        "The socket as a typed pointer to struct tcp_request_sock, NULL where it is no pending connection.",
    "skc_to_udp6_sock": "The socket as a typed pointer to struct udp6_sock, NULL where it is no UDP over IPv6.",
    "skc_to_unix_sock": "The socket as a typed pointer to struct unix_sock, NULL where it is no Unix socket.",
    "skc_to_mptcp_sock": "The MPTCP connection that a TCP subflow is part of, as struct mptcp_sock, or NULL.",
    "sock_from_file": "The struct socket of a file, NULL where the file is none.",
    "get_netns_cookie":
        "A number that stays the network namespace's for as long as it lives; of the first one with ctx NULL.",
    "sock_ops_cb_flags_set":
        "Choose the events this socket calls the program at (BPF_SOCK_OPS_*_CB_FLAG). Flags it lacks, or -EINVAL.",
    "sock_map_update": "Put the connection that the program runs for into a sockmap, under a key. 0 or -errno.",
    "sock_hash_update": "Put the connection that the program runs for into a sockhash, under a key. 0 or -errno.",
    "sk_redirect_map": "Give the data to the socket in a sockmap's entry: SK_PASS, or SK_DROP on error: return it.",
    "sk_redirect_hash":
        "Give the data to the socket in a sockhash under a key: SK_PASS, or SK_DROP on error: return it.",
    "msg_redirect_map":
        "Give the message to the socket in a sockmap's entry: SK_PASS, or SK_DROP on error: return it.",
    "msg_redirect_hash":
        "Give the message to the socket in a sockhash under a key: SK_PASS, or SK_DROP on error: return it.",
    "msg_apply_bytes": "Let this verdict hold for the next so many bytes: the program is not run for them. Always 0.",
    "msg_cork_bytes":
        "Hold the message until so many bytes are there, and only then run the program again. Always 0.",
    "msg_pull_data": "Make bytes start to end of the message readable between data and data_end. 0 or -errno.",
    "msg_push_data": "Make room for len bytes at start of the message; your program writes them. 0 or -errno.",
    "msg_pop_data": "Take len bytes at start out of the message. 0 or -errno.",
    "bind":
        "Set the address that a socket about to connect comes from; the port has to be 0 before 5.8. 0 or -errno.",
    "sk_select_reuseport": "Choose the socket of the SO_REUSEPORT group by a key of the map. 0 or -errno.",
    "tcp_check_syncookie":
        "Whether an ACK carries a valid SYN cookie of the listening socket: 0, or -errno where it does not.",
    "tcp_gen_syncookie":
        "Make a SYN cookie for the listening socket: the cookie in 32 bits, above it 16 of MSS; or -errno.",
    "tcp_raw_gen_syncookie_ipv4":
        "Make a SYN cookie for IPv4 without a socket: the cookie in 32 bits, above it 16 of MSS; or -EINVAL.",
    "tcp_raw_gen_syncookie_ipv6":
        "Make a SYN cookie for IPv6 without a socket: the cookie in 32 bits, above it 16 of MSS; or -errno.",
    "tcp_raw_check_syncookie_ipv4":
        "Whether an ACK over IPv4 carries a valid SYN cookie, without a socket: 0, or -EACCES.",
    "tcp_raw_check_syncookie_ipv6":
        "Whether an ACK over IPv6 carries a valid SYN cookie, without a socket: 0, or -errno.",
    "tcp_send_ack": "Send an ACK of rcv_nxt, from a congestion control of yours (struct_ops). 0 or -errno.",
    "load_hdr_opt":
        "Find a TCP option by the kind in your buffer's first byte, and copy it there. Its size, or -ENOMSG.",
    "store_hdr_opt": "Write a TCP option into the header that is being made (WRITE_HDR_OPT_CB). 0, -ENOSPC, -EEXIST.",
    "reserve_hdr_opt":
        "Ask for len bytes for TCP options, when asked how long they are (HDR_OPT_LEN_CB). 0 or -errno.",
    "perf_prog_read_value":
        "Read the counter whose overflow runs the program, with the times it was enabled and ran. 0 or -errno.",
    "read_branch_records":
        "Copy the branches recorded with the sample, struct perf_branch_entry each. Their bytes, or -errno.",
    "get_branch_snapshot":
        "Copy the branches that the CPU took last, struct perf_branch_entry each. Their bytes, or -errno.",
    "rc_repeat": "Say that an infrared remote's key is still held: the key is released later. Always 0.",
    "rc_keydown": "Say that an infrared remote's key was pressed: protocol, scancode and toggle bit. Always 0.",
    "rc_pointer_rel": "Say that an infrared remote's pointer has moved by so much. Always 0.",
    "sysctl_get_name": "Copy the sysctl's name, net/ipv4/tcp_mem, or its last part by flags. Its length, or -E2BIG.",
    "sysctl_get_current_value": "Copy the value that the sysctl has now, as text. Its length, or -E2BIG, -EINVAL.",
    "sysctl_get_new_value":
        "Copy the text that is about to be written to the sysctl. Its length, or -E2BIG; -EINVAL at a read.",
    "sysctl_set_new_value":
        "Replace the text that is about to be written to the sysctl. 0, -E2BIG, or -EINVAL at a read.",
    "strtol": "Read a number with its sign from text, base 0, 8, 10, 16 in flags. The characters it took, or -errno.",
    "strtoul": "Read a number without sign from text, base 0, 8, 10, 16 in flags. The characters it took, or -errno.",
    "seq_printf_btf":
        "Print a value of a kernel type, with the names of its members, to the file an iterator is read by.",
    "bprm_opts_set":
        "Set or clear AT_SECURE of the program being executed: BPF_F_BPRM_SECUREEXEC or 0. 0, or -EINVAL.",
    "ima_inode_hash": "Copy the hash that IMA keeps of a file. The hash's algorithm, or -EOPNOTSUPP, -EINVAL.",
    "ima_file_hash": "Compute the hash of a file as IMA does, and copy it. The hash's algorithm, or -errno.",
    "btf_find_by_name_kind":
        "Find a type by name and kind (BTF_KIND_*): its id, above it a module's BTF fd in 32 bits; or -errno.",
    "kallsyms_lookup_name": "Find the address of a kernel symbol; the size counts the NUL. 0, -ENOENT, or -EPERM.",
    "find_vma":
        "Call a function of yours with the memory area (VMA) of a task that holds an address. 0, -ENOENT, -EBUSY.",
    "get_retval": "What the system call is going to return, as programs of this cgroup hook have set it before.",
    "set_retval": "Set the system call's result: a -errno. It holds even where the program returns 1. 0 or -errno.",
}  # fmt: skip

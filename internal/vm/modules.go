package vm

// wantedModules are the modules that the guest needs to talk to its host and
// that containers need, in the order in which they are loaded. One that a
// kernel has built in, or does not offer, is passed over.
var wantedModules = []string{
	// The machine.
	"virtio_pci", "virtio_mmio", "virtio_console", "virtio_net", "virtio_rng",
	// Files.
	"overlay", "fuse", "squashfs", "autofs4", "binfmt_misc",
	// Interfaces.
	"dummy", "veth", "tun", "bridge", "br_netfilter", "macvlan", "macvtap", "ipvlan", "ipvtap", "8021q",
	"vxlan", "geneve", "ip_gre", "ifb", "vrf", "nlmon", "wireguard", "bonding", "netdevsim",
	// Sockets.
	"af_packet", "packet_diag", "unix_diag", "tcp_diag", "udp_diag", "inet_diag", "netlink_diag", "vsock", "vsock_loopback",
	// Filtering and address translation.
	"nf_tables", "nft_compat", "nft_ct", "nft_nat", "nft_chain_nat", "nft_masq", "nft_redir", "nft_reject", "nft_reject_inet",
	"nft_reject_ipv4", "nft_reject_ipv6", "nft_counter", "nft_fib", "nft_fib_inet", "nft_fib_ipv4", "nft_fib_ipv6", "nft_hash",
	"nft_limit", "nft_log", "nft_numgen", "nft_objref", "nft_queue", "nft_quota", "nft_set_hash", "nft_set_rbtree", "nft_set_bitmap",
	"nft_tproxy", "nft_socket", "nft_tunnel", "nft_meta_bridge", "nft_reject_bridge", "nf_conntrack_bridge", "nft_dup_netdev", "nft_fwd_netdev",
	"nf_nat", "nf_conntrack", "nf_conntrack_netlink", "nfnetlink_log", "nfnetlink_queue",
	"ip_tables", "ip6_tables", "iptable_filter", "iptable_nat", "iptable_mangle", "iptable_raw",
	"ip6table_filter", "ip6table_nat", "ip6table_mangle",
	"ipt_REJECT", "ip6t_REJECT", "xt_MASQUERADE", "xt_nat", "xt_conntrack", "xt_comment", "xt_addrtype", "xt_mark", "xt_tcpudp",
	"xt_multiport", "xt_state", "xt_physdev", "xt_LOG", "xt_statistic", "xt_REDIRECT", "xt_set", "xt_bpf",
	"ip_set", "ip_set_hash_ip", "ip_set_hash_net", "ip_vs", "ip_vs_rr",
	"ebtables", "ebtable_filter", "ebtable_nat",
	// Traffic control.
	"sch_ingress", "sch_fq_codel", "sch_htb", "sch_netem", "sch_tbf", "cls_u32", "cls_bpf", "cls_matchall", "act_mirred", "act_gact",
}

// Left out on purpose: ip6_gre, ipip, sit and their like, which no claim is about,
// put an interface into every network namespace.

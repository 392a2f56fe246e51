#!/bin/sh
# First process of the cluster's own machine: makes it look like one, then becomes the supervisor given as arguments.
# File descriptor 9 is the network namespace of the real machine. All that is made here ends with this process.
set -eu

for group in $CGROUPS; do
    echo $$ >"$group/cgroup.procs"
done

# What Kubernetes keeps for good is the checkout's own, at the standard paths.
for path in lib/kubelet lib/containerd log/pods log/containers; do
    mkdir -p "/var/$path" "$STATE/$path"
    mount --bind "$STATE/$path" "/var/$path"
done
# What a reboot would clear starts empty: sockets, network namespaces, and the addresses leased to pods that no longer exist.
mkdir -p /var/lib/cni "$RUN"
mount -t tmpfs tmpfs /var/lib/cni
mkdir -p "$STATE/run"
mount --bind "$RUN" "$STATE/run"
mount -t tmpfs tmpfs /run
mkdir -p "$RUN"
mount --move "$STATE/run" "$RUN"
# Containers may ask for mount propagation, which needs shared mounts; nothing is shared with the real machine.
mount --make-rshared /

# One cable to the real machine. /proc/1 is this process: "netns 1" puts the far end here.
ip link set lo up
nsenter --net=/proc/self/fd/9 ip link delete "$INTERFACE" 2>/dev/null || true
nsenter --net=/proc/self/fd/9 ip link add "$INTERFACE" type veth peer name eth0 netns 1
nsenter --net=/proc/self/fd/9 ip address add "$HERE/30" dev "$INTERFACE"
nsenter --net=/proc/self/fd/9 ip link set "$INTERFACE" up
exec 9<&-
ip address add "$THERE/30" dev eth0
ip link set eth0 up
ip route add default via "$HERE"
echo 1 >/proc/sys/net/ipv4/ip_forward
# Without it a pod that reaches itself or a neighbour through a Service gets answers from the wrong address.
modprobe br_netfilter 2>/dev/null || true # built in, or loaded now, or not to be had: then only such pods suffer
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
fi
# Pods reach the servers meant for them and none of the others of this machine, some of which ask for no credentials.
# Only what opens a connection is judged: answers to the kubelet's probes come from pods, too.
iptables -A INPUT -i pods0 -p tcp --syn -m multiport ! --dports "$POD_PORTS" -j REJECT --reject-with tcp-reset

exec "$@"

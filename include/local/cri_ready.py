"""Ask a container runtime for its version over the CRI, as a kubelet does first, and end with 0 when it answers.

containerd answers its own clients before that, and a kubelet that is started too early ends at once.
"""

import sys

import grpc

with grpc.insecure_channel(f"unix://{sys.argv[1]}") as channel:
    version = channel.unary_unary("/runtime.v1.RuntimeService/Version")  # an empty message asks, and any answer will do
    try:
        version(b"", timeout=5)
    except grpc.RpcError as error:
        sys.exit(f"no answer: {error.details()}")

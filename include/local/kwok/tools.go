//go:build tools

// Package tools pins kwok, which keeps nodes that nobody has: the blank import keeps it in go.mod and go.sum.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"

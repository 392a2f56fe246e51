//go:build tools

// Package tools pins the proxy that the engine's tests put before a store: the blank import keeps it in go.mod and go.sum.
package tools

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"

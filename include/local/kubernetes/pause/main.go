// Command pause holds a pod's namespaces open and does nothing else. It shares no process namespace, so it has nothing to reap.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}

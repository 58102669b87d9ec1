// A client of QMP in Go that is tested: what it sees of a backup at 37 %, and of a full disk.
//
// usage: go run main.go QMP-SOCKET CONTROL-SOCKET
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

// A command's name and arguments, as they go over QMP.
type command struct {
	Execute   string                 `json:"execute"`
	Arguments map[string]interface{} `json:"arguments,omitempty"`
}

type arguments = map[string]interface{}

func connect(path string) qmp.Monitor {
	monitor, err := qmp.NewSocketMonitor("unix", path, 20*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	if err := monitor.Connect(); err != nil {
		log.Fatal(err)
	}
	return monitor
}

// Run a command and read the value that it returns into result.
func run(monitor qmp.Monitor, name string, args arguments, result interface{}) error {
	request, err := json.Marshal(command{name, args})
	if err != nil {
		return err
	}
	answer, err := monitor.Run(request)
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(answer, &struct {
		Return interface{} `json:"return"`
	}{result})
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	monitor, control := connect(os.Args[1]), connect(os.Args[2])
	defer monitor.Disconnect()
	defer control.Disconnect()

	// the guest fills its disk, which can be read at 10 MiB a second
	const mib = 1 << 20
	must(run(control, "x-sim-disk-write",
		arguments{"disk": "disk0", "offset": 0, "pattern": 17, "length": 100 * mib}, nil))
	must(run(control, "x-sim-pace",
		arguments{"node": "disk0", "bytes-per-second": 10 * mib}, nil))

	must(run(monitor, "blockdev-backup",
		arguments{"job-id": "backup", "device": "disk0", "target": "target", "sync": "full"}, nil))
	must(run(control, "x-sim-clock-advance", arguments{"seconds": 3.75}, nil))
	var jobs []struct {
		ID      string  `json:"id"`
		Current float64 `json:"current-progress"`
		Total   float64 `json:"total-progress"`
	}
	must(run(monitor, "query-jobs", nil, &jobs))
	fmt.Printf("%s: %v %%\n", jobs[0].ID, 100*jobs[0].Current/jobs[0].Total)

	// from now on the target is full
	must(run(control, "x-sim-fault-fail",
		arguments{"operation": "pwrite", "node": "target", "errno": "ENOSPC"}, nil))
	var event struct {
		Data struct{ Device, Error string }
	}
	must(run(control, "x-sim-clock-until-event", arguments{"name": "BLOCK_JOB_COMPLETED"}, &event))
	fmt.Printf("%s: %s\n", event.Data.Device, event.Data.Error)

	// what is not there is named
	if err := run(control, "x-sim-disk-flush", arguments{"disk": "disk9"}, nil); err != nil {
		fmt.Println(strings.Split(err.Error(), " (")[0])
	}
}

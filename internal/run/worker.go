// Package run carries out a run: worker processes that share the claims out
// among themselves, each with a stage of its own, and one controller that
// collects verdicts, survives interrupts and compares the machine before and
// after. It refuses to know what a claim says.
package run

import (
	"bufio"
	"encoding/json"
	"os"
	"strconv"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"bulkhead/harness"
	"bulkhead/internal/claim"
	"bulkhead/internal/report"
)

// WorkerName is the argv[0] by which bulkhead knows that it is a worker.
const WorkerName = "bulkhead-worker"

const (
	// workerFD is the descriptor on which a worker talks to the controller.
	workerFD     = 3
	seedVariable = "BULKHEAD_SEED"
	// stageEachVariable is set for Options.StageEach.
	stageEachVariable = "BULKHEAD_STAGE_EACH"
)

// Message is a line from a worker: a claim it asks for, to be answered with
// Yes or another line, one it finished, or that it has nothing left to do, to be
// answered with a line when it may end.
type Message struct {
	Ask  string        `json:"ask,omitempty"`
	Done *report.Claim `json:"done,omitempty"`
	Idle bool          `json:"idle,omitempty"`
}

// Yes grants a claim to the worker that asked for it.
const Yes = "yes\n"

// silent is the testing.T of a Ginkgo that is not run by go test.
type silent struct{}

func (silent) Fail() {}

// Work is a worker process: it runs every claim that the controller grants it
// and reports the verdict at once. It returns the exit status.
func Work() int {
	conn := os.NewFile(workerFD, "controller")
	lines, enc := bufio.NewReader(conn), json.NewEncoder(conn)
	claim.Take = func(id string) bool {
		if enc.Encode(Message{Ask: id}) != nil {
			os.Exit(3)
		}
		answer, err := lines.ReadString('\n')
		if err != nil {
			os.Exit(3)
		}
		return answer == Yes
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	stageEach := os.Getenv(stageEachVariable) != ""
	ginkgo.ReportAfterEach(func(spec ginkgo.SpecReport) {
		if c, ran := claim.Judge(spec); ran {
			if stageEach {
				harness.Close()
			}
			if enc.Encode(Message{Done: &c}) != nil {
				os.Exit(3)
			}
		}
	})
	ginkgo.AfterSuite(harness.Close)
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.RandomizeAllSpecs = true
	suite.RandomSeed, _ = strconv.ParseInt(os.Getenv(seedVariable), 10, 64)
	suite.Timeout = 0
	reporter.Succinct = true
	reporter.NoColor = true
	// A failed claim is a result like any other, and has been reported.
	ginkgo.RunSpecs(silent{}, "bulkhead", suite, reporter)
	// With this process end the network namespaces that were held, and whoever
	// makes one waits while the kernel takes them down.
	if enc.Encode(Message{Idle: true}) == nil {
		_, _ = lines.ReadString('\n')
	}
	return 0
}

package claim

import (
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"bulkhead/harness"
)

// Suite runs every registered claim as the Ginkgo suite of a go test.
func Suite(t ginkgo.GinkgoTestingT, name string) {
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.AfterSuite(harness.Close)
	suite, reporter := ginkgo.GinkgoConfiguration()
	// The stage outlives the spec that is the first to need it, and with it the
	// descriptors that an interceptor waits to see closed.
	suite.OutputInterceptorMode = "none"
	ginkgo.RunSpecs(t, name, suite, reporter)
}

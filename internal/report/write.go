package report

import (
	"errors"
	"fmt"
	"io"
)

// Formats are the names that Matrix.Write knows.
var Formats = []string{"terminal", "json", "junit", "ktap", "markdown", "html"}

// ErrOneKernel is the error of a format that holds the result of one kernel,
// asked to hold those of several or none.
var ErrOneKernel = errors.New("junit and ktap hold the result of one kernel")

// Write writes the results in a format. A matrix of one kernel is written as
// that kernel's result.
func (m *Matrix) Write(w io.Writer, format string, o TerminalOptions) error {
	if r := m.Single(); r != nil {
		switch format {
		case "terminal":
			WriteTerminal(w, r, o)
			return nil
		case "json":
			return WriteJSON(w, r)
		case "junit":
			return WriteJUnit(w, r)
		case "ktap":
			return WriteKTAP(w, r)
		case "markdown":
			return WriteMarkdown(w, r)
		case "html":
			return WriteHTML(w, r)
		}
		return fmt.Errorf("no format is named %q", format)
	}
	switch format {
	case "terminal":
		WriteMatrixTerminal(w, m, o)
		return nil
	case "json":
		return m.WriteJSON(w)
	case "markdown":
		return WriteMatrixMarkdown(w, m)
	case "html":
		return WriteMatrixHTML(w, m)
	case "junit", "ktap":
		return ErrOneKernel
	}
	return fmt.Errorf("no format is named %q", format)
}

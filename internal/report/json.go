package report

import (
	"encoding/json"
	"io"
)

// WriteJSON writes the result as indented JSON.
func WriteJSON(w io.Writer, r *Result) error { return writeJSON(w, r) }

// WriteJSON writes the results as indented JSON, those of one kernel too.
func (m *Matrix) WriteJSON(w io.Writer) error { return writeJSON(w, m) }

func writeJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

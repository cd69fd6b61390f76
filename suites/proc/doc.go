// Package proc holds the claims on proc and their specs. It knows nothing of how a
// run is carried out or reported.
package proc

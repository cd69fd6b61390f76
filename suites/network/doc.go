// Package network holds the claims on network and their specs. It knows nothing of how a
// run is carried out or reported.
package network

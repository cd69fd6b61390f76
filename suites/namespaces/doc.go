// Package namespaces holds the claims on the eight namespaces and on cgroups,
// and their specs, a file an area. It knows nothing of how a run is carried
// out or reported.
package namespaces

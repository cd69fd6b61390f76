// Package chroot holds the claims on chroot and their specs. It knows nothing of how a
// run is carried out or reported.
package chroot

package probe

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// WireGuard is the configuration of a WireGuard interface. A private key is made
// from a word, so that a spec can name it.
type WireGuard struct {
	Link string
	// Key is the word of the interface's own key.
	Key  string
	Port int
	// Peer is the word of the key that the one peer is believed to have, at
	// Endpoint, an address and port, and for Allowed, a network.
	Peer, Endpoint, Allowed string
}

// SetWireGuard configures a WireGuard interface.
var SetWireGuard = New("net.SetWireGuard", func(w WireGuard) (None, error) {
	endpoint, err := netip.ParseAddrPort(w.Endpoint)
	if err != nil {
		return None{}, err
	}
	_, allowed, err := net.ParseCIDR(w.Allowed)
	if err != nil {
		return None{}, err
	}
	client, err := wgctrl.New()
	if err != nil {
		return None{}, fmt.Errorf("talk to WireGuard: %w", err)
	}
	defer client.Close()
	own := wireguardKey(w.Key)
	if err := client.ConfigureDevice(w.Link, wgtypes.Config{
		PrivateKey: &own, ListenPort: &w.Port,
		Peers: []wgtypes.PeerConfig{{
			PublicKey: wireguardKey(w.Peer).PublicKey(), Endpoint: net.UDPAddrFromAddrPort(endpoint), AllowedIPs: []net.IPNet{*allowed},
		}},
	}); err != nil {
		return None{}, fmt.Errorf("configure %s: %w", w.Link, err)
	}
	return None{}, nil
})

func wireguardKey(word string) wgtypes.Key { return sha256.Sum256([]byte(word)) }

// Command present makes or removes a dns-01 record by one of lego's providers.
package main

import (
	"fmt"
	"os"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/providers/dns/dnsimple"
	"github.com/go-acme/lego/v4/providers/dns/pdns"
)

// Arguments: provider, present or cleanup, domain, resolver.
func main() {
	_ = dns01.AddRecursiveNameservers([]string{os.Args[4]})(nil)
	var provider challenge.Provider
	var err error
	switch os.Args[1] {
	case "dnsimple":
		provider, err = dnsimple.NewDNSProvider()
	case "pdns":
		provider, err = pdns.NewDNSProvider()
	}
	if err == nil && os.Args[2] == "present" {
		err = provider.Present(os.Args[3], "token", "key")
	} else if err == nil {
		err = provider.CleanUp(os.Args[3], "token", "key")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// kubelab is each program of Kubernetes, and etcd, in one: the name by which it is called, or its first argument,
// says which. One program is linked once instead of seven times, and its text is shared by all processes.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func run(command *cobra.Command) func() int {
	return func() int { return cli.Run(command) }
}

// Only what is called is made: several of them register flags and feature gates for the whole process.
var programs = map[string]func() func() int{
	"kube-apiserver":          func() func() int { return run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() func() int { return run(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() func() int { return run(scheduler.NewSchedulerCommand()) },
	"kubelet":                 func() func() int { return run(kubelet.NewKubeletCommand(context.Background())) },
	"kubectl":                 func() func() int { return run(kubectl.NewDefaultKubectlCommand()) },
	"etcd":                    func() func() int { return func() int { etcdmain.Main(os.Args); return 0 } },
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, known := programs[name]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	program, known := programs[name]
	if !known {
		names := []string{}
		for each := range programs {
			names = append(names, each)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "usage: kubelab %s ...\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	os.Exit(program()())
}
